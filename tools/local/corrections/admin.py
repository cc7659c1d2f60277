"""Requests with which tests control the local cloud.

- `PUT /_lectern/faults` with `{"seed": 1, "share": 0.03}` begins faults of AWS in this share of the requests.
- `DELETE /_lectern/faults` ends them, and returns how many faults of each kind there were.
- `GET /_lectern/counts` returns how often the functions did what AWS charges for.
- `POST /_lectern/metrics/age` with `{"seconds": 3600}` makes all metrics older, as if that time had passed.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from . import cloudwatch, counts, faults


def administered(app: Any) -> Any:
    """Wraps the ASGI application so that it carries out these requests."""

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/_lectern/"):
            await app(scope, receive, send)
            return
        given = json.loads(await body_of(receive) or b"{}")
        status, result = await asyncio.to_thread(carry_out, scope["method"], scope["path"], given)
        body = json.dumps(result).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return wrapped


async def body_of(receive: Any) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


def carry_out(method: str, path: str, given: dict[str, Any]) -> tuple[int, Any]:
    match method, path:
        case "PUT", "/_lectern/faults":
            faults.plan = faults.Plan(int(given["seed"]), float(given["share"]))
            return 200, {}
        case "DELETE", "/_lectern/faults":
            ended, faults.plan = faults.plan, None
            return 200, dict(sorted(ended.met.items())) if ended else {}
        case "GET", "/_lectern/counts":
            return 200, counts.snapshot()
        case "POST", "/_lectern/metrics/age":
            cloudwatch.age(float(given["seconds"]))
            return 200, {}
        case _:
            return 404, {"message": f"There is no {method} {path}."}
