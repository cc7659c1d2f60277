"""Step Functions: pauses between retries, limits, names, and answers to tasks.

https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
"""

from __future__ import annotations

import json
import random
import re
import threading
from typing import Any

MAX_DATA_BYTES = 262_144
MAX_EVENTS = 25_000
# Of these names, `States.ALL` matches none.
# https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
NOT_IN_ALL = {"States.DataLimitExceeded", "States.Runtime"}
NAME = re.compile(r"""[^\s<>{}\[\]?*"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f]{1,80}""")


def apply() -> None:
    from ministack.services import stepfunctions as machine

    from . import in_source

    machine._retry_pause = pause
    pause_of_task, count = "min(sleep_sec, 60)", 'ctx["State"]["RetryCount"] = sum(retry_counts.values())\n'
    token = '        if is_callback:\n            ctx["Task"] = {"Token": new_uuid()}\n'
    # Each attempt has a token of its own.
    changes = {pause_of_task: "_retry_pause(retrier, count)", count: count + token}
    in_source(machine, "_execute_task", changes)
    backoff = 'min(interval * (retrier.get("BackoffRate", 2.0) ** count), 60)'
    in_source(machine, "_with_retry_and_catch", {backoff: "_retry_pause(retrier, count)"})
    for name in ("_invoke_resource", "_invoke_with_callback"):
        setattr(machine, name, with_data_limit(machine, getattr(machine, name)))
    machine._error_matches = matching(machine._error_matches)
    machine._add_event = with_event_limit(machine, machine._add_event)
    machine._start_execution = idempotent(machine)
    answered: set[str] = set()
    lock = threading.Lock()
    machine._send_task_success = answered_once(machine, machine._send_task_success, answered, lock)
    machine._send_task_failure = answered_once(machine, machine._send_task_failure, answered, lock)


def pause(retrier: dict[str, Any], count: int) -> float:
    """The seconds before the next attempt. MiniStack caps them at 60 and knows no cap or jitter of the state.

    https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html#error-handling-retrying-after-an-error
    """
    longest = float(retrier.get("IntervalSeconds", 1)) * float(retrier.get("BackoffRate", 2.0)) ** count
    longest = min(longest, float(retrier.get("MaxDelaySeconds", longest)))
    return random.uniform(0.0, longest) if retrier.get("JitterStrategy") == "FULL" else longest


def size_bytes(data: Any) -> int:
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return len(text.encode())


def with_data_limit(machine: Any, invoke: Any) -> Any:
    """Wraps the call of a task so that its input and its result are bounded."""

    def corrected(resource: str, given: Any, *rest: Any) -> Any:
        bounded(given, "input")
        result = invoke(resource, given, *rest)
        bounded(result, "result")
        return result

    def bounded(data: Any, what: str) -> None:
        if size_bytes(data) > MAX_DATA_BYTES:
            cause = f"The task's {what} exceeds the maximum number of bytes service limit."
            raise machine._ExecutionError("States.DataLimitExceeded", cause)

    return corrected


def matching(matches: Any) -> Any:
    def corrected(error_equals: list[str], error: str) -> bool:
        return error in error_equals or (error not in NOT_IN_ALL and bool(matches(error_equals, error)))

    return corrected


def with_event_limit(machine: Any, add_event: Any) -> Any:
    """Wraps the writer of the history: an execution fails when its history is full."""

    def corrected(execution: dict[str, Any], kind: str, details: Any = None) -> Any:
        ends = kind.startswith("Execution")
        if execution and len(execution["events"]) >= MAX_EVENTS - 1 and not ends:
            cause = f"The execution reached the maximum number of history events ({MAX_EVENTS})."
            raise machine._ExecutionError("States.Runtime", cause)
        return add_event(execution, kind, details)

    return corrected


def idempotent(machine: Any) -> Any:
    """Wraps StartExecution.

    The same name and input give the running execution. A name that AWS refuses and an input that is too large are
    refused. https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html
    """
    start = machine._start_execution

    def corrected(data: dict[str, Any]) -> Any:
        name, given = data.get("name"), data.get("input", "{}")
        if name is not None and not NAME.fullmatch(name):
            return machine.error_response_json("InvalidName", f"Invalid Name: '{name}'", 400)
        if size_bytes(given) > MAX_DATA_BYTES:
            return too_long(machine, "input")
        status, headers, body = start(data)
        if status == 400 and name is not None and b"ExecutionAlreadyExists" in body:
            arn = machine._resolve_state_machine_arn(data.get("stateMachineArn", "").partition("#")[0])
            known = machine._executions.get(f"{arn.replace(':stateMachine:', ':execution:')}:{name}")
            if known and known["status"] == "RUNNING" and known["input"] == given:
                answer = {"executionArn": known["executionArn"], "startDate": known["startDate"]}
                return machine.json_response(answer)
        return status, headers, body

    return corrected


def answered_once(machine: Any, answer: Any, answered: set[str], lock: Any) -> Any:
    """Wraps SendTaskSuccess and SendTaskFailure: only the first answer counts, and an output is bounded."""

    def corrected(data: dict[str, Any]) -> Any:
        if size_bytes(data.get("output", "")) > MAX_DATA_BYTES:
            return too_long(machine, "output")
        token = data.get("taskToken", "")
        with lock:
            if token in answered:
                message = "Task Timed Out: 'Provided task does not exist anymore'"
                return machine.error_response_json("TaskTimedOut", message, 400)
            status, headers, body = answer(data)
            if status == 200:
                answered.add(token)
        return status, headers, body

    return corrected


def too_long(machine: Any, field: str) -> Any:
    message = (
        f"1 validation error detected: Value at '{field}' failed to satisfy constraint: "
        f"Member must have length less than or equal to {MAX_DATA_BYTES}"
    )
    return machine.error_response_json("ValidationException", message, 400)
