"""Alarms that reach somebody, and metrics from log lines."""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from .check import Check, Failed, NotChecked, Run

ALARM = "AdmissionStalledAlarm"
FAULT_BOUND_S = 5.0
CONTROL = "SmokeControl"
NOBODY = "https://nobody.lectern.invalid/"


def alarm_reaches_its_subscribers(run: Run) -> str:
    """Sets an alarm off, waits for it at a subscriber of the topic, and looks at the e-mail subscriptions."""
    cloudwatch, sqs = run.client("cloudwatch"), run.client("sqs")
    alarm, url = run.stage.physical_id(ALARM), run.temporary["AlarmQueueUrl"]
    before = cloudwatch.describe_alarms(AlarmNames=[alarm])["MetricAlarms"][0]["StateValue"]
    if before == "ALARM":
        raise NotChecked(f"{ALARM} is on already; remove its cause first")
    reason = f"{run.mark} tries the way of an alarm. Nothing is wrong."

    def arrived() -> bool:
        answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=2)
        bodies = [json.loads(message["Body"]) for message in answer.get("Messages", [])]
        alarms = [json.loads(body["Message"]) for body in bodies]
        return any(is_["AlarmName"] == alarm and is_["NewStateReason"] == reason for is_ in alarms)

    try:
        if run.fault != "sets no alarm off":
            cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason=reason)
        run.until("the delivery of an alarm", arrived, FAULT_BOUND_S if run.fault else None)
    finally:
        cloudwatch.set_alarm_state(AlarmName=alarm, StateValue=before, StateReason=f"{run.id} has ended.")
    pending = pending_with_nobody(run) if run.fault == "adds an unconfirmed address" else pending_subscriptions(run)
    if pending:
        raise Failed(f"{pending} subscriptions of the topic are not confirmed")
    mails = sum(one["Protocol"] in ("email", "email-json") for one in subscriptions(run))
    if not mails and run.stage.parameters.get("AlarmEmail"):
        raise Failed("the e-mail subscription of AlarmEmail is gone, because nobody confirmed it")
    if not mails:
        return "an alarm reached the topic's subscriber; the stage has no AlarmEmail, so no person gets it"
    return f"an alarm reached the topic's subscriber, and {mails} confirmed e-mail addresses as well"


def subscriptions(run: Run) -> list[Mapping[str, str]]:
    pages = run.client("sns").get_paginator("list_subscriptions_by_topic")
    found = pages.paginate(TopicArn=run.stage.physical_id("AlarmTopic"))
    return [subscription for page in found for subscription in page["Subscriptions"]]


def pending_subscriptions(run: Run) -> int:
    attributes = run.client("sns").get_topic_attributes(TopicArn=run.stage.physical_id("AlarmTopic"))["Attributes"]
    return int(attributes["SubscriptionsPending"])


def pending_with_nobody(run: Run) -> int:
    """The number of unconfirmed subscriptions while there is one of an address that nobody can confirm."""
    sns, topic = run.client("sns"), run.stage.physical_id("AlarmTopic")
    sns.subscribe(TopicArn=topic, Protocol="https", Endpoint=NOBODY, ReturnSubscriptionArn=True)
    try:
        return pending_subscriptions(run)
    finally:
        # AWS shows no ARN of an unconfirmed subscription and removes it by itself after two days.
        arns = [one["SubscriptionArn"] for one in subscriptions(run) if one["Endpoint"] == NOBODY]
        for arn in arns:
            if arn.startswith("arn:"):
                sns.unsubscribe(SubscriptionArn=arn)


def put_control_line(run: Run) -> None:
    """Writes a line in embedded metric format, whose metric shows whether this cloud extracts metrics from logs."""
    logs, group = run.client("logs"), run.temporary["LogGroupName"]
    now = int(time.time() * 1000)
    directive = {
        "Namespace": control_namespace(run),
        "Dimensions": [[]],
        "Metrics": [{"Name": CONTROL, "Unit": "Count"}],
    }
    line = {"_aws": {"Timestamp": now, "CloudWatchMetrics": [directive]}, CONTROL: 1}
    logs.create_log_stream(logGroupName=group, logStreamName=run.id)
    event = {"timestamp": now, "message": json.dumps(line)}
    logs.put_log_events(logGroupName=group, logStreamName=run.id, logEvents=[event])


def control_namespace(run: Run) -> str:
    """The same for all runs, because CloudWatch keeps metrics for months and nobody can delete them."""
    return f"{run.stage.name}-smoke"


def metrics_come_from_logs(run: Run) -> str:
    """Waits until CloudWatch has the metric that the ready document's log line contains."""
    name = "NoSuchMetric" if run.fault else "Documents"
    wanted = (run.stage.name, name, [{"Name": "State", "Value": "Ready"}])
    found: dict[str, bool] = {}

    def look() -> bool:
        found["control"] = found.get("control") or total(run, control_namespace(run), CONTROL, []) > 0
        found["document"] = total(run, *wanted) > 0
        return found["document"]

    try:
        run.until("the arrival of the metric Documents, State=Ready", look, FAULT_BOUND_S if run.fault else None)
    except Failed:
        if not found.get("control"):
            raise NotChecked(
                "this cloud extracts no metrics from log lines; a control line gave none, either"
            ) from None
        raise
    return f"Documents, State=Ready has arrived in the namespace {run.stage.name}"


def total(run: Run, namespace: str, name: str, dimensions: Sequence[Mapping[str, str]]) -> float:
    """The sum of a metric since the start of this run."""
    now = datetime.datetime.now(datetime.timezone.utc)
    answer: Mapping[str, Any] = run.client("cloudwatch").get_metric_statistics(
        Namespace=namespace,
        MetricName=name,
        Dimensions=list(dimensions),
        StartTime=datetime.datetime.fromtimestamp(run.began_ms / 1000 - 60, datetime.timezone.utc),
        EndTime=now + datetime.timedelta(minutes=1),
        Period=60,
        Statistics=["Sum"],
    )
    return float(sum(point["Sum"] for point in answer["Datapoints"]))


CHECKS = (
    Check(
        "alarm",
        "An alarm that goes off reaches every subscriber of the topic; an e-mail address has to be confirmed first.",
        "Nobody would learn of a trouble (A09). Confirm the mail that AWS sent to AlarmEmail. If no alarm arrives,"
        " compare AlarmTopic with decision 0015.",
        alarm_reaches_its_subscribers,
        ("sets no alarm off", "adds an unconfirmed address"),
    ),
    Check(
        "metrics",
        "CloudWatch extracts the functions' metrics from their log lines, in the names that the alarms watch.",
        "The alarms on our own metrics would never go off. Compare a log line of NormalizeDocumentFunction with the"
        " specification of the embedded metric format.",
        metrics_come_from_logs,
        ("looks for another metric",),
    ),
)
