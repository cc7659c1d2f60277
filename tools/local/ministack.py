"""Starts MiniStack 1.5.33 with corrections. `docs/local-cloud.md` lists them.

- The services behave as AWS documents where Lectern depends on it: `tools/local/corrections`.
- The endpoint of an HTTP API has a host name that every client resolves. MiniStack's own
  `….execute-api.localhost` resolves in curl and in browsers only.
- Requests of web pages in the developer's browser are refused: MiniStack would carry out their form posts.

Run as `python -m tools.local.ministack`. Before you change VERSION, check whether the new version of MiniStack still
needs each correction.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Mapping
from typing import Any

from . import corrections
from .corrections import admin, counts, faults

VERSION = "1.5.33"


def main() -> None:
    found = importlib.metadata.version("ministack")
    if found != VERSION:
        sys.exit(f"tools/local/ministack.py corrects MiniStack {VERSION}, but version {found} is installed.")
    from ministack import app
    from ministack.services import apigateway
    from ministack.services.cloudformation import provisioners

    corrections.apply()
    handlers = provisioners._RESOURCE_HANDLERS["AWS::ApiGatewayV2::Api"]
    handlers["create"] = with_path_endpoint(handlers["create"], apigateway._apis)
    app.app = without_web_pages(admin.administered(counts.around(faults.around(app.app))))
    app.main()


def with_path_endpoint(create: Any, apis: Any) -> Any:
    """Wraps CloudFormation's creation of an HTTP API so that its endpoint uses MiniStack's path form."""

    def corrected(logical_id: str, properties: Mapping[str, Any], stack_name: str) -> Any:
        api_id, attributes = create(logical_id, properties, stack_name)
        endpoint = f"http://127.0.0.1:{os.environ['GATEWAY_PORT']}/_aws/execute-api/{api_id}/$default"
        apis[api_id]["apiEndpoint"] = endpoint
        return api_id, attributes | {"ApiEndpoint": endpoint}

    return corrected


def without_web_pages(app: Any) -> Any:
    """Wraps the ASGI application so that it refuses requests from web pages.

    A browser sends `Origin` with each request but some GETs of a page, such as those of images, and `Sec-Fetch-Site`
    with all of them. A link to a file that somebody opens is not from another site.
    """

    async def guarded(scope: Any, receive: Any, send: Any) -> None:
        headers = {name.lower(): value for name, value in scope.get("headers", [])}
        if b"origin" not in headers and headers.get(b"sec-fetch-site") != b"cross-site":
            await app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await send({"type": "http.response.start", "status": 403, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})

    return guarded


if __name__ == "__main__":
    main()
