"""Conflicts of transactions."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from botocore.exceptions import ClientError

from .check import Check, Failed, NotChecked, Run

WRITERS = 16
WRITES = 20
# DynamoDB deletes the items even if the run cannot.
KEEP_S = 3600


def conflicts_have_their_codes(run: Run) -> str:
    """Adds to one item from many threads, by transactions and by plain updates, without the SDK's retries."""
    table = run.stage.outputs["TableName"]
    key = {"pk": {"S": f"SMOKE#{run.mark}"}, "sk": {"S": "SMOKE"}}
    client = run.stage.client("dynamodb", retries={"total_max_attempts": 1}, max_pool_connections=WRITERS)
    outcomes: Counter[str] = Counter()
    update = {
        "TableName": table,
        "Key": key,
        "UpdateExpression": "ADD written :one SET expiresAt = :end",
        "ExpressionAttributeValues": {":one": {"N": "1"}, ":end": {"N": str(int(time.time()) + KEEP_S)}},
    }

    def write(number: int) -> str:
        try:
            if number % 4 == 0:
                client.update_item(**update)
            else:
                client.transact_write_items(TransactItems=[{"Update": update}])
        except ClientError as error:
            return code_of(error.response)
        return "written"

    try:
        with ThreadPoolExecutor(WRITERS) as pool:
            outcomes.update(pool.map(write, range(WRITERS * WRITES)))
        if run.fault:
            client.update_item(**update)
        item = client.get_item(TableName=table, Key=key, ConsistentRead=True)["Item"]
    finally:
        client.delete_item(TableName=table, Key=key)
    written = int(item["written"]["N"])
    if written != outcomes["written"]:
        raise Failed(f"{outcomes['written']} writes were answered with success, and the item counts {written}")
    expected = {"written", "TransactionCanceledException: TransactionConflict", "TransactionConflictException"}
    others = set(outcomes) - expected
    if others:
        raise Failed(f"writes that met others were answered {', '.join(sorted(others))}")
    conflicts = outcomes.total() - outcomes["written"]
    if conflicts == 0:
        raise NotChecked(f"none of {outcomes.total()} concurrent writes of one item was cancelled")
    return f"{conflicts} of {outcomes.total()} writes were cancelled, all with the codes that the SDK repeats"


def code_of(response: Mapping[str, Any]) -> str:
    """The error's code, and the distinct reasons of a cancelled transaction without those of its innocent parts."""
    code = str(response["Error"]["Code"])
    reasons = {reason.get("Code", "None") for reason in response.get("CancellationReasons", [])} - {"None"}
    return f"{code}: {', '.join(sorted(reasons))}" if reasons else code


CHECKS = (
    Check(
        "conflicts",
        "A write that meets a transaction on the same item is cancelled with TransactionConflict, and changes nothing.",
        "The SDK repeats these codes only (A02): another code would delay the documents of a bulk upload by minutes."
        " Add it to the classifier in crates/lectern-aws/src/dynamodb/retries.rs.",
        conflicts_have_their_codes,
        ("writes once more than it counts",),
    ),
)
