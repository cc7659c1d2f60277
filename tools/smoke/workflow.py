"""Documents through all functions, a failed one, a redriven one, and the URLs of files."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError
from local.documents import ENDS
from local.place import ROOT

from .check import Check, Failed, NotChecked, Run
from .s3 import NAME, fetch

TEXT = "The pupils read a poem. They find the rhymes.\n"
TRUNCATED = ROOT / "samples" / "bad" / "truncated.mp4"
REDRIVE_BOUND_S = 60.0


def submission(run: Run, what: str) -> str:
    return f"{run.id}-{what}{'-fault' if run.fault else ''}"


def upload_early(run: Run) -> None:
    """Starts the documents of a normal run, which then pass while other checks run."""
    run.documents.upload(submission(run, "ready"), NAME, TEXT.encode())
    run.documents.upload(submission(run, "failed"), TRUNCATED.name, TRUNCATED.read_bytes(), "video/mp4")


def document_is_ready(run: Run) -> str:
    """Follows a text with a difficult name to its record, which the API shows to an evaluator only."""
    name = submission(run, "ready")
    if run.fault:
        run.documents.upload(name, NAME, b"")
    document = ended(run, name, NAME)
    if document["state"] != "Ready":
        raise Failed(f"a text is {outcome(document)} after {took(document)}")
    record = run.documents.part(name, document["documentId"], "record")
    if "find the rhymes" not in json.dumps(record):
        raise Failed("the record does not contain the text")
    url = f"{run.documents.base}/submissions/{urllib.parse.quote(name)}"
    if fetch(run, url) != 401:
        raise Failed(f"a request without a token was answered {fetch(run, url)}")
    return f"Ready after {took(document)}, and its record has the text; a request without a token was answered 401"


def failure_is_told(run: Run) -> str:
    """Follows a truncated video to its failure."""
    name = submission(run, "failed")
    if run.fault:
        run.documents.upload(name, TRUNCATED.name, b"", "video/mp4")
    document = ended(run, name, TRUNCATED.name)
    if document["state"] == "Ready":
        raise NotChecked("this third party accepts a truncated video, so no document failed")
    execution = run.until("the end of its execution", lambda: ended_execution(run, document["documentId"]))
    if document["state"] != "Failed" or not document["reason"]["message"] or execution["status"] != "SUCCEEDED":
        raise Failed(f"a truncated video is {outcome(document)}, and its execution {execution['status']}")
    return f"{outcome(document)} after {took(document)}, with a message for the teacher, and without a failed execution"


def redrive_continues(run: Run) -> str:
    """Stops a document's execution and redrives the document with the command `lectern`."""
    name, file = submission(run, "redriven"), "redriven.txt"
    run.documents.upload(name, file, TEXT.encode())
    document = run.until("the registration of a document", lambda: run.documents.shown(name).get(file))
    document_id = document["documentId"]
    stopped = run.until("the start of an execution", lambda: stop(run, document_id))
    execution = run.until("the end of a stopped execution", lambda: ended_execution(run, document_id))
    if stopped == "ended" or execution["status"] != "ABORTED":
        raise NotChecked("the document was done before its execution could be stopped")
    if not run.fault:
        redrive(run, f"{name}/{document_id}")
    bound = min(run.bound_s, 10.0) if run.fault else None
    document = ended(run, name, file, bound)
    again = describe(run, f"{document_id}-redrive-1")
    before, after = json.loads(execution["input"]), json.loads(again["input"])
    kept = all(before[field] == after[field] for field in ("submissionId", "documentId", "schemaVersion"))
    if not kept or (before["redrives"], after["redrives"]) != (0, 1):
        raise Failed("the second execution has another input than the first")
    if document["state"] != "Ready":
        raise Failed(f"the redriven document is {outcome(document)}")
    how = after.get("resume", "the transfer")
    return f"the document of a stopped execution is Ready; its second execution began with “{how}”"


def files_have_short_urls(run: Run) -> str:
    """Reads the files of the ready document by the URLs that serve-api signs."""
    name = f"{run.id}-ready"
    document = run.documents.shown(name).get(NAME)
    if document is None or document["state"] != "Ready":
        raise NotChecked("there is no ready document")
    urls = list(links(run.documents.part(name, document["documentId"], "files")))
    if not urls:
        raise Failed("the API shows no URL of a file")
    lives = set()
    for url in urls:
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(url).query)
        if run.fault:
            url = url.replace("X-Amz-Signature=", "X-Amz-Signature=0")
        answered = fetch(run, url)
        if answered != 200:
            raise Failed(f"a URL of a file was answered {answered}")
        if "X-Amz-Security-Token" not in query:
            raise Failed("a URL is not signed by the temporary credentials of the function's role")
        lives.add(int(query["X-Amz-Expires"][0]))
    if lives != {300}:
        raise Failed(f"the URLs live for {sorted(lives)} s and not for 300 s")
    return f"{len(urls)} URLs work for 300 s, signed by the function's temporary credentials, with which they end too"


def links(value: Any) -> list[str]:
    """Every URL in an answer of the API."""
    if isinstance(value, Mapping):
        return [url for part in value.values() for url in links(part)]
    if isinstance(value, list):
        return [url for part in value for url in links(part)]
    return [value] if isinstance(value, str) and value.startswith("http") else []


def ended(run: Run, name: str, file: str, bound_s: float | None = None) -> Mapping[str, Any]:
    """The document after it has reached its final state."""

    def look() -> Mapping[str, Any] | None:
        document = run.documents.shown(name).get(file)
        return document if document and document["state"] in ENDS else None

    try:
        return run.until("the end of a document", look, bound_s)
    except Failed as error:
        document = run.documents.shown(name).get(file)
        where = f"it is {document['state']}" if document else "it is not even registered"
        raise Failed(f"{error}; {where}") from error


def outcome(document: Mapping[str, Any]) -> str:
    reason = (document.get("reason") or {}).get("code")
    return f"{document['state']}({reason})" if reason else str(document["state"])


def took(document: Mapping[str, Any]) -> str:
    times = [datetime.fromisoformat(text.replace("Z", "+00:00")) for text in document["times"].values()]
    return f"{(max(times) - min(times)).total_seconds():.1f} s"


def describe(run: Run, name: str) -> Mapping[str, Any]:
    sfn = run.client("stepfunctions")
    try:
        return sfn.describe_execution(executionArn=run.stage.execution_arn(name))
    except ClientError as error:
        if error.response["Error"]["Code"] != "ExecutionDoesNotExist":
            raise
        return {"status": "not there", "input": "{}"}


def stop(run: Run, document_id: str) -> str:
    """Stops an execution as soon as it runs; empty if it has not started yet."""
    status = describe(run, document_id)["status"]
    if status == "RUNNING":
        run.client("stepfunctions").stop_execution(
            executionArn=run.stage.execution_arn(document_id), error="Smoke", cause="make smoke redrives this document."
        )
        return "stopped"
    return "" if status == "not there" else "ended"


def ended_execution(run: Run, name: str) -> Mapping[str, Any] | None:
    execution = describe(run, name)
    return None if execution["status"] == "RUNNING" else execution


def redrive(run: Run, document: str) -> None:
    where = ["--stack", run.stage.name]
    if run.stage.stack_file is not None:
        where = ["--stack-file", str(run.stage.stack_file)]
    command = [str(run.lectern), *where, "redrive", document, "--json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=REDRIVE_BOUND_S, check=False)
        documents = json.loads(done.stdout)["documents"]
    except (OSError, ValueError, KeyError, subprocess.TimeoutExpired) as error:
        raise Failed(f"`lectern redrive` could not be run: {error}") from error
    if [document["done"] for document in documents] != ["started"]:
        raise Failed(f"`lectern redrive` answered {documents[0]['done'] if documents else 'nothing'}")


CHECKS = (
    Check(
        "document",
        "An upload with a difficult name passes all functions, and the API shows its record to evaluators only.",
        "The stage does not do its work. Look at the document with `lectern explain`, and at the three checks below.",
        document_is_ready,
        ("uploads an empty file",),
    ),
    Check(
        "failure",
        "A document that the third party gives up is Failed with a message, and sets no alarm off (A09).",
        "Failed documents would be shown as in progress, or bad files would call an engineer. Look at the logs of"
        " FailDocumentFunction.",
        failure_is_told,
        ("uploads an empty file",),
    ),
    Check(
        "redrive",
        "`lectern redrive` continues a document whose execution has ended, by a new execution (decision 0021).",
        "A document that broke off could not be mended. Look at the document with `lectern explain`, and compare the"
        " operator's permissions with docs/deploying.md.",
        redrive_continues,
        ("does not redrive",),
    ),
    Check(
        "urls",
        "The API's URLs of files work for five minutes, signed by the temporary credentials of the role (A06).",
        "Evaluators could not open files, or for longer than promised.",
        files_have_short_urls,
        ("changes the signature",),
    ),
)
