"""What a run makes and removes again: a CloudFormation stack, submissions, a user, callbacks without a document.

Everything has the run's id in its name, so a run also removes what earlier runs left behind.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from botocore.exceptions import WaiterError
from local.console import Problem, say

from .check import Run
from .documents import Documents
from .stage import Stage
from .webhook import BODIES

TEMPLATE = Path(__file__).with_name("template.yaml")
PREFIX = "smoke-"
# Younger things belong to a run that may still be going on.
LEFTOVER_AGE = timedelta(minutes=20)
STACK_BOUND_S = 150
ID = re.compile(r"smoke-(\d{8}-\d{6})-[0-9a-f]{4}")


def new_id() -> str:
    return f"{PREFIX}{datetime.now(timezone.utc):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def is_leftover(name: str) -> bool:
    found = ID.search(name)
    if found is None:
        return False
    made = datetime.strptime(found.group(1), "%Y%m%d-%H%M%S").replace(tzinfo=timezone.utc)
    return datetime.now(timezone.utc) - made > LEFTOVER_AGE


def stack_name(stage: Stage, run_id: str) -> str:
    return f"{stage.name}-{run_id}"


def create_stack(run: Run) -> dict[str, str]:
    """Creates the temporary stack and returns its outputs."""
    cloudformation, name = run.client("cloudformation"), stack_name(run.stage, run.id)
    cloudformation.create_stack(
        StackName=name,
        TemplateBody=TEMPLATE.read_text(encoding="utf-8"),
        Parameters=[{"ParameterKey": "AlarmTopicArn", "ParameterValue": run.stage.physical_id("AlarmTopic")}],
        Capabilities=["CAPABILITY_IAM"],
        OnFailure="DELETE",
        Tags=[{"Key": "Application", "Value": "lectern"}, {"Key": "Smoke", "Value": run.id}],
    )
    try:
        waiter = cloudformation.get_waiter("stack_create_complete")
        waiter.wait(StackName=name, WaiterConfig={"Delay": 2, "MaxAttempts": STACK_BOUND_S // 2})
    except WaiterError as error:
        raise Problem(f"The temporary stack {name} was not created: {error}", "Look at its events.") from error
    outputs = cloudformation.describe_stacks(StackName=name)["Stacks"][0]["Outputs"]
    return {output["OutputKey"]: output["OutputValue"] for output in outputs}


def remove_leftovers(stage: Stage) -> None:
    """Removes what earlier runs left behind, because they were killed or could not reach AWS any more."""
    for run_id in sorted(leftovers(stage)):
        say(f"  removing what the run {run_id} left behind …")
        remove(stage, run_id)


def leftovers(stage: Stage) -> set[str]:
    names = [stack["StackName"] for stack in stacks(stage)]
    names += list(submissions(stage, PREFIX))
    cognito = stage.client("cognito-idp")
    users = cognito.get_paginator("list_users").paginate(UserPoolId=stage.outputs["UserPoolId"])
    for page in users:
        for user in page["Users"]:
            names += [attribute["Value"] for attribute in user["Attributes"] if attribute["Name"] == "email"]
            names.append(user["Username"])
    found = (ID.search(name) for name in names if is_leftover(name))
    return {match.group(0) for match in found if match}


def stacks(stage: Stage) -> Iterator[dict[str, Any]]:
    for page in stage.client("cloudformation").get_paginator("describe_stacks").paginate():
        for stack in page["Stacks"]:
            if stack["StackName"].startswith(f"{stage.name}-{PREFIX}") and stack["StackStatus"] != "DELETE_COMPLETE":
                yield stack


def remove(stage: Stage, run_id: str) -> None:
    """Removes everything of one run; also if only a part of it is there."""
    cloudformation = stage.client("cloudformation")
    name = stack_name(stage, run_id)
    cloudformation.delete_stack(StackName=name)
    for submission in sorted(set(submissions(stage, run_id))):
        remove_submission(stage, submission)
    remove_objects(stage, stage.outputs["ReturnedBucketName"], f"quarantine/{run_id}/")
    table = stage.client("dynamodb")
    for number in range(len(BODIES)):
        key = f"UNKNOWN_CALLBACK#{run_id}-{number}"
        table.delete_item(TableName=stage.outputs["TableName"], Key={"pk": {"S": key}, "sk": {"S": "UNKNOWN_CALLBACK"}})
    Documents(stage, run_id).delete_user()
    try:
        waiter = cloudformation.get_waiter("stack_delete_complete")
        waiter.wait(StackName=name, WaiterConfig={"Delay": 2, "MaxAttempts": STACK_BOUND_S // 2})
    except WaiterError as error:
        raise Problem(f"The temporary stack {name} was not deleted: {error}", "Delete it by hand.") from error


def submissions(stage: Stage, prefix: str) -> Iterator[str]:
    """The ids of the submissions of runs, by the objects in the uploads bucket."""
    for _, version in versions(stage, stage.outputs["UploadsBucketName"], f"submissions/{prefix}"):
        yield version["Key"].split("/")[1]


def remove_submission(stage: Stage, submission: str) -> None:
    """Stops the executions of a submission's documents and removes its items and objects."""
    client, table = stage.client("dynamodb"), stage.outputs["TableName"]
    query = {
        "TableName": table,
        "KeyConditionExpression": "pk = :pk",
        "ExpressionAttributeValues": {":pk": {"S": f"SUBMISSION#{submission}"}},
    }
    items = [item for page in client.get_paginator("query").paginate(**query) for item in page["Items"]]
    for item in items:
        _, is_document, document = item["sk"]["S"].partition("DOCUMENT#")
        if is_document:
            stop_executions(stage, document)
            delete(client, table, f"WAITING#{document}", "WAITING")
        if "callbackId" in item:
            delete(client, table, f"CALLBACK#{item['callbackId']['S']}", "CALLBACK")
        delete(client, table, item["pk"]["S"], item["sk"]["S"])
    remove_objects(stage, stage.outputs["UploadsBucketName"], f"submissions/{submission}/")
    for folder in ("quarantine", "returned", "records"):
        remove_objects(stage, stage.outputs["ReturnedBucketName"], f"{folder}/{submission}/")


def stop_executions(stage: Stage, document: str) -> None:
    sfn = stage.client("stepfunctions")
    for name in (document, f"{document}-redrive-1"):
        # The local cloud answers ValidationException if the execution has ended.
        with contextlib.suppress(sfn.exceptions.ExecutionDoesNotExist, sfn.exceptions.ValidationException):
            sfn.stop_execution(executionArn=stage.execution_arn(name))


def delete(client: Any, table: str, pk: str, sk: str) -> None:
    client.delete_item(TableName=table, Key={"pk": {"S": pk}, "sk": {"S": sk}})


def remove_objects(stage: Stage, bucket: str, prefix: str) -> None:
    s3 = stage.client("s3")
    for _, version in versions(stage, bucket, prefix):
        s3.delete_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])


def versions(stage: Stage, bucket: str, prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every version and delete marker below a prefix."""
    pages = stage.client("s3").get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix)
    for page in pages:
        for kind in ("Versions", "DeleteMarkers"):
            for version in page.get(kind, []):
                yield kind, version
