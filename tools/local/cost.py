"""Counts what a document costs on AWS: the calls of a real run on a local cloud, times the prices of `prices.json`.

The documents are processed one after the other, so none shares a batch with another: a busy stack needs fewer requests
and write units for each. The durations of functions are not those of AWS, because here they are debug builds, so their
costs are shown apart. Not counted are storage, the traffic to the third party, and what costs the same without
documents (alarms, metrics, pollers).
"""

from __future__ import annotations

import itertools
import json
import re
import time
import urllib.request
from collections import Counter
from collections.abc import Mapping
from typing import Any

from . import cloud, documents
from .console import Problem, say
from .place import ROOT
from .stack import timestamp

SAMPLE = ROOT / "samples" / "lesson.mp4"
SIZE_BYTES = 200 * 1024 * 1024
DOCUMENTS = 3
BOUND_S = 120.0
REPORT = re.compile(r"^REPORT RequestId: .*?Billed Duration: (\d+) ms\tMemory Size: (\d+) MB")
# What a document of 200 MB with three returned files may need at most; see docs/performance.md.
LIMITS = {
    "transitions": 10,
    "invocations": 9,
    # Of route-events. The measured stack has no subscriber, so no message is sent and deliver-events is not invoked.
    "eventInvocations": 4,
    "deliverInvocations": 0,
    "sqsRequests": 12,
    "writeUnits": 30,
    # Two of them look for subscribers.
    "readUnits": 19,
    "s3Writes": 8,
    "s3Reads": 12,
    "apiRequests": 1,
    "logBytes": 10_900,
}


def measure(stack: Mapping[str, Any]) -> None:
    """Prints the counts and the costs of a document; fails if a count is above its limit."""
    prices = json.loads((ROOT / "tools" / "local" / "prices.json").read_text(encoding="utf-8"))
    # The sample's job returns two files, so one of them is returned twice.
    three_files = {"match": {"any": True}, "fault": {"kind": "manyFiles", "count": 3}}
    documents.administer(stack, "POST", "faults", three_files)
    say("One document first, so that the functions run and have read their secrets.")
    process(stack, "warm")
    say(f"Counting {DOCUMENTS} documents of {SIZE_BYTES // 1024**2} MB, one after the other …")
    counted = [counts(stack)]
    for number in range(DOCUMENTS):
        process(stack, f"counted-{number + 1}")
        counted.append(counts(stack))
    # The smallest number is that of a document without a redelivery.
    each = {
        name: min(after[name] - before[name] for before, after in itertools.pairwise(counted)) for name in counted[-1]
    }
    show(each, prices)
    above = [
        f"{name} is {each.get(name, 0):.1f}, at most {limit} is promised"
        for name, limit in LIMITS.items()
        if each.get(name, 0) > limit
    ]
    if above:
        raise Problem(
            "; ".join(above) + ".", "Find what the change added, or change the promise in docs/performance.md."
        )


def process(stack: Mapping[str, Any], name: str) -> None:
    """Sends one video of 200 MB through the stack and waits until nothing about it is under way."""
    submission = f"cost-{timestamp()}-{name}"
    body = SAMPLE.read_bytes()
    # A box of type `free` at the end of an MP4 may contain anything.
    padding = SIZE_BYTES - len(body)
    body += padding.to_bytes(4, "big") + b"free" + bytes(padding - 8)
    known = len(executions(stack))
    key = f"submissions/{submission}/lesson.mp4"
    s3 = cloud.client(stack["endpoint"], "s3")
    s3.put_object(Bucket=stack["uploadsBucket"], Key=key, Body=body, ContentType="video/mp4")
    bound = time.monotonic() + BOUND_S
    # The last order to admit-document may be under way when the execution has ended.
    while len(executions(stack)) == known or messages(stack) or "RUNNING" in executions(stack).values():
        if time.monotonic() > bound:
            raise Problem(f"A document is under way after {BOUND_S:.0f} s.", "Run `make run` and read its output.")
        time.sleep(0.2)
    if set(executions(stack).values()) != {"SUCCEEDED"}:
        raise Problem("A document did not become Ready.", "Run `make run` and read its output.")


def executions(stack: Mapping[str, Any]) -> dict[str, str]:
    """The status of each execution, by its ARN."""
    pages = cloud.client(stack["endpoint"], "stepfunctions").get_paginator("list_executions")
    found = pages.paginate(stateMachineArn=stack["stateMachineArn"]).build_full_result()["executions"]
    return {execution["executionArn"]: execution["status"] for execution in found}


def messages(stack: Mapping[str, Any]) -> int:
    """How many messages the queues hold."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    sqs = cloud.client(stack["endpoint"], "sqs")
    found = (sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names) for url in stack["queueUrls"].values())
    return sum(int(number) for queue in found for number in queue["Attributes"].values())


def counts(stack: Mapping[str, Any]) -> Counter[str]:
    """Everything that was counted since the start of the local cloud."""
    with urllib.request.urlopen(f"{stack['endpoint']}/_lectern/counts", timeout=10) as answer:
        requests: Mapping[str, float] = json.load(answer)
    found: Counter[str] = Counter()
    for name, number in requests.items():
        found[KINDS.get(name, f"other: {name}")] += number
    add_executions(stack, found)
    add_logs(stack, found)
    # S3 sends one message for each upload. The root user's requests are not counted, so the upload itself is added.
    found["sqsRequests"] += found["uploads"]
    found["s3Writes"] += found["uploads"]
    return found


# What AWS charges for, by the name that tools/local/corrections/counts.py gives it. Step Functions' own calls are free.
KINDS = {
    "apigateway callback": "apiRequests",
    "dynamodb readUnits": "readUnits",
    "dynamodb writeUnits": "writeUnits",
    "s3 GET": "s3Reads",
    "s3 HEAD": "s3Reads",
    "s3 LIST": "s3Writes",
    "s3 POST": "s3Writes",
    "s3 PUT": "s3Writes",
    "s3 DELETE": "free",
    "secretsmanager GetSecretValue": "secretReads",
    "sqs SendMessage": "sqsRequests",
    "sqs ChangeMessageVisibility": "sqsRequests",
} | {
    f"dynamodb {name}": "free"
    for name in ("GetItem", "PutItem", "UpdateItem", "Query", "TransactWriteItems", "BatchGetItem")
}
KINDS |= {
    f"states {name}": "free" for name in ("StartExecution", "SendTaskSuccess", "SendTaskFailure", "SendTaskHeartbeat")
}


# The invocations of these functions are counted apart, by the names of their log groups.
INVOCATIONS = {"RouteEventsLogGroup": "eventInvocations", "DeliverEventsLogGroup": "deliverInvocations"}


def add_executions(stack: Mapping[str, Any], found: Counter[str]) -> None:
    """Adds the state transitions and the messages that the state machine sent."""
    machine = cloud.client(stack["endpoint"], "stepfunctions")
    for arn in executions(stack):
        found["uploads"] += 1
        history = machine.get_paginator("get_execution_history").paginate(executionArn=arn)
        for event in (event for page in history for event in page["events"]):
            found["transitions"] += event["type"].endswith("StateEntered")
            found["sqsRequests"] += event.get("taskScheduledEventDetails", {}).get("resourceType") == "sqs"


def add_logs(stack: Mapping[str, Any], found: Counter[str]) -> None:
    """Adds the invocations, their durations and the bytes of the logs. Each batch is received and deleted once."""
    logs = cloud.client(stack["endpoint"], "logs")
    for group in logs.get_paginator("describe_log_groups").paginate().build_full_result()["logGroups"]:
        name = group["logGroupName"]
        if "ServeApi" in name:
            continue
        polls = any(
            function in name for function in ("ReceiveUpload", "AdmitDocument", "TransferDocument", "Normalize")
        )
        for page in logs.get_paginator("filter_log_events").paginate(logGroupName=name):
            for event in page["events"]:
                found["logBytes"] += len(event["message"].encode())
                for line in event["message"].splitlines():
                    if report := REPORT.match(line):
                        found[INVOCATIONS.get(name.rsplit("/", 1)[-1], "invocations")] += 1
                        # The local cloud's history leaves out the one state of the Map's iterations.
                        found["transitions"] += "VerifyReturnedFile" in name
                        found["sqsRequests"] += 2 * polls
                        found["gigabyteSeconds"] += int(report[1]) / 1000 * int(report[2]) / 1024


def show(each: Mapping[str, float], prices: Mapping[str, Any]) -> None:
    say(f"\n{'for each document':28} {'count':>10} {'at most':>8} {'$ per 1,000':>12}")
    total = 0.0
    for name, price in prices["dollarsPerMillion"].items():
        if name == "gigabyteSeconds":
            continue
        total += line(name, each.get(name, 0), each.get(name, 0) * price / 1000)
    total += line(
        "logBytes", each["logBytes"], each["logBytes"] / 1024**3 * 1000 * prices["dollarsPerGigabyte"]["logs"]
    )
    say(f"{'without durations':28} {'':>10} {'':>8} {total:12.4f}")
    seconds = each["gigabyteSeconds"]
    line("gigabyteSeconds", seconds, seconds * prices["dollarsPerMillion"]["gigabyteSeconds"] / 1000)
    others = {name: number for name, number in each.items() if name.startswith("other: ") and number}
    if others:
        raise Problem(f"Nothing says what these requests cost: {others}.", "Add them to KINDS in tools/local/cost.py.")
    say(f"Prices of {prices['asOf']}, {prices['region']}: {prices['source']}")


def line(name: str, number: float, dollars: float) -> float:
    limit = LIMITS.get(name)
    say(f"{name:28} {number:10.1f} {'' if limit is None else limit:>8} {dollars:12.4f}")
    return dollars
