"""Sends generated requests to the API of a running stack as each role, and checks the answers by its description."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import receiver
from .console import Problem, say
from .documents import BOUND_S, Client
from .place import ROOT

DESCRIPTION = ROOT / "docs" / "api.openapi.json"
ROLES = ("teacher", "evaluator", "operator")
SEED = 1
EXAMPLES = 20
ROLE_BOUND_S = 300
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)


def run(stack: Mapping[str, Any]) -> None:
    """Tries every operation as every role.

    The ids of paths are those of a submission that the teacher has handed in. Deletions would remove it, so they are
    tried with ids that do not exist.
    """
    with receiver.subscribed(Client(stack, "operator")):
        ids = hand_in(Client(stack, "teacher")) | {"subscriberId": receiver.SUBSCRIBER}
        fuzz(stack, ids)
    say(f"No server error and no undocumented answer; seed {SEED}.")


def fuzz(stack: Mapping[str, Any], ids: Mapping[str, str]) -> None:
    nothing = dict.fromkeys(ids, "0" * 32)
    for role in ROLES:
        token = Client(stack, role).token
        for what, parameters, selection in (
            ("reads and changes", ids, ["--exclude-method", "DELETE"]),
            ("deletions", nothing, ["--include-method", "DELETE"]),
        ):
            say(f"Trying {what} as {role} …")
            schemathesis(stack, token, parameters, selection)


def hand_in(api: Client) -> dict[str, str]:
    """Creates a submission with a document and a pending file; returns the ids that paths contain."""
    names = ({"name": "plan.txt", "sizeBytes": 5}, {"name": "later.txt", "sizeBytes": 5})
    created = api.send("POST", "/submissions", {"title": "Tried by schemathesis", "files": names})
    submission = created["submission"]["submissionId"]
    path = f"/submissions/{submission}"
    sent, later = created["pending"]
    form = api.send("POST", f"{path}/files/{sent['fileId']}/upload", {})
    send_form(api, form, b"Tried")
    bound = time.monotonic() + BOUND_S
    while time.monotonic() < bound:
        documents = (api.get(path) or {}).get("documents", [])
        if documents and documents[0]["state"] == "Ready":
            return {"submissionId": submission, "documentId": documents[0]["documentId"], "fileId": later["fileId"]}
        time.sleep(0.2)
    raise Problem(f"A document did not become Ready within {BOUND_S:.0f} s.", "Run `make run` and read its output.")


def send_form(api: Client, form: Mapping[str, Any], content: bytes) -> None:
    """Uploads a file with a form of the API."""
    boundary = uuid.uuid4().hex
    head = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in form["fields"].items()
    )
    head += f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="file"\r\n\r\n'
    body = head.encode() + content + f"\r\n--{boundary}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    request = urllib.request.Request(form["url"], data=body, headers=headers)
    with api.opener.open(request, timeout=10):
        pass


def schemathesis(stack: Mapping[str, Any], token: str, parameters: Mapping[str, str], selection: list[str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory) / "schemathesis.toml"
        lines = [f'"path.{name}" = "{value}"' for name, value in parameters.items()]
        config.write_text("\n".join(["[parameters]", *lines]), encoding="utf-8")
        command = [str(Path(sys.executable).with_name("st")), "--config-file", str(config), "run", str(DESCRIPTION)]
        command += ["--url", stack["apiUrlLocal"], "--header", f"Authorization: Bearer {token}"]
        command += ["--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing", "--continue-on-failure"]
        command += ["--max-examples", str(EXAMPLES), "--seed", str(SEED), "--warnings", "off", "--no-color"]
        try:
            ended = subprocess.run([*command, *selection], cwd=directory, timeout=ROLE_BOUND_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise Problem(f"schemathesis took longer than {ROLE_BOUND_S} s.", "Run it on an idle machine.") from error
    if ended.returncode != 0:
        raise Problem("The API does not answer as docs/api.openapi.json says.", "Mend what schemathesis printed above.")
