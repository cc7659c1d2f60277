"""Measures the processor time of the functions from their start to their first poll of the Runtime API.

A Python process that creates four clients of boto3 is measured in the same way between them, because processor time
depends on the machine and the ratio of two processes does not.
"""

from __future__ import annotations

import os
import signal
import socket
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence

from .build import cargo_metadata_target, target_triple
from .console import Problem, say
from .place import ROOT

ROUNDS = 15
POLL_BOUND_S = 30.0
LEAST_RATIO = 60
MOST_BYTES = 8_000_000
BOTO3 = """
import os, urllib.request
import boto3
for service in ("dynamodb", "s3", "sqs", "stepfunctions"):
    boto3.client(service)
urllib.request.urlopen(f"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}/2018-06-01/runtime/invocation/next")
"""
# Every setting that template.yaml gives to some function.
SETTINGS = {
    "ADMIT_DOCUMENT_QUEUE_URL": "https://sqs.eu-central-1.amazonaws.com/000000000000/admit-document.fifo",
    "API_KEY_SECRET_ARN": "arn:aws:secretsmanager:eu-central-1:000000000000:secret:api-key",
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
    "AWS_LAMBDA_FUNCTION_NAME": "function",
    "AWS_LAMBDA_FUNCTION_VERSION": "1",
    "AWS_REGION": "eu-central-1",
    "AWS_SECRET_ACCESS_KEY": "none",
    "CALLBACK_BASE_URL": "https://callbacks.example.org",
    "CALLBACK_TIMEOUT_SECONDS": "14400",
    "DEAD_LETTER_QUEUE_URL": "https://sqs.eu-central-1.amazonaws.com/000000000000/dead-letters",
    "DEBUG_SUBMISSION": "-",
    "LEASE_MARGIN_SECONDS": "7200",
    "LOG_FILTER": "info",
    "MAX_UPLOAD_BYTES": "21474836480",
    "METRICS_NAMESPACE": "lectern",
    "PUSH_MAX_BYTES": "8589934592",
    "QUEUE_URL": "https://sqs.eu-central-1.amazonaws.com/000000000000/queue",
    "REQUEST_TIMEOUT_SECONDS": "870",
    "RETURNED_BUCKET": "returned",
    "RETURNED_FILE_HOSTS": "",
    "SIGNING_SECRET_ARN": "arn:aws:secretsmanager:eu-central-1:000000000000:secret:signing",
    "STATE_MACHINE_ARN": "arn:aws:states:eu-central-1:000000000000:stateMachine:document",
    "TABLE_NAME": "documents",
    "THIRD_PARTY_BURST": "25",
    "THIRD_PARTY_MAX_IN_FLIGHT": "50",
    "THIRD_PARTY_NAME": "third-party",
    "THIRD_PARTY_NETWORK": "public",
    "THIRD_PARTY_REQUESTS_PER_SECOND": "5",
    "THIRD_PARTY_URL": "https://third-party.example.org",
}


def measure() -> None:
    """Prints each function's size and processor time; fails if a function exceeds what docs/performance.md promises."""
    release = cargo_metadata_target() / target_triple() / "release"
    names = sorted(path.name for path in (ROOT / "functions").iterdir())
    commands: dict[str, Sequence[str]] = {name: [str(release / name)] for name in names}
    commands["boto3"] = [sys.executable, "-c", BOTO3]
    say(f"Starting {len(names)} functions and boto3 {ROUNDS} times …")
    with socket.create_server(("127.0.0.1", 0)) as runtime_api:
        runtime_api.settimeout(POLL_BOUND_S)
        rounds = [{name: started(name, commands[name], runtime_api) for name in commands} for _ in range(ROUNDS + 1)]
    # The first round reads the files from the disk.
    times = {name: statistics.median(times[name] for times in rounds[1:]) for name in commands}
    say(f"{'to the first poll':24} {'CPU':>8} {'boto3 takes':>12} {'size':>8}")
    wrong = []
    for name in names:
        ratio, size = times["boto3"] / times[name], (release / name).stat().st_size
        say(f"{name:24} {1000 * times[name]:5.1f} ms {ratio:6.0f} times {size / 1e6:5.1f} MB")
        if ratio < LEAST_RATIO:
            wrong.append(f"{name} takes more than 1/{LEAST_RATIO} of the processor time of boto3")
        if size > MOST_BYTES:
            wrong.append(f"{name} has more than {MOST_BYTES / 1e6:.0f} MB")
    say(f"{'boto3':24} {1000 * times['boto3']:5.1f} ms")
    if wrong:
        raise Problem("; ".join(wrong) + ".", "Measure again on an idle machine, then look for what the change added.")


def started(name: str, command: Sequence[str], runtime_api: socket.socket) -> float:
    """Starts a process, waits for its first poll, ends it, and returns the seconds of processor time that it used."""
    host, port = runtime_api.getsockname()
    process = subprocess.Popen(command, env=environment(f"{host}:{port}"), stdout=subprocess.DEVNULL)
    try:
        connection, _ = runtime_api.accept()
        # The connection stays open until the process has ended, so that the process goes on waiting for the answer.
        with connection:
            connection.settimeout(POLL_BOUND_S)
            request = connection.recv(4096)
            os.kill(process.pid, signal.SIGKILL)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
    except TimeoutError as error:
        process.kill()
        raise Problem(f"{name} did not poll the Runtime API.", "Its error output stands above.") from error
    if b"/runtime/invocation/next" not in request:
        raise Problem(f"{name} reported an error instead of polling.", "Add the setting that it lacks to SETTINGS.")
    return usage.ru_utime + usage.ru_stime


def environment(runtime_api: str) -> Mapping[str, str]:
    """The environment that Lambda gives to a function, with every setting of template.yaml."""
    home = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return home | SETTINGS | {"AWS_LAMBDA_RUNTIME_API": runtime_api, "AWS_DEFAULT_REGION": SETTINGS["AWS_REGION"]}
