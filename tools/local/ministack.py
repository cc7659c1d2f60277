"""Starts MiniStack 1.5.33 with corrections. `docs/local-cloud.md` lists them.

- The services behave as AWS documents where Lectern depends on it: `tools/local/corrections`.
- The endpoint of an HTTP API has a host name that every client resolves. MiniStack's own
  `….execute-api.localhost` resolves in curl and in browsers only.
- Requests of web pages in the developer's browser are refused, except those of Lectern's own pages: MiniStack would
  carry out their form posts.
- The root of the endpoint leads to Lectern's pages.

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
    app.app = without_web_pages(
        with_front_door(apigateway._apis, admin.administered(counts.around(faults.around(app.app))))
    )
    app.main()


def with_path_endpoint(create: Any, apis: Any) -> Any:
    """Wraps CloudFormation's creation of an HTTP API so that its endpoint uses MiniStack's path form."""

    def corrected(logical_id: str, properties: Mapping[str, Any], stack_name: str) -> Any:
        api_id, attributes = create(logical_id, properties, stack_name)
        endpoint = f"http://127.0.0.1:{os.environ['GATEWAY_PORT']}/_aws/execute-api/{api_id}/$default"
        apis[api_id]["apiEndpoint"] = endpoint
        return api_id, attributes | {"ApiEndpoint": endpoint}

    return corrected


def with_front_door(apis: Any, app: Any) -> Any:
    """Wraps the ASGI application so that a browser that opens the root of the endpoint gets to the pages."""

    async def led(scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope.get("headers", []))
        asks = scope["type"] == "http" and scope["method"] == "GET" and scope["path"] == "/"
        pages = [api["apiEndpoint"] for api in list(apis.values()) if api.get("apiEndpoint")]
        if not (asks and pages and b"text/html" in headers.get(b"accept", b"")):
            await app(scope, receive, send)
            return
        location = [(b"location", f"{pages[-1]}/".encode()), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 307, "headers": location})
        await send({"type": "http.response.body", "body": b""})

    return led


def without_web_pages(app: Any) -> Any:
    """Wraps the ASGI application so that it refuses requests from web pages, except those of its own origin.

    A browser sends `Origin` with each request but some GETs of a page, such as those of images, and `Sec-Fetch-Site`
    with all of them. A link to a file that somebody opens is not from another site. The pages and the sign-in page are
    served at the loopback address, which no page of another site can have as its origin. `Host` has to be that address
    too, because a name of another site may lead here.
    """
    own = f"127.0.0.1:{os.environ['GATEWAY_PORT']}".encode()

    async def guarded(scope: Any, receive: Any, send: Any) -> None:
        headers = {name.lower(): value for name, value in scope.get("headers", [])}
        is_own = headers.get(b"origin") == b"http://" + own and headers.get(b"host") == own
        is_foreign = b"origin" in headers and not is_own
        if not is_foreign and headers.get(b"sec-fetch-site") != b"cross-site":
            await app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await send({"type": "http.response.start", "status": 403, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})

    return guarded


if __name__ == "__main__":
    main()
