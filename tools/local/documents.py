"""Sends files through a running stack and shows their states, which it reads as an evaluator from the API."""

from __future__ import annotations

import json
import mimetypes
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import cloud
from .console import BEAT_S, Problem, say, shorten

BOUND_S = 120.0
HINT_AFTER_S = 20.0
POLL_S = 0.25
ENDS = ("Ready", "Rejected", "Failed")


@dataclass
class Sent:
    """An uploaded file and the state that its document has reached; empty before the document is registered."""

    path: Path
    submission: str
    state: str = ""
    reason: str | None = None
    message: str = ""
    document_id: str | None = None
    record: dict[str, Any] | None = None
    started: float = field(default_factory=time.monotonic)
    took_s: float | None = None

    @property
    def outcome(self) -> str:
        if not self.state:
            return "not registered"
        return f"{self.state}({self.reason})" if self.reason else self.state


class Client:
    """A client of the API, signed in as one of the people that `up` created: teacher, evaluator, …"""

    def __init__(self, stack: Mapping[str, Any], person: str) -> None:
        self.base = f"{stack['apiUrlLocal']}/v1"
        user = stack["people"][person]
        answer = cloud.client(stack["endpoint"], "cognito-idp").admin_initiate_auth(
            AuthFlow="ADMIN_USER_PASSWORD_AUTH",
            UserPoolId=stack["userPoolId"],
            ClientId=stack["userPoolClientId"],
            AuthParameters={"USERNAME": user["username"], "PASSWORD": user["password"]},
        )
        self.token = answer["AuthenticationResult"]["AccessToken"]
        # The API is on the loopback interface, so the proxies of the caller's environment do not apply.
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def get(self, path: str) -> dict[str, Any] | None:
        """The answer, or `None` for a resource that does not exist, or does not exist yet."""
        return self.send("GET", path)

    def send(self, method: str, path: str, body: Any = None) -> Any:
        """Sends a request; returns the answer, or `None` for a resource that does not exist."""
        request = urllib.request.Request(
            self.base + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        try:
            with self.opener.open(request, timeout=10) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            detail = error.read(400).decode("utf-8", "replace")
            what = f"The API answered {error.code} to {method} {path}: {detail}"
            raise Problem(what, "Look at the local cloud's log; `make status` prints its path.") from error
        except OSError as error:
            raise Problem(f"The API does not answer: {error}", "Start the stack with `make run`.") from error


class Evaluator(Client):
    """A client of the API, signed in as the evaluator."""

    def __init__(self, stack: Mapping[str, Any]) -> None:
        super().__init__(stack, "evaluator")


def administer(stack: Mapping[str, Any], method: str, path: str, body: Any = None) -> Any:
    """Sends a request to the reference third party's interface for tests, such as a fault; returns the answer."""
    request = urllib.request.Request(
        f"{stack['thirdPartyUrl']}/admin/{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {stack['thirdPartyAdminKey']}", "Content-Type": "application/json"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=10) as answer:
        return json.loads(answer.read() or b"null")


def send(stack: Mapping[str, Any], files: Sequence[tuple[Path, str]]) -> list[Sent]:
    """Uploads each file into the submission that it is paired with."""
    s3 = cloud.client(stack["endpoint"], "s3")
    sent = []
    for path, submission in files:
        with path.open("rb") as body:
            s3.put_object(
                Bucket=stack["uploadsBucket"],
                Key=f"submissions/{submission}/{path.name}",
                Body=body,
                ContentType=mimetypes.guess_type(path.name)[0] or "application/octet-stream",
            )
        sent.append(Sent(path, submission))
    return sent


def follow(api: Evaluator, sent: Sequence[Sent], hint: str = "", bound_s: float = BOUND_S) -> None:
    """Prints every change of state until each document has reached a final state or `bound_s` has passed.

    Prints `hint` once if documents wait for their callbacks and nothing changes for a while.
    """
    began = time.monotonic()
    beat = news = began
    width = max(len(document.path.name) for document in sent)
    while any(document.took_s is None for document in sent) and time.monotonic() - began < bound_s:
        for submission in dict.fromkeys(document.submission for document in sent if document.took_s is None):
            answer = api.get(f"/submissions/{urllib.parse.quote(submission)}")
            for shown in (answer or {}).get("documents", []):
                for document in sent:
                    same = (document.submission, document.path.name) == (submission, shown["fileName"])
                    if same and advance(document, shown, time.monotonic() - began, width):
                        beat = news = time.monotonic()
        waits = any(document.state == "Processing" for document in sent)
        if hint and waits and time.monotonic() - news > HINT_AFTER_S:
            say(hint)
            hint = ""
        if time.monotonic() - beat > BEAT_S:
            beat = time.monotonic()
            waiting = sum(document.took_s is None for document in sent)
            say(f"  {beat - began:5.1f} s  documents in progress: {waiting} of {len(sent)}")
        time.sleep(POLL_S)


def advance(document: Sent, shown: Mapping[str, Any], elapsed: float, width: int) -> bool:
    """Updates the document from the API's answer and prints a change of state; returns whether there was one."""
    document.document_id = shown["documentId"]
    if shown["state"] == document.state:
        return False
    before = document.state
    document.state = shown["state"]
    reason = shown.get("reason") or {}
    document.reason, document.message = reason.get("code"), reason.get("message", "")
    if document.state in ENDS:
        document.took_s = time.monotonic() - document.started
    because = f": {document.message}" if document.message else ""
    change = f"{before} → {document.outcome}" if before else document.outcome
    say(f"  {elapsed:5.1f} s  {document.path.name:<{width}}  {change}{because}")
    return True


def show_records(api: Evaluator, sent: Sequence[Sent]) -> None:
    """Fetches and prints the record of every document that is `Ready`."""
    for document in sent:
        if document.state != "Ready" or document.document_id is None:
            continue
        path = f"/submissions/{urllib.parse.quote(document.submission)}/documents/{document.document_id}/record"
        document.record = api.get(path)
        say(f"\nRecord of {document.path.name}")
        if document.record is None:
            say("  (the API has no record)")
        else:
            say(json.dumps(shortened(document.record), indent=2, ensure_ascii=False))


def shortened(value: Any) -> Any:
    """The same JSON with long strings and long lists shortened for reading."""
    if isinstance(value, str):
        return shorten(value, 140)
    if isinstance(value, list):
        rest = len(value) - 3
        return [shortened(item) for item in value[:3]] + ([f"… and {rest} more"] if rest > 0 else [])
    if isinstance(value, dict):
        return {key: shortened(item) for key, item in value.items()}
    return value
