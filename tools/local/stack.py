"""Starts and deploys the local stack, updates a running one, and stops it."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import secrets
import shutil
import socket
import string
import time
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import build, cloud, processes
from .console import Problem, last_lines, say
from .place import ROOT, Place, read_json, write_private_json

THIRD_PARTY = "third-party"
THIRD_PARTY_DELAY_MS = 1000
THIRD_PARTY_READY_BOUND_S = 20.0
# The people of the local cloud: their key in stack.json, their name, and their group.
PEOPLE = (
    ("teacher", "teacher@lectern.example", "teachers"),
    ("secondTeacher", "second-teacher@lectern.example", "teachers"),
    ("evaluator", "evaluator@lectern.example", "evaluators"),
    ("operator", "operator@lectern.example", "operators"),
)


@dataclass(frozen=True)
class OtherThirdParty:
    """Another third party that implements the contract, with the secrets that it shares with the stack."""

    url: str
    signing_secret: str
    api_key: str
    callback_base_url: str

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> OtherThirdParty | None:
        """The service named by `THIRD_PARTY_URL`, if one is."""
        url = env.get("THIRD_PARTY_URL", "").rstrip("/")
        if not url:
            return None
        secret = env.get("THIRD_PARTY_SECRET", "")
        if not secret:
            raise Problem("THIRD_PARTY_URL is given without THIRD_PARTY_SECRET.", "Give the signing secret, whsec_…")
        if urllib.parse.urlsplit(url).hostname is None:
            raise Problem(f"THIRD_PARTY_URL is not a URL: {url}", "Give one like https://api.example.com")
        return cls(url, secret, env.get("THIRD_PARTY_API_KEY") or secret, env.get("CALLBACK_BASE_URL", "").rstrip("/"))

    @property
    def network(self) -> str:
        """`loopback` for a service on this machine, `public` for any other."""
        host = urllib.parse.urlsplit(self.url).hostname or ""
        try:
            return "loopback" if ipaddress.ip_address(host).is_loopback else "public"
        except ValueError:
            return "loopback" if host == "localhost" else "public"


def up(place: Place, parameters: Mapping[str, str], other: OtherThirdParty | None) -> dict[str, Any]:
    """Builds, starts the processes that do not run yet, deploys, and writes `stack.json`."""
    place.create()
    build.build(place)
    existing = running_stack(place)
    if existing is None:
        processes.stop(place)
        place.stack_file.unlink(missing_ok=True)
    try:
        endpoint = existing["endpoint"] if existing else cloud.start(place)
        stack = deploy_and_describe(place, endpoint, existing, parameters, other)
    except BaseException:
        # End what this call started; a stack that was running before keeps running.
        if existing is None:
            processes.stop(place)
        raise
    write_private_json(place.stack_file, stack)
    say(f"The stack is up. {place.stack_file} holds its addresses.")
    return stack


def running_stack(place: Place) -> dict[str, Any] | None:
    """The description of the stack, if its local cloud runs and answers."""
    stack = read_json(place.stack_file)
    well = stack is not None and cloud.PROCESS in processes.pids(place) and cloud.is_healthy(stack["endpoint"])
    return stack if well else None


def deploy_and_describe(
    place: Place,
    endpoint: str,
    existing: dict[str, Any] | None,
    parameters: Mapping[str, str],
    other: OtherThirdParty | None,
) -> dict[str, Any]:
    reused = existing is not None and other is None and THIRD_PARTY in processes.pids(place)
    holder: socket.socket | None = None
    if other is not None:
        url, network = other.url, other.network
    elif existing is not None and reused:
        url, network = existing["thirdPartyUrl"], "loopback"
    else:
        holder = processes.held_port()
        url, network = f"http://127.0.0.1:{holder.getsockname()[1]}", "loopback"
    defaults = {
        "Stage": "local",
        "Release": str(int(time.time())),
        "Architecture": build.architecture(),
        "ThirdPartyUrl": url,
        "ThirdPartyNetwork": network,
        "CallbackBaseUrl": (other.callback_base_url if other is not None else "") or "-",
        "LocalSignInPort": str(urllib.parse.urlsplit(endpoint).port),
        # The account's root user, with whose keys the tests and `make upload` put objects into the bucket.
        "UploaderArns": f"arn:aws:iam::{cloud.ACCOUNT_ID}:root",
    }
    build.deploy(place, endpoint, defaults | dict(parameters))
    outputs = stack_outputs(endpoint)
    admin_key = existing["thirdPartyAdminKey"] if existing is not None and reused else None
    if other is not None:
        processes.stop(place, [THIRD_PARTY])
        store_secrets(endpoint, outputs, other)
    elif holder is not None:
        processes.stop(place, [THIRD_PARTY])
        admin_key = start_third_party(place, endpoint, outputs, holder)
    create_people(place, endpoint, outputs)
    return describe(place, endpoint, outputs, url, admin_key)


def stack_outputs(endpoint: str) -> dict[str, str]:
    stacks = cloud.client(endpoint, "cloudformation").describe_stacks(StackName=build.STACK_NAME)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in stacks[0].get("Outputs", [])}


def output(outputs: Mapping[str, str], name: str) -> str:
    if name not in outputs:
        raise Problem(f"The stack has no output {name}.", "Give template.yaml this output, then deploy again.")
    return outputs[name]


def store_secrets(endpoint: str, outputs: Mapping[str, str], other: OtherThirdParty) -> None:
    client = cloud.client(endpoint, "secretsmanager")
    client.put_secret_value(SecretId=output(outputs, "ThirdPartyApiKeySecretArn"), SecretString=other.api_key)
    client.put_secret_value(SecretId=output(outputs, "WebhookSigningSecretArn"), SecretString=other.signing_secret)


def start_third_party(place: Place, endpoint: str, outputs: Mapping[str, str], holder: socket.socket) -> str:
    """Starts the reference third party with the stack's secrets, on the port that `holder` reserves."""
    client = cloud.client(endpoint, "secretsmanager")

    def secret(name: str) -> str:
        return str(client.get_secret_value(SecretId=output(outputs, name))["SecretString"])

    admin_key = secrets.token_urlsafe(32)
    keys = {
        "apiKey": secret("ThirdPartyApiKeySecretArn"),
        "signingSecret": secret("WebhookSigningSecretArn"),
        "adminKey": admin_key,
    }
    write_private_json(place.third_party_secrets, keys)
    address = f"127.0.0.1:{holder.getsockname()[1]}"
    command = [str(build.binary(THIRD_PARTY)), "serve", "--listen", address]
    command += ["--secrets-file", str(place.third_party_secrets), "--data-dir", str(place.third_party_data)]
    command += ["--delay-ms", str(THIRD_PARTY_DELAY_MS)]
    holder.close()
    env = cloud.clean_environment() | {"RUST_BACKTRACE": "0"}
    process = processes.start(place, THIRD_PARTY, command, env, ROOT)
    log = place.logs / f"{THIRD_PARTY}.log"
    processes.wait_until(
        "The reference third party",
        lambda: any('"listening"' in line for line in last_lines(log, 50)),
        process,
        log,
        THIRD_PARTY_READY_BOUND_S,
    )
    say(f"Reference third party at http://{address}")
    return admin_key


def create_people(place: Place, endpoint: str, outputs: Mapping[str, str]) -> None:
    """Creates the Cognito users of the local cloud and stores their credentials in a private file."""
    pool = output(outputs, "UserPoolId")
    known = read_json(place.people_file)
    if known is not None and known.get("userPoolId") == pool:
        return
    cognito = cloud.client(endpoint, "cognito-idp")
    people: dict[str, Any] = {}
    for key, username, group in PEOPLE:
        password = new_password()
        with contextlib.suppress(cognito.exceptions.UsernameExistsException):
            cognito.admin_create_user(
                UserPoolId=pool,
                Username=username,
                MessageAction="SUPPRESS",
                UserAttributes=[{"Name": "email", "Value": username}, {"Name": "email_verified", "Value": "true"}],
            )
        cognito.admin_set_user_password(UserPoolId=pool, Username=username, Password=password, Permanent=True)
        cognito.admin_add_user_to_group(UserPoolId=pool, Username=username, GroupName=group)
        people[key] = {"username": username, "password": password}
    write_private_json(place.people_file, {"userPoolId": pool, "people": people})


def new_password() -> str:
    """A random password that a person can type, with a character of each class that a password policy may require."""
    alphabet = string.ascii_lowercase + string.digits
    return "-".join("".join(secrets.choice(alphabet) for _ in range(5)) for _ in range(4)) + "-A1"


def describe(
    place: Place, endpoint: str, outputs: Mapping[str, str], third_party_url: str, admin_key: str | None
) -> dict[str, Any]:
    """The content of `stack.json`."""
    queues = {
        "receiveUpload": "ReceiveUpload",
        "admitDocument": "AdmitDocument",
        "transferDocument": "TransferDocument",
        "normalizeDocument": "NormalizeDocument",
        "deliverEvents": "DeliverEvents",
        "eventTimers": "EventTimers",
    }
    return {
        "endpoint": endpoint,
        "region": cloud.REGION,
        "accountId": cloud.ACCOUNT_ID,
        "accessKeyId": cloud.ACCESS_KEY_ID,
        "secretAccessKey": cloud.SECRET_ACCESS_KEY,
        "stackName": build.STACK_NAME,
        "apiUrl": output(outputs, "ApiUrl"),
        "apiUrlLocal": local_api_url(endpoint),
        "callbackBaseUrl": output(outputs, "CallbackBaseUrl"),
        "uploadsBucket": output(outputs, "UploadsBucketName"),
        "returnedBucket": output(outputs, "ReturnedBucketName"),
        "table": output(outputs, "TableName"),
        "stateMachineArn": output(outputs, "StateMachineArn"),
        "eraseSubmissionStateMachineArn": output(outputs, "EraseSubmissionStateMachineArn"),
        "userPoolId": output(outputs, "UserPoolId"),
        "userPoolClientId": output(outputs, "UserPoolClientId"),
        "queueUrls": {key: output(outputs, f"{name}QueueUrl") for key, name in queues.items()},
        "deadLetterQueueUrls": {key: output(outputs, f"{name}DeadLetterQueueUrl") for key, name in queues.items()},
        "thirdPartyUrl": third_party_url,
        "thirdPartyAdminKey": admin_key,
        "pagesUrl": output(outputs, "PagesUrl"),
        "people": (read_json(place.people_file) or {})["people"],
        "logs": str(place.logs),
        "pids": processes.pids(place),
    }


def local_api_url(endpoint: str) -> str:
    """The HTTP API's URL in MiniStack's path form, which works where `*.localhost` names do not resolve."""
    resources = cloud.client(endpoint, "cloudformation").describe_stack_resources(StackName=build.STACK_NAME)
    for resource in resources["StackResources"]:
        if resource["ResourceType"] == "AWS::ApiGatewayV2::Api":
            return f"{endpoint}/_aws/execute-api/{resource['PhysicalResourceId']}/$default"
    raise Problem("The stack has no HTTP API.", "Give template.yaml an AWS::ApiGatewayV2::Api.")


def down(place: Place) -> None:
    """Ends every process of this local cloud and deletes its state; the logs stay."""
    if not place.directory.exists():
        say(f"Nothing is up in {place.directory}.")
        return
    keep_function_logs(place)
    ended = processes.stop(place)
    for folder in (place.cloud_state, place.third_party_data, place.build):
        shutil.rmtree(folder, ignore_errors=True)
    for file in (place.stack_file, place.people_file, place.third_party_secrets, place.processes_file):
        file.unlink(missing_ok=True)
    say(f"Stopped {' and '.join(ended)}; logs are kept in {place.logs}" if ended else "Nothing was up.")


def keep_function_logs(place: Place) -> None:
    """Saves the functions' logs, which the local cloud holds in memory only. A failure must not prevent `down`."""
    stack = running_stack(place)
    if stack is None:
        return
    try:
        cloud.save_function_logs(stack["endpoint"], place.logs)
    except Exception as error:  # noqa: BLE001
        say(f"The functions' logs could not be saved: {error}")


def status(place: Place) -> bool:
    """Prints what is running; returns whether the stack is usable."""
    alive = processes.pids(place)
    stack = running_stack(place)
    for name, pid in alive.items():
        say(f"{name}: running as process {pid}, log {place.logs / (name + '.log')}")
    if stack is None:
        say(f"No stack is up in {place.directory}. Start one with `make run`.")
        return False
    shown = {key: stack[key] for key in ("endpoint", "apiUrlLocal", "uploadsBucket", "thirdPartyUrl")}
    say(json.dumps(shown, indent=2))
    return True


def timestamp() -> str:
    return time.strftime("%Y%m%d-%H%M%S")
