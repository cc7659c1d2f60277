"""DynamoDB: requests that conflict with a transaction.

MiniStack runs one request after the other, so none meets a transaction. Here a transaction takes a moment, and a
request for one of its items within that moment is refused, as AWS does.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html#transaction-conflict-handling
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

# About as long as the writes of a transaction take on AWS.
TRANSACTION_S = 0.01
ONGOING = "Transaction is ongoing for the item"
Item = tuple[str, str]


def apply() -> None:
    from ministack.services import cloudwatch, dynamodb

    ongoing: set[Item] = set()
    dynamodb.handle_request = with_lasting_transactions(dynamodb, cloudwatch, ongoing)
    # The state machine's optimised integration calls these functions, not the request handler.
    for name in ("_put_item", "_update_item", "_delete_item"):
        setattr(dynamodb, name, refused_during_transactions(dynamodb, cloudwatch, ongoing, name))


def with_lasting_transactions(dynamodb: Any, cloudwatch: Any, ongoing: set[Item]) -> Any:
    """Wraps the request handler so that a TransactWriteItems lasts, and that transactions conflict with it."""
    handle = dynamodb.handle_request

    async def corrected(method: str, path: str, headers: dict[str, str], body: bytes, query: Any) -> Any:
        action = headers.get("x-amz-target", "").rpartition(".")[2]
        if action not in ("TransactWriteItems", "TransactGetItems"):
            return await handle(method, path, headers, body, query)
        data = read(body)
        items = [identity(dynamodb, request) for request in requests(data)]
        if any(item in ongoing for item in items):
            for table in {item[0] for item in items if item in ongoing}:
                count(cloudwatch, table)
            return cancelled(["TransactionConflict" if item in ongoing else "None" for item in items])
        if action == "TransactGetItems":
            return await handle(method, path, headers, body, query)
        ongoing.update(items)
        try:
            await asyncio.sleep(TRANSACTION_S)
            return await handle(method, path, headers, body, query)
        finally:
            ongoing.difference_update(items)

    return corrected


def refused_during_transactions(dynamodb: Any, cloudwatch: Any, ongoing: set[Item], name: str) -> Any:
    """Wraps a write of one item so that it is refused while a transaction has the item."""
    write = getattr(dynamodb, name)

    def corrected(data: dict[str, Any]) -> Any:
        if ongoing and (item := identity(dynamodb, data)) in ongoing:
            count(cloudwatch, item[0])
            return dynamodb.error_response_json("TransactionConflictException", ONGOING, 400)
        return write(data)

    return corrected


def read(body: bytes) -> dict[str, Any]:
    try:
        data = json.loads(body)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def requests(data: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The request for each item of a transaction."""
    for member in data.get("TransactItems") or []:
        yield next(iter(member.values()), {})


def identity(dynamodb: Any, request: dict[str, Any]) -> Item:
    """The table and the primary key of the item that a request is about."""
    name = str(request.get("TableName"))
    table = dynamodb._tables.get(name) or {}
    attributes = request.get("Key") or request.get("Item") or {}
    key = {part: attributes.get(part) for part in (table.get("pk_name"), table.get("sk_name")) if part}
    return name, json.dumps(key, sort_keys=True)


def count(cloudwatch: Any, table: str) -> None:
    cloudwatch.record_metric("AWS/DynamoDB", "TransactionConflict", 1, "Count", {"TableName": table})


def cancelled(codes: list[str]) -> Any:
    """TransactionCanceledException with a reason for each item."""
    reasons = [{"Code": code} | ({"Message": ONGOING} if code != "None" else {}) for code in codes]
    specific = ", ".join(codes)
    error = {
        "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "Message": f"Transaction cancelled, please refer cancellation reasons for specific reasons [{specific}]",
        "CancellationReasons": reasons,
    }
    headers = {"Content-Type": "application/x-amz-json-1.0"}
    return 400, headers, json.dumps(error).encode()
