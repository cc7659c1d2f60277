"""Serves the stub on this machine, for its tests: `python3 local_server.py API_KEY SIGNING_SECRET`.

It prints its URL and turns each request into the event of a function URL. Jobs are kept in memory.
"""

from __future__ import annotations

import base64
import sys
import threading
import urllib.parse
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import third_party


class Memory:
    """The same operations as `third_party.Aws`."""

    def __init__(self, api_key: str, signing_secret: str) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.given = (api_key, signing_secret)

    def find(self, key: str) -> dict[str, Any] | None:
        return dict(self.jobs[key]) if key in self.jobs else None

    def create(self, key: str, job: Mapping[str, Any]) -> bool:
        return self.jobs.setdefault(key, dict(job)) == job

    def update(self, key: str, job: Mapping[str, Any]) -> None:
        self.jobs[key] = dict(job)

    def later(self, key: str) -> None:
        threading.Thread(target=third_party.handler, args=({"work": key}, None), daemon=True).start()

    def secrets(self) -> tuple[str, str]:
        return self.given


class Requests(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def respond(self) -> None:
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        event = {
            "rawPath": path,
            "queryStringParameters": dict(urllib.parse.parse_qsl(query)),
            "headers": {name.lower(): value for name, value in self.headers.items()} | {"x-forwarded-proto": "http"},
            "requestContext": {"http": {"method": self.command}},
            "body": base64.b64encode(body).decode(),
            "isBase64Encoded": True,
        }
        answer = third_party.handler(event, None) or {}
        content = base64.b64decode(answer["body"])
        self.send_response(answer["statusCode"])
        for name, value in answer["headers"].items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = respond

    def log_message(self, *_: Any) -> None:
        """Logs nothing: the paths contain the tokens of files."""


def main() -> None:
    third_party.service = Memory(*sys.argv[1:3])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Requests)
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
