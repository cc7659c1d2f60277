"""Counts what AWS charges for, for `make cost`: the requests of the functions, and the table's read and write units.

Requests of the local cloud's root user are those of tests and tools, so they are not counted. Executions, invocations
and logs are not counted here, because Step Functions and CloudWatch Logs show them.
"""

from __future__ import annotations

import contextvars
import json
import re
import threading
from collections import Counter
from typing import Any

CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/[^/]*/[^/]*/([^/]*)/")
ROOT = "test"
READS = ("_get_item", "_batch_get_item", "_query")
WRITES = ("_put_item", "_update_item", "_delete_item", "_transact_write_items")
is_foreign: contextvars.ContextVar[bool] = contextvars.ContextVar("is_foreign", default=False)
counted: Counter[str] = Counter()
lock = threading.Lock()


def apply() -> None:
    from ministack.services import dynamodb

    for unit, names in (("readUnits", READS), ("writeUnits", WRITES)):
        for name in names:
            setattr(dynamodb, name, with_units(getattr(dynamodb, name), unit))


def snapshot() -> dict[str, float]:
    with lock:
        return dict(sorted(counted.items()))


def add(name: str, number: float = 1) -> None:
    with lock:
        counted[name] += number


def with_units(operation: Any, unit: str) -> Any:
    """Wraps an operation of the table so that the capacity that it consumes is counted."""

    def corrected(data: dict[str, Any]) -> Any:
        if is_foreign.get() or "ReturnConsumedCapacity" in data:
            return operation(data)
        status, headers, body = operation(data | {"ReturnConsumedCapacity": "TOTAL"})
        if status != 200:
            return status, headers, body
        answer = json.loads(body)
        consumed = answer.pop("ConsumedCapacity", {})
        parts = consumed if isinstance(consumed, list) else [consumed]
        add(f"dynamodb {unit}", sum(part.get("CapacityUnits", 0) for part in parts))
        text = json.dumps(answer)
        return status, headers, text.encode() if isinstance(body, bytes) else text

    return corrected


def around(app: Any) -> Any:
    """Wraps the ASGI application so that it counts the requests of the functions."""

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        headers = {name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if scope["path"].startswith("/_aws/execute-api/") and "/callbacks/" in scope["path"]:
            add("apigateway callback")
        elif found := CREDENTIAL.search(headers.get("authorization", "")):
            key, service = found.groups()
            is_foreign.set(key == ROOT)
            if key != ROOT:
                add(name_of(service, scope, headers))
        await app(scope, receive, send)

    return wrapped


def name_of(service: str, scope: Any, headers: dict[str, str]) -> str:
    """The service and the action, such as `sqs SendMessage` or `s3 GET`."""
    target = headers.get("x-amz-target", "").rpartition(".")[2]
    if service != "s3":
        return f"{service} {target or scope['method']}"
    is_list = "list-type" in scope["query_string"].decode() or scope["path"].count("/") == 1
    return "s3 LIST" if scope["method"] == "GET" and is_list else f"s3 {scope['method']}"
