"""Faults of AWS, for tests: throttling, errors, lost answers and delays, in the form in which AWS has them.

They meet the functions' requests and the calls of the state machine, while a test has a plan active. The n-th request
of an operation has the same fate in each run with the same seed. Tests, tools and the third party have other
credentials and meet none.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import threading
from collections import Counter
from typing import Any

CREDENTIAL = re.compile(rb"Credential=([^/]+)/\d{8}/[^/]+/([^/]+)/aws4_request")
# Of the faults, so many are answers that the caller does not get, and delays. The others are errors.
LOST_SHARE, DELAY_SHARE = 0.2, 0.2
LONGEST_DELAY_S = 1.0
MESSAGE = "This is a fault of the test's plan."
# The answers of each service, by status and code.
# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html
# https://docs.aws.amazon.com/step-functions/latest/apireference/CommonErrors.html
# https://docs.aws.amazon.com/secretsmanager/latest/apireference/CommonErrors.html
ERRORS = {
    b"s3": [(503, "SlowDown"), (500, "InternalError"), (503, "ServiceUnavailable")],
    b"dynamodb": [
        (400, "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"),
        (400, "com.amazon.coral.availability#ThrottlingException"),
        (500, "com.amazonaws.dynamodb.v20120810#InternalServerError"),
    ],
    b"sqs": [
        (400, "com.amazonaws.sqs#RequestThrottled"),
        (500, "com.amazon.coral.service#InternalFailure"),
        (503, "com.amazon.coral.service#ServiceUnavailable"),
    ],
    b"states": [
        (400, "com.amazon.coral.availability#ThrottlingException"),
        (500, "com.amazon.coral.service#InternalFailure"),
        (503, "com.amazon.coral.service#ServiceUnavailable"),
    ],
    b"secretsmanager": [
        (400, "com.amazon.coral.availability#ThrottlingException"),
        (500, "com.amazonaws.secretsmanager#InternalServiceError"),
    ],
}
# How the state machine names the errors of its own calls, by the state's resource.
TASK_ERRORS = {
    "arn:aws:states:::sqs:sendMessage": ["SQS.SqsException", "SQS.SdkClientException"],
    "arn:aws:states:::aws-sdk:dynamodb:updateItem": [
        "DynamoDb.ProvisionedThroughputExceededException",
        "DynamoDb.InternalServerErrorException",
        "DynamoDb.SdkClientException",
    ],
    "arn:aws:states:::lambda:invoke": [
        "Lambda.ServiceException",
        "Lambda.AWSLambdaException",
        "Lambda.SdkClientException",
        "Lambda.TooManyRequestsException",
    ],
}


class Plan:
    """Which requests meet a fault, and which one."""

    def __init__(self, seed: int, share: float) -> None:
        self.seed, self.share = seed, share
        self.requests: Counter[str] = Counter()
        self.met: Counter[str] = Counter()
        self.lock = threading.Lock()

    def fate(self, operation: str) -> random.Random | None:
        """The dice for this request's fault; nothing if it meets none."""
        with self.lock:
            self.requests[operation] += 1
            dice = random.Random(f"{self.seed} {operation} {self.requests[operation]}")
        return dice if dice.random() < self.share else None

    def count(self, operation: str, fault: str) -> None:
        with self.lock:
            self.met[f"{operation} {fault}"] += 1


# The active plan. `admin.py` sets it.
plan: Plan | None = None


def apply() -> None:
    """Lets the calls of the state machine meet faults."""
    from ministack.services import stepfunctions as machine

    functions, queues = "arn:aws:states:::lambda:invoke", "arn:aws:states:::sqs:sendMessage"
    machine._call_lambda = failing(machine, functions, machine._call_lambda)
    machine._SERVICE_DISPATCH[queues] = failing(machine, queues, machine._SERVICE_DISPATCH[queues])
    table = "arn:aws:states:::aws-sdk:dynamodb:updateItem"
    machine._invoke_aws_sdk_integration = failing(machine, table, machine._invoke_aws_sdk_integration)


def failing(machine: Any, resource: str, call: Any) -> Any:
    """Wraps a call of the state machine that this resource makes."""

    def corrected(target: str, given: Any) -> Any:
        active = plan
        dice = active.fate(resource) if active else None
        if active is None or dice is None:
            return call(target, given)
        error = dice.choice(TASK_ERRORS[resource])
        active.count(resource, error)
        # In some cases the call has its effect.
        if dice.random() < LOST_SHARE:
            call(target, given)
        raise machine._ExecutionError(error, MESSAGE)

    return corrected


def around(app: Any) -> Any:
    """Wraps the ASGI application so that the functions' requests meet faults."""

    async def faulty(scope: Any, receive: Any, send: Any) -> None:
        active = plan
        caller = caller_of(scope) if active else None
        if active is None or caller is None:
            await app(scope, receive, send)
            return
        service, operation = caller
        dice = active.fate(operation)
        if dice is None:
            await app(scope, receive, send)
            return
        kind = dice.random()
        if kind < DELAY_SHARE:
            active.count(operation, "delay")
            await asyncio.sleep(dice.uniform(0, LONGEST_DELAY_S))
            await app(scope, receive, send)
        elif kind < DELAY_SHARE + LOST_SHARE:
            active.count(operation, "lost answer")
            await app(scope, receive, nowhere)
            await disconnect(send)
        else:
            status, code = dice.choice(ERRORS[service])
            active.count(operation, code.rpartition("#")[2])
            while (await receive()).get("more_body"):
                pass
            await answer_error(scope, send, service, status, code)

    return faulty


def caller_of(scope: Any) -> tuple[bytes, str] | None:
    """The service and the operation that a function requests; nothing for another caller."""
    if scope["type"] != "http":
        return None
    headers = dict(scope["headers"])
    found = CREDENTIAL.search(headers.get(b"authorization", b""))
    # Roles have temporary credentials, with a session token.
    if found is None or b"x-amz-security-token" not in headers or found[2] not in ERRORS:
        return None
    target = headers.get(b"x-amz-target", b"").rpartition(b".")[2].decode()
    return found[2], f"{found[2].decode()} {target or scope['method']}"


async def nowhere(_message: Any) -> None:
    """Takes an answer that the caller does not get."""


async def disconnect(send: Any) -> None:
    """Closes the connection without an answer. ASGI has no message for that, so this is Hypercorn's own way."""
    from hypercorn.protocol.events import StreamClosed

    stream = send.__self__
    stream.closed = True
    await stream.send(StreamClosed(stream_id=stream.stream_id))


async def answer_error(scope: Any, send: Any, service: bytes, status: int, code: str) -> None:
    if service == b"s3":
        kind, body = b"application/xml", f"<Error><Code>{code}</Code><Message>{MESSAGE}</Message></Error>"
    else:
        kind, body = b"application/x-amz-json-1.0", json.dumps({"__type": code, "message": MESSAGE})
    data = b"" if scope["method"] == "HEAD" else body.encode()
    headers = [(b"content-type", kind), (b"content-length", str(len(data)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": data})
