"""Plays the scenes of docs/operating.md on a running stack and replaces the guide's outputs with the new ones.

The stack must be new and have `CallbackTimeoutSeconds=30`. The scenes are functions in the guide's order. Each scene
runs the commands that the guide shows in it, in the same order.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from . import cloud, documents
from .build import binary
from .console import Problem, say
from .documents import Evaluator
from .place import ROOT, Place

GUIDE = ROOT / "docs" / "operating.md"
BLOCK = re.compile(r"^```console\n.*?^```$", re.DOTALL | re.MULTILINE)
IDENTIFIER = re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})?\b")
# A line of a timeline: `2026-11-20 21:25:48.581Z  …`.
TIMELINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
BOUND_S = 300.0
POLL_S = 0.5
# A little longer than a function caches a secret.
SECRET_LIFETIME_S = 125.0


class Day:
    """One run of all scenes, and the outputs that it collects for the guide."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.stack = place.stack()
        cloud.need(place, self.stack)
        self.api = Evaluator(self.stack)
        self.blocks: list[str] = []
        self.shown: set[str] = set()

    def client(self, service: str) -> Any:
        return cloud.client(self.stack["endpoint"], service)

    def lectern(self, *arguments: str) -> str:
        """Runs the command `lectern`; returns its standard output and standard error together."""
        command = [str(binary("lectern")), "--stack-file", str(self.place.stack_file), *arguments]
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False).stdout

    def show(self, *arguments: str) -> str:
        """Runs the command for the guide, and leaves out timeline lines that the guide has already shown."""
        printed = self.lectern(*arguments)
        lines: list[str] = []
        for line in printed.rstrip().splitlines():
            if TIMELINE.match(line):
                if line in self.shown:
                    line = "[…]"
                self.shown.add(line)
            if line != "[…]" or lines[-1] != line:
                lines.append(line.rstrip())
        say(f"$ lectern {' '.join(arguments)}")
        self.blocks.append("\n".join(["```console", f"$ lectern --local {' '.join(arguments)}", *lines, "```"]))
        return printed

    def upload(self, submission: str, name: str = "lesson.txt") -> None:
        body = (
            f"Lesson plan {name} of {submission}: fractions, with an example of an apple that is cut into quarters.\n"
        )
        key = f"submissions/{submission}/{name}"
        self.client("s3").put_object(
            Bucket=self.stack["uploadsBucket"], Key=key, Body=body.encode(), ContentType="text/plain"
        )

    def documents(self, submission: str) -> list[Mapping[str, Any]]:
        return (self.api.get(f"/submissions/{submission}") or {}).get("documents", [])

    def document(self, submission: str, state: str) -> str:
        """Waits until the submission's only document has this state; returns the document's id."""
        self.wait(f"{submission} is {state}", lambda: self.all_are(submission, state, 1))
        return str(self.documents(submission)[0]["documentId"])

    def all_are(self, submission: str, state: str, count: int) -> bool:
        states = [document["state"] for document in self.documents(submission)]
        return states == [state] * count

    def wait(self, what: str, is_so: Callable[[], bool]) -> None:
        bound = time.monotonic() + BOUND_S
        while not is_so():
            if time.monotonic() > bound:
                raise Problem(f"Not true after {BOUND_S:.0f} s: {what}.", f"The logs are in {self.place.logs}.")
            time.sleep(POLL_S)

    @contextlib.contextmanager
    def fault(self, fault: Mapping[str, Any]) -> Iterator[None]:
        """Applies a fault of the reference third party to every document for the duration of the context."""
        number = documents.administer(self.stack, "POST", "faults", {"match": {"any": True}, "fault": fault})["id"]
        yield
        documents.administer(self.stack, "DELETE", f"faults/{number}")


def play(place: Place) -> None:
    """Plays all scenes, then writes the guide."""
    day = Day(place)
    for scene in SCENES:
        say(f"\n== {(scene.__doc__ or '').rstrip('.')}")
        scene(day)
    write(GUIDE, day.blocks)
    say(f"\nWrote {len(day.blocks)} outputs into {GUIDE.relative_to(ROOT)}.")


def third_party_is_gone(day: Day) -> None:
    """The third party goes down, and comes back by itself."""
    submission = "autumn-term-1"
    with day.fault({"kind": "unreachable"}):
        for number in range(1, 9):
            day.upload(submission, f"{number}.txt")
        day.wait("six documents wait for a permit", lambda: "6 documents wait for a permit" in day.lectern("status"))
        day.show("status")
        day.show("explain", submission)
        waiting = next(
            str(document["documentId"])
            for document in day.documents(submission)
            if "in AwaitPermit" in day.lectern("explain", document["documentId"])
        )
        day.show("explain", waiting)
    day.wait("all documents are Ready", lambda: day.all_are(submission, "Ready", 8))
    day.wait("the execution has ended", lambda: "The execution " in day.lectern("explain", waiting))
    day.show("explain", submission)
    day.show("explain", waiting)
    day.show("status")


def credentials_are_refused(day: Day) -> None:
    """The credentials are refused."""
    submission = "autumn-term-2"
    secrets = day.client("secretsmanager")
    name = next(
        secret["Name"]
        for page in secrets.get_paginator("list_secrets").paginate()
        for secret in page["SecretList"]
        if "ThirdPartyApiKey" in secret["Name"]
    )
    right = secrets.get_secret_value(SecretId=name)["SecretString"]
    secrets.put_secret_value(SecretId=name, SecretString="an old key")
    time.sleep(SECRET_LIFETIME_S)
    day.upload(submission)
    document = day.document(submission, "Transferring")
    day.wait("the key is refused twice", lambda: day.lectern("explain", document).count("Unauthorized (") == 2)
    day.show("explain", document)
    day.show("status")
    secrets.put_secret_value(SecretId=name, SecretString=right)
    day.document(submission, "Ready")
    day.wait("the execution has ended", lambda: "The execution " in day.lectern("explain", document))
    day.show("explain", document)


def document_fails_and_is_redriven(day: Day) -> None:
    """A document failed for good, and is redriven."""
    submission, reason = "autumn-term-3", "unsupportedLanguage"
    message = "The language model for this lesson is not installed."
    with day.fault({"kind": "jobFails", "code": reason, "message": message}):
        day.upload(submission)
        document = day.document(submission, "Failed")
        day.wait("the execution has ended", lambda: "The execution " in day.lectern("explain", document))
    day.show("explain", document)
    day.show("redrive", "--failed", "--reason", reason)
    day.show("redrive", document)
    day.show("redrive", document)
    day.document(submission, "Ready")
    day.wait("the redriven execution has ended", lambda: "The execution succeeded" in day.lectern("explain", document))
    day.show("explain", document)


def poison_is_sorted_out(day: Day) -> None:
    """A poisonous message in a dead-letter queue."""
    submission = "autumn-term-4"
    day.upload(submission)
    document = day.document(submission, "Ready")
    sqs, dead = day.client("sqs"), day.stack["deadLetterQueueUrls"]
    letter = {
        "schemaVersion": 2,
        "submissionId": submission,
        "documentId": document,
        "attempt": 1000001,
        "round": 1,
        "permitExpiresAt": "2026-11-20T20:00:00.000Z",
        "taskToken": "?",
    }
    sqs.send_message(QueueUrl=dead["transferDocument"], MessageBody=json.dumps(letter))
    sqs.send_message(
        QueueUrl=day.stack["queueUrls"]["admitDocument"],
        MessageGroupId="admission",
        MessageDeduplicationId="poison",
        MessageBody="this is not an order but plain text",
    )
    day.wait("both messages are in dead-letter queues", lambda: day.lectern("dlq", "list").count("readable  ") == 2)
    day.show("dlq", "list")
    day.show("dlq", "list", "transfer-document", "--bodies")
    day.show("dlq", "redrive", "--all")
    day.show("dlq", "redrive", "--all", "--yes")
    day.show("dlq", "list")


def event_was_lost(day: Day) -> None:
    """An event of S3 was lost."""
    submission, s3, bucket = "autumn-term-5", day.client("s3"), day.stack["uploadsBucket"]
    announced = s3.get_bucket_notification_configuration(Bucket=bucket)
    announced.pop("ResponseMetadata", None)
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
    day.upload(submission)
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=announced)
    day.show("explain", submission)
    compare = ("reconcile", "--submission", submission, "--min-age", "0")
    day.show(*compare)
    day.show(*compare, "--yes")
    day.document(submission, "Ready")
    day.show(*compare)


def callback_never_came(day: Day) -> None:
    """A callback never came."""
    submission = "autumn-term-6"
    with day.fault({"kind": "noCallback", "status": "succeeded"}):
        day.upload(submission)
        document = day.document(submission, "Ready")
        day.wait("the execution has ended", lambda: "The execution " in day.lectern("explain", document))
    day.show("explain", document)


SCENES: list[Callable[[Day], None]] = [
    third_party_is_gone,
    credentials_are_refused,
    document_fails_and_is_redriven,
    poison_is_sorted_out,
    event_was_lost,
    callback_never_came,
]


def write(guide: Path, blocks: list[str]) -> None:
    """Replaces each output in the guide. The guide must show the same command lines, apart from identifiers."""
    text = guide.read_text(encoding="utf-8")
    there = [command_line(block) for block in BLOCK.findall(text)]
    played = [command_line(block) for block in blocks]
    for shown, ran in itertools.zip_longest(there, played):
        if shown != ran:
            raise Problem(
                f"The guide shows the command {shown}, but the scene ran {ran}.",
                f"Make {guide.relative_to(ROOT)} and {Path(__file__).relative_to(ROOT)} agree.",
            )
    outputs = iter(blocks)
    guide.write_text(BLOCK.sub(lambda _: next(outputs), text), encoding="utf-8")


def command_line(block: str) -> str:
    return IDENTIFIER.sub("…", block.splitlines()[1])
