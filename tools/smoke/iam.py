"""What the functions' roles may do."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from .check import Check, Failed, NotChecked, Run

DENIALS = ("AccessDenied", "is not authorized to perform", "UnauthorizedOperation")
# Actions with the resource that each is tried on, and the only functions that have them.
FORBIDDEN = {
    ("dynamodb:Scan", "table"): (),
    ("s3:DeleteObject", "uploads"): ("ServeApi",),
    ("s3:PutObject", "uploads"): ("ServeApi",),
    ("s3:DeleteObjectVersion", "returned"): ("EraseSubmission",),
    ("states:StopExecution", "executions"): ("EraseSubmission", "ServeApi"),
}
# An action that each function has, which shows that the simulation reads the function's policies.
ALLOWED = "dynamodb:GetItem"
# A function that reads no single item has this action instead.
ALLOWED_INSTEAD = {"RouteEvents": "dynamodb:Query"}
# The functions that handle what leaves Lectern. They reach no item of a submission, and both read this partition.
OF_EVENTS, OWN_PARTITION = ("DeliverEvents", "RouteEvents"), "SUBSCRIBERS"


def functions_are_allowed_what_they_do(run: Run) -> str:
    """Searches the functions' logs since the start of this run for refused requests."""
    if run.fault:
        write_denial(run)
    silent = []
    refused: dict[str, str] = {}
    for function in run.stage.functions:
        lines = list(log_lines(run, function))
        found = next((word for line in lines for word in DENIALS if word in line), None)
        if found:
            refused[function] = found
        elif not lines:
            silent.append(function)
    if refused:
        raise Failed("; ".join(f"the log of {function} has “{word}”" for function, word in refused.items()))
    ran = len(run.stage.functions) - len(silent)
    if not ran:
        raise Failed("no function has logged anything")
    rest = f"; not run and so not seen: {', '.join(silent)}" if silent else ""
    return f"{ran} of {len(run.stage.functions)} functions ran, and none was refused a request{rest}"


def log_lines(run: Run, function: str) -> list[str]:
    logs = run.client("logs")
    pages = logs.get_paginator("filter_log_events").paginate(
        logGroupName=run.stage.log_group(function), startTime=run.began_ms
    )
    return [event["message"] for page in pages for event in page["events"]]


def write_denial(run: Run) -> None:
    """Writes a line as of a refused request; `remove_denial` removes its log stream."""
    logs, group = run.client("logs"), run.stage.log_group(next(iter(run.stage.functions)))
    logs.create_log_stream(logGroupName=group, logStreamName=run.id)
    event = {"timestamp": int(time.time() * 1000), "message": "AccessDenied: make smoke --with-faults wrote this line."}
    logs.put_log_events(logGroupName=group, logStreamName=run.id, logEvents=[event])


def remove_denial(run: Run) -> None:
    logs, group = run.client("logs"), run.stage.log_group(next(iter(run.stage.functions)))
    with contextlib.suppress(logs.exceptions.ResourceNotFoundException):
        logs.delete_log_stream(logGroupName=group, logStreamName=run.id)


def forbidden_actions_are_denied(run: Run) -> str:
    """Simulates the policies of each function's role."""
    iam, where = run.client("iam"), resources(run)
    for function, configuration in run.stage.functions.items():
        allowed = (ALLOWED_INSTEAD.get(function, ALLOWED), "table")
        for action, resource in (allowed, *FORBIDDEN):
            partition = OWN_PARTITION if function in OF_EVENTS else ""
            decision = simulated(iam, configuration["Role"], action, where[resource], partition)
            is_expected = (action, resource) == allowed or function in FORBIDDEN[action, resource]
            if (decision == "allowed") != (is_expected and not run.fault):
                raise Failed(f"{action} on {resource} is {decision} for the role of {function}")
    return f"{len(FORBIDDEN)} actions are allowed only where Lectern needs them, for {len(run.stage.functions)} roles"


def simulated(iam: Any, role: str, action: str, arn: str, partition: str = "") -> str:
    """What IAM decides on an action of a role; `partition` is the key of the item, if the policy looks at it."""
    keys = {"ContextKeyName": "dynamodb:LeadingKeys", "ContextKeyType": "stringList", "ContextKeyValues": [partition]}
    request = {"PolicySourceArn": role, "ActionNames": [action], "ResourceArns": [arn]}
    try:
        answer = iam.simulate_principal_policy(**request, **({"ContextEntries": [keys]} if partition else {}))
    except ClientError as error:
        code = error.response["Error"]["Code"]
        raise NotChecked(f"SimulatePrincipalPolicy was answered {code}") from error
    return str(answer["EvaluationResults"][0]["EvalDecision"])


def functions_of_events_reach_no_submission(run: Run) -> str:
    """Simulates reads of items of submissions by the functions of events."""
    iam, table = run.client("iam"), resources(run)["table"]
    for function in OF_EVENTS:
        action = ALLOWED_INSTEAD.get(function, ALLOWED)
        partition = OWN_PARTITION if run.fault else f"SUBMISSION#{run.id}"
        if simulated(iam, run.stage.functions[function]["Role"], action, table, partition) == "allowed":
            raise Failed(
                f"{action} on the partition {partition} is allowed for the role of {function}",
                local="the local cloud's simulation knows no dynamodb:LeadingKeys",
            )
    return f"{len(OF_EVENTS)} roles reach no item of a submission"


def resources(run: Run) -> Mapping[str, str]:
    """The ARN of each resource that an action is tried on."""
    machine = run.stage.physical_id("DocumentStateMachine").split(":")
    outputs = run.stage.outputs
    return {
        "table": ":".join([*machine[:2], "dynamodb", *machine[3:5], f"table/{outputs['TableName']}"]),
        "uploads": f"arn:{machine[1]}:s3:::{outputs['UploadsBucketName']}/submissions/{run.id}/file.txt",
        "returned": f"arn:{machine[1]}:s3:::{outputs['ReturnedBucketName']}/returned/{run.id}/file.txt",
        "executions": run.stage.execution_arn(run.id),
    }


CHECKS = (
    Check(
        "logs",
        "No function was refused a request (invariant 9).",
        "A role lacks an action that AWS wants and the local cloud does not. Add it in template.yaml.",
        functions_are_allowed_what_they_do,
        ("writes a refusal into a log",),
    ),
    Check(
        "roles",
        "No function may scan the table. Few may delete objects or stop executions (invariants 1, 9).",
        "A function may do more than it should. Look for a policy that somebody has added to the role, or correct"
        " template.yaml.",
        forbidden_actions_are_denied,
        ("forbids what is allowed",),
    ),
    Check(
        "event roles",
        "route-events and deliver-events reach no item of a submission (invariant 9, decision 0062).",
        "A role of a function of events may do more than it should. Look for a policy that somebody has added to the"
        " role, or correct the conditions on dynamodb:LeadingKeys in template.yaml.",
        functions_of_events_reach_no_submission,
        ("takes an item of its own for one of a submission",),
    ),
)
