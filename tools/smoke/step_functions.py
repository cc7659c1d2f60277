"""Task tokens and names of executions."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from botocore.exceptions import ClientError

from .check import Check, Failed, Run

TASKS = 10
# A second heartbeat stands for the message's second delivery, which decides (decision 0012).
SECOND_TRY_S = 2.0
# Step Functions may take a moment to end a task or an execution.
ENDED_S = 5.0
EXISTS = "ExecutionAlreadyExists"
# What crates/lectern-cli/src/executions.rs takes for "the execution has ended".
STOPPED_BEFORE = ("success", "ValidationException", "ExecutionDoesNotExist")
OUTLIVED = (
    "A message that outlived its task could submit its document again, or become a dead letter"
    " (decision 0012). If the code is another one, add it to token_use in crates/lectern-aws/src/sfn.rs."
)
# What crates/lectern-aws/src/sfn.rs takes for "no task waits for this token".
NOT_AWAITED = ("TaskTimedOut", "TaskDoesNotExist", "InvalidToken", "ValidationException")


def token_is_awaited_at_once(run: Run) -> str:
    """Sends a heartbeat as soon as the message with the token arrives."""
    sfn = run.client("stepfunctions")
    late, slowest = 0, 0.0
    with ThreadPoolExecutor(1) as pool:
        # The receiver polls before the first message is sent, so that its heartbeats follow the messages at once.
        names = [f"{run.mark}-token-{number}" for number in range(TASKS)]
        arrivals = pool.submit(lambda: list(answered(run, sfn, names)))
        started = [start(run, sfn, name) for name in names]
        for refusals, seconds in arrivals.result():
            late += refusals
            slowest = max(slowest, seconds)
    for arn in started:
        run.until("the end of an execution whose token was answered", lambda arn=arn: status(sfn, arn) == "SUCCEEDED")
    seen = f"{TASKS} heartbeats were accepted, the slowest answer took {slowest * 1000:.0f} ms"
    return (
        f"{seen}; {late} of them at the second try only, so the second delivery decides as A01 wants" if late else seen
    )


def answered(run: Run, sfn: Any, names: Sequence[str]) -> Iterator[tuple[bool, float]]:
    """Receives each token, sends a heartbeat and answers the task."""
    for token in tokens(run, names):
        if run.fault:
            sfn.send_task_success(taskToken=token, output="{}")
        began = time.monotonic()
        code = heartbeat(sfn, token)
        seconds = time.monotonic() - began
        if code:
            time.sleep(SECOND_TRY_S)
            second = heartbeat(sfn, token)
            if second:
                raise Failed(f"the heartbeat of a waiting task was answered {code}, and 2 s later {second}")
        sfn.send_task_success(taskToken=token, output="{}")
        yield bool(code), seconds


def answered_token_is_refused(run: Run) -> str:
    """Sends heartbeats for a task that was answered before."""
    return refusal(run, "answered", lambda sfn, _, token: sfn.send_task_success(taskToken=token, output="{}"))


def stopped_token_is_refused(run: Run) -> str:
    """Sends heartbeats for a task whose execution was stopped."""
    local = "the local cloud keeps the tokens of a stopped execution"
    return refusal(run, "stopped", lambda sfn, arn, _: sfn.stop_execution(executionArn=arn), local)


def refusal(run: Run, how: str, end: Callable[[Any, str, str], Any], local: str = "") -> str:
    """The error code of a heartbeat soon after the task has ended."""
    sfn = run.client("stepfunctions")
    name = f"{run.mark}-{how}"
    arn = start(run, sfn, name)
    token = next(tokens(run, [name]))
    if not run.fault:
        end(sfn, arn, token)
    try:
        code = run.until(f"the refusal of a heartbeat of a task that was {how}", lambda: heartbeat(sfn, token), ENDED_S)
    except Failed as failure:
        raise Failed(str(failure), "" if run.fault else local) from failure
    finally:
        if run.fault:
            end(sfn, arn, token)
    if code not in NOT_AWAITED:
        raise Failed(f"the heartbeat of a task that was {how} got {code}")
    return str(code)


def start_is_idempotent_by_name(run: Run) -> str:
    """Starts an execution again while it runs, and after its end."""
    sfn = run.client("stepfunctions")
    name = f"{run.mark}-name"
    arn = start(run, sfn, name)
    second = f"{name}-2" if run.fault else name
    while_running = start_again(run, sfn, second, arn)
    for token in tokens(run, {name, second}):
        sfn.send_task_success(taskToken=token, output="{}")
    run.until("the end of the execution", lambda: status(sfn, arn) == "SUCCEEDED")
    after_end = start_again(run, sfn, name, arn)
    seen = (while_running, after_end)
    if while_running not in ("the same execution", EXISTS) or after_end != EXISTS:
        raise Failed(f"a second start while the execution ran, and one after its end, were answered {seen}")
    stopped = "success"
    try:
        sfn.stop_execution(executionArn=arn)
    except ClientError as error:
        stopped = error.response["Error"]["Code"]
    if stopped not in STOPPED_BEFORE:
        raise Failed(f"the stop of an execution that had ended was answered {stopped}")
    return f"while it ran: {while_running}; after its end: {after_end}; a stop after its end: {stopped}"


def start_again(run: Run, sfn: Any, name: str, first: str) -> str:
    """What a start with this name is answered."""
    try:
        return "the same execution" if start(run, sfn, name) == first else "another execution"
    except ClientError as error:
        return str(error.response["Error"]["Code"])


def start(run: Run, sfn: Any, name: str) -> str:
    arn = run.temporary["StateMachineArn"]
    answer = sfn.start_execution(stateMachineArn=arn, name=name, input=json.dumps({"name": name}))
    return str(answer["executionArn"])


def status(sfn: Any, arn: str) -> str:
    return str(sfn.describe_execution(executionArn=arn)["status"])


def heartbeat(sfn: Any, token: str) -> str:
    """The error code of a heartbeat; empty if it was accepted."""
    try:
        sfn.send_task_heartbeat(taskToken=token)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


def tokens(run: Run, names: Iterable[str]) -> Iterator[str]:
    """The task token of each of these executions, as soon as its message arrives."""
    sqs, url = run.client("sqs"), run.temporary["TokenQueueUrl"]
    missing = set(names)
    ends = time.monotonic() + run.bound_s
    while missing:
        if time.monotonic() > ends:
            raise Failed(f"{len(missing)} messages with a task token did not arrive within {run.bound_s:.0f} s")
        answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=5)
        for message in answer.get("Messages", []):
            body = json.loads(message["Body"])
            # SQS may deliver a message twice, and a check that failed may have left others.
            if body["input"]["name"] in missing:
                missing.remove(body["input"]["name"])
                yield body["taskToken"]
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


CHECKS = (
    Check(
        "heartbeat",
        "SendTaskHeartbeat of a waiting task succeeds, without HeartbeatSeconds and right after the message was sent.",
        "transfer-document and normalize-document drop a message whose second heartbeat is refused (A01, decision"
        " 0012), so documents would wait for hours. Give no documents to this stage; teach is_awaited in"
        " crates/lectern-aws/src/sfn.rs the code.",
        token_is_awaited_at_once,
        ("answers before the heartbeat",),
    ),
    Check(
        "answered",
        f"The heartbeat of a task that was answered is refused with one of {', '.join(NOT_AWAITED)}.",
        OUTLIVED,
        answered_token_is_refused,
        ("leaves the task waiting",),
    ),
    Check(
        "stopped",
        f"The heartbeat of a task whose execution was stopped is refused with one of {', '.join(NOT_AWAITED)}.",
        OUTLIVED,
        stopped_token_is_refused,
        ("leaves the execution running",),
    ),
    Check(
        "name",
        "StartExecution with a used name makes no second execution; StopExecution of an ended execution does no harm.",
        "One document could have two executions, or a second redrive could fail (cases 1, 22, 48; decision 0021).",
        start_is_idempotent_by_name,
        ("uses another name",),
    ),
)
