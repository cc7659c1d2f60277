"""A small subscriber: an HTTP server that verifies the signatures of events and prints the events as they arrive.

It shows how an external system receives events: it verifies signatures with the library of Standard Webhooks, and
otherwise knows only what docs/events.md promises.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

from .console import Problem, say
from .documents import Client, Sent

SUBSCRIBER = "sample-receiver"
PATH = "/events"
CHALLENGE = "lectern.subscriber.challenge.v1"
ENDS = tuple(f"lectern.document.{end}.v1" for end in ("ready", "rejected", "failed"))
MAX_BODY_BYTES = 1_000_000
# How long a request waits for the secret, which the API returns after it has sent the challenge.
SECRET_BOUND_S = 10.0
REQUEST_BOUND_S = 10.0
EVENTS_BOUND_S = 30.0


@dataclass(frozen=True)
class Received:
    """An event whose signature is valid."""

    event_id: str
    event_type: str
    subject: str


class Receiver:
    """The server, which serves from `start` to `stop`."""

    def __init__(self) -> None:
        self.events: list[Received] = []
        self.refused = 0
        self.news = threading.Condition()
        self.webhook: Webhook | None = None
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}{PATH}"

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def set_secret(self, secret: str) -> None:
        """From now on, requests have to be signed with this secret, and no challenge is answered."""
        with self.news:
            self.webhook = Webhook(secret)
            self.news.notify_all()

    def wait_for(self, subjects: Collection[str], types: Collection[str], bound_s: float) -> set[str]:
        """Waits until each subject has an event of one of the types; returns the subjects without one."""

        def missing() -> set[str]:
            return set(subjects) - {event.subject for event in self.events if event.event_type in types}

        with self.news:
            self.news.wait_for(lambda: not missing(), bound_s)
            return missing()

    def answer(self, headers: dict[str, str], body: bytes) -> tuple[HTTPStatus, bytes]:
        """The answer to a request: of a challenge its text, and of events nothing."""
        events = parsed(body)
        with self.news:
            if self.webhook is None and (challenge := challenge_of(events)):
                return HTTPStatus.OK, json.dumps({"challenge": challenge}).encode()
            if not self.news.wait_for(lambda: self.webhook is not None, SECRET_BOUND_S):
                return HTTPStatus.SERVICE_UNAVAILABLE, b""
            self.news.notify_all()
            if not verifies(self.webhook, body, headers):
                self.refused += 1
                say(f"  {time.strftime('%H:%M:%S')}  a request whose SIGNATURE IS INVALID")
                return HTTPStatus.UNAUTHORIZED, b""
            for event in events:
                received = Received(*(str(event.get(name)) for name in ("id", "type", "subject")))
                self.events.append(received)
                name = received.event_type.removeprefix("lectern.").removesuffix(".v1")
                say(f"  {time.strftime('%H:%M:%S')}  event {name:<22}{received.subject}  signature valid")
        return HTTPStatus.NO_CONTENT, b""

    def handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = REQUEST_BOUND_S

            def do_POST(self) -> None:
                length = self.headers.get("Content-Length", "")
                is_fine = self.path == PATH and length.isdigit() and int(length) <= MAX_BODY_BYTES
                if is_fine:
                    status, content = receiver.answer(dict(self.headers), self.rfile.read(int(length)))
                else:
                    status, content = HTTPStatus.BAD_REQUEST, b""
                    self.close_connection = True
                self.send_response(status)
                if status != HTTPStatus.NO_CONTENT:
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                """The receiver prints events and no requests."""

        return Handler


def parsed(body: bytes) -> list[dict[str, Any]]:
    """The events in a body: one, or a batch; none if the body is something else."""
    try:
        content = json.loads(body)
    except ValueError:
        return []
    events = content if isinstance(content, list) else [content]
    return [event for event in events if isinstance(event, dict)]


def challenge_of(events: list[dict[str, Any]]) -> str | None:
    """The text to repeat, if this is a challenge."""
    for event in events:
        data = event.get("data")
        if event.get("type") == CHALLENGE and isinstance(data, dict):
            return data.get("challenge")
    return None


def verifies(webhook: Webhook | None, body: bytes, headers: dict[str, str]) -> bool:
    try:
        if webhook is not None:
            webhook.verify(body, headers)
    except (WebhookVerificationError, ValueError):
        return False
    return webhook is not None


def check(receiver: Receiver, sent: Sequence[Sent]) -> list[str]:
    """Waits for the events that tell how the documents have ended, and prints how many events arrived; returns one line
    for each thing that is wrong."""
    ended = [f"{document.submission}/{document.document_id}" for document in sent if document.took_s is not None]
    missing = receiver.wait_for(ended, ENDS, EVENTS_BOUND_S)
    verdict = f"{receiver.refused} had an invalid signature" if receiver.refused else "all signatures are valid"
    say(f"\n{len(receiver.events)} events arrived at the subscriber {SUBSCRIBER}; {verdict}.")
    wrong = [f"no event has told how {subject} ended" for subject in sorted(missing)]
    return [*wrong, f"{receiver.refused} requests had an invalid signature"] if receiver.refused else wrong


@contextlib.contextmanager
def subscribed(api: Client) -> Iterator[Receiver]:
    """A receiver that is a subscriber of the running stack meanwhile. `api` is signed in as the operator."""
    receiver = Receiver()
    receiver.start()
    try:
        # A run that was interrupted has left its subscriber.
        remove(api)
        added = api.send("POST", "/subscribers", {"subscriberId": SUBSCRIBER, "url": receiver.url})
        if not added or "secret" not in added:
            raise Problem(f"The API added no subscriber: {added}", "Look at the log of the function serve-api.")
        try:
            receiver.set_secret(added["secret"])
            yield receiver
        finally:
            remove(api)
    finally:
        receiver.stop()


def remove(api: Client) -> None:
    """Removes the subscriber, if it exists."""
    request = urllib.request.Request(
        f"{api.base}/subscribers/{SUBSCRIBER}", method="DELETE", headers={"Authorization": f"Bearer {api.token}"}
    )
    try:
        with api.opener.open(request, timeout=REQUEST_BOUND_S):
            pass
    except urllib.error.HTTPError as error:
        if error.code != HTTPStatus.NOT_FOUND:
            raise Problem(f"The API does not remove {SUBSCRIBER}: {error}", "Remove it with the command.") from error
