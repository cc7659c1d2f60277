"""Starts MiniStack so that two checkouts do not disturb each other, and makes clients for it."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from . import processes
from .console import Problem, say
from .place import ROOT, Place

REGION = "us-east-1"
ACCOUNT_ID = "000000000000"
# With AUTH on, MiniStack treats the access key in its own environment as the account's root user. Every other key
# needs a role or a user, as on AWS.
ACCESS_KEY_ID = "test"
SECRET_ACCESS_KEY = "test"
READY_BOUND_S = 60.0
PROCESS = "ministack"


def clean_environment() -> dict[str, str]:
    """The caller's environment without the variables that would select another account, endpoint or secret."""
    foreign = ("AWS_", "THIRD_PARTY_", "MINISTACK_", "LOCALSTACK_", "SAM_CLI_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    env["NO_PROXY"] = env["no_proxy"] = "127.0.0.1,localhost"
    return env


def client_environment(endpoint: str) -> dict[str, str]:
    """The environment in which a command-line tool uses the local cloud in place of AWS."""
    return clean_environment() | {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def start(place: Place) -> str:
    """Starts MiniStack with IAM enforced and returns its endpoint."""
    with processes.held_port() as holder:
        port = holder.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    shutil.rmtree(place.cloud_state, ignore_errors=True)
    temporary = place.cloud_state / "tmp"
    temporary.mkdir(parents=True)
    # MiniStack runs the functions as child processes, which inherit this environment.
    env = client_environment(endpoint) | {
        "AUTH": "true",
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_ACCOUNT_ID": ACCOUNT_ID,
        "MINISTACK_REGION": REGION,
        "STATE_DIR": str(place.cloud_state / "state"),
        "S3_DATA_DIR": str(place.cloud_state / "s3"),
        "TMPDIR": str(temporary),
        "IOT_MTLS_ENABLED": "0",  # would listen on a fixed port of every interface
        "SFTP_ENABLED": "0",
        "LOG_LEVEL": os.environ.get("LOG_LEVEL", "INFO"),
    }
    say("Starting the local cloud …")
    began = time.monotonic()
    process = processes.start(place, PROCESS, [sys.executable, "-m", "tools.local.ministack"], env, ROOT)
    log = place.logs / f"{PROCESS}.log"
    processes.wait_until("The local cloud", lambda: is_healthy(endpoint), process, log, READY_BOUND_S)
    say(f"Local cloud at {endpoint}, ready in {time.monotonic() - began:.1f} s")
    return endpoint


def is_healthy(endpoint: str) -> bool:
    """Whether a MiniStack that enforces IAM answers at the endpoint."""
    try:
        with urllib.request.urlopen(f"{endpoint}/_ministack/health", timeout=2) as answer:
            return json.load(answer).get("auth") == "enabled"
    except (OSError, ValueError, urllib.error.URLError):
        return False


def client(endpoint: str, service: str) -> Any:
    """A boto3 client for the local cloud that ignores the caller's own AWS settings."""
    session = boto3.session.Session(
        aws_access_key_id=ACCESS_KEY_ID, aws_secret_access_key=SECRET_ACCESS_KEY, region_name=REGION
    )
    config = Config(
        connect_timeout=5,
        read_timeout=30,
        retries={"total_max_attempts": 2},
        proxies={},
        s3={"addressing_style": "path"},
    )
    return session.client(service, endpoint_url=endpoint, config=config)


def save_function_logs(endpoint: str, logs: Path) -> list[Path]:
    """Copies each function's log from the local CloudWatch Logs into a file of its own."""
    target = logs / "functions"
    target.mkdir(parents=True, exist_ok=True)
    cloudwatch = client(endpoint, "logs")
    written = []
    for page in cloudwatch.get_paginator("describe_log_groups").paginate():
        for group in page["logGroups"]:
            events = []
            for found in cloudwatch.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"]):
                events += [(event["timestamp"], event["message"].rstrip()) for event in found["events"]]
            if events:
                path = target / (group["logGroupName"].strip("/").rpartition("/")[2] + ".log")
                events.sort(key=lambda event: event[0])
                path.write_text("".join(f"{text}\n" for _, text in events), encoding="utf-8")
                written.append(path)
    return written


def need(place: Place, stack: dict[str, Any]) -> None:
    """Fails if the stack that `up` described no longer answers."""
    if not is_healthy(stack["endpoint"]):
        raise Problem(f"The stack of {place.directory} does not answer.", "Start it with `make run`.")
