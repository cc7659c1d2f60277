"""A third party for trying a stage on AWS: a Lambda function behind a function URL.

It implements docs/third-party.openapi.yaml with the least possible work: it returns the text of a text file, and
a fixed text or fixed captions for other documents. A truncated MP4 fails. A pushed document has at most 4 MB, because a
function URL takes no more.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping
from typing import Any

# Even if JSON writes every byte as \u0001, the job fits into an item of DynamoDB.
MAX_TEXT_BYTES = 60_000
DELIVERIES = 8
KEEP_S = 14 * 24 * 3600
SECRETS_LIVE_S = 60
DOCUMENTS = ("application/pdf", "application/vnd.openxmlformats-officedocument.wordprocessingml.document")
VIDEOS = ("video/mp4", "video/webm")
FIXED_TEXT = "The stub does not read documents of this type.\n"
CAPTIONS = "WEBVTT\n\n00:00.000 --> 00:01.000\nThe stub does not transcribe.\n"


class Refusal(Exception):
    """An answer with a problem document."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(code)
        self.status, self.code, self.message = status, code, message


class JobError(Exception):
    """The document cannot be read; its job fails."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code)
        self.code, self.message = code, message


class Aws:
    """Jobs in a DynamoDB table, the secrets of the Lectern stack, and later work by an invocation of this function."""

    def __init__(self) -> None:
        import boto3  # the local server works without it

        self.table = boto3.resource("dynamodb").Table(os.environ["TABLE_NAME"])
        self.client = boto3.client
        self.read_at, self.known = 0.0, ("", "")

    def find(self, key: str) -> dict[str, Any] | None:
        item = self.table.get_item(Key={"key": key}, ConsistentRead=True).get("Item")
        return json.loads(item["job"]) if item else None

    def create(self, key: str, job: Mapping[str, Any]) -> bool:
        """Whether the key was new."""
        try:
            self._put(
                key, job, ConditionExpression="attribute_not_exists(#key)", ExpressionAttributeNames={"#key": "key"}
            )
        except self.table.meta.client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def update(self, key: str, job: Mapping[str, Any]) -> None:
        self._put(key, job)

    def _put(self, key: str, job: Mapping[str, Any], **condition: Any) -> None:
        item = {"key": key, "job": json.dumps(job, ensure_ascii=False), "expiresAt": int(time.time()) + KEEP_S}
        self.table.put_item(Item=item, **condition)

    def later(self, key: str) -> None:
        name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        payload = json.dumps({"work": key}).encode()
        self.client("lambda").invoke(FunctionName=name, InvocationType="Event", Payload=payload)

    def secrets(self) -> tuple[str, str]:
        """The API key and the signing secret; the newest of each, if a rotation is going on."""
        if time.monotonic() - self.read_at > SECRETS_LIVE_S or not self.known[0]:
            stacks = self.client("cloudformation").describe_stacks(StackName=os.environ["LECTERN_STACK"])["Stacks"]
            outputs = {output["OutputKey"]: output["OutputValue"] for output in stacks[0]["Outputs"]}
            read = self.client("secretsmanager").get_secret_value
            arns = (outputs["ThirdPartyApiKeySecretArn"], outputs["WebhookSigningSecretArn"])
            api_key, signing = (read(SecretId=arn)["SecretString"].split()[0] for arn in arns)
            self.known, self.read_at = (api_key, signing), time.monotonic()
        return self.known


service: Any = None


def handler(event: Mapping[str, Any], _context: Any) -> dict[str, Any] | None:
    """A request to the function URL, or the work on a job."""
    global service
    service = service or Aws()
    if "work" in event:
        work(service, event["work"])
        return None
    try:
        return route(service, event)
    except Refusal as refusal:
        problem = {"status": refusal.status, "code": refusal.code, "message": refusal.message}
        return answer(refusal.status, json.dumps(problem).encode(), "application/problem+json")


def route(service: Any, event: Mapping[str, Any]) -> dict[str, Any]:
    method, path = event["requestContext"]["http"]["method"], event["rawPath"]
    if method == "GET" and path.startswith("/v1/files/"):
        return file(service, path)
    given = event["headers"].get("authorization", "").removeprefix("Bearer ")
    if not hmac.compare_digest(given.encode(), service.secrets()[0].encode()):
        raise Refusal(401, "unauthorized", "The API key is missing or wrong.")
    if method == "POST" and path in ("/v1/jobs/push", "/v1/jobs/pull"):
        return submit(service, event, path.endswith("push"))
    if method == "GET" and path == "/v1/jobs":
        key = (event.get("queryStringParameters") or {}).get("idempotencyKey", "")
        job = service.find(key)
        if job is not None:
            return answer(200, json.dumps({"status": job["status"], **result(job)}).encode(), "application/json")
    raise Refusal(404, "notFound", "There is no such job.")


def submit(service: Any, event: Mapping[str, Any], is_push: bool) -> dict[str, Any]:
    """Creates the job of a new key; a known key gets the job that it has."""
    headers = event["headers"]
    key = headers.get("idempotency-key", "")
    if not key:
        raise Refusal(400, "idempotencyKeyMissing", "The Idempotency-Key header is missing.")
    known = service.find(key)
    if known is not None:
        return accepted(200, known)
    body = base64.b64decode(event["body"]) if event.get("isBase64Encoded") else (event.get("body") or "").encode()
    base = f"{headers.get('x-forwarded-proto', 'https')}://{headers['host']}"
    job = {"jobId": f"job_{uuid.uuid4().hex}", "status": "working", "base": base, "files": []}
    job["traceparent"] = headers.get("traceparent", "")
    if is_push:
        if "content-length" not in headers:
            raise Refusal(411, "lengthRequired", "The Content-Length header is missing.")
        if len(body) != int(headers["content-length"]):
            raise Refusal(408, "bodyIncomplete", "The body did not arrive with its declared Content-Length.")
        job |= {"mediaType": media_type(headers.get("content-type", "")), "callbackUrl": callback_url(headers)}
        prepare(job, body)
    else:
        try:
            request = json.loads(body)
            job |= {"sourceUrl": request["sourceUrl"], "sizeBytes": int(request["sizeBytes"])}
            job |= {"mediaType": media_type(request["mediaType"]), "callbackUrl": request["callbackUrl"]}
        except (ValueError, KeyError, TypeError) as error:
            raise Refusal(400, "bodyInvalid", "The body is not a PullRequest.") from error
    if not service.create(key, job):
        return accepted(200, service.find(key))
    service.later(key)
    return accepted(201, job)


def media_type(given: str) -> str:
    kind = given.partition(";")[0].strip().lower()
    if kind not in ("text/plain", *DOCUMENTS, *VIDEOS):
        raise Refusal(415, "mediaTypeUnknown", "Documents of this type are not processed.")
    return kind


def callback_url(headers: Mapping[str, str]) -> str:
    url = headers.get("lectern-callback-url", "")
    if not url.startswith(("https://", "http://")):
        raise Refusal(400, "callbackUrlInvalid", "The header lectern-callback-url is missing or no URL.")
    return url


def accepted(status: int, job: Mapping[str, Any]) -> dict[str, Any]:
    return answer(status, json.dumps({"jobId": job["jobId"]}).encode(), "application/json")


def answer(status: int, body: bytes, content_type: str) -> dict[str, Any]:
    return {
        "statusCode": status,
        "headers": {"content-type": content_type},
        "body": base64.b64encode(body).decode(),
        "isBase64Encoded": True,
    }


def prepare(job: dict[str, Any], body: bytes) -> None:
    """Gives the job its files, or its error."""
    if not body:
        raise Refusal(422, "empty", "An empty document cannot be processed.")
    try:
        job["files"] = files(job["mediaType"], body)
    except JobError as error:
        job["error"] = {"code": error.code, "message": error.message}


def files(kind: str, body: bytes) -> list[dict[str, str]]:
    if kind in VIDEOS:
        if kind == "video/mp4" and is_truncated(body):
            raise JobError("truncated", "The file is incomplete: it ends too early.")
        return [
            made("media.json", "media", "application/json", "{}"),
            made("captions.vtt", "transcript", "text/vtt", CAPTIONS),
        ]
    text = FIXED_TEXT
    if kind == "text/plain":
        if len(body) > MAX_TEXT_BYTES:
            raise JobError("tooLarge", f"The stub takes texts of {MAX_TEXT_BYTES} bytes at most.")
        try:
            text = body.decode()
        except UnicodeDecodeError as error:
            raise JobError("notUtf8", "The text is not UTF-8.") from error
    return [
        made("text.txt", "text", "text/plain", text),
        made("findings.json", "findings", "application/json", '{"findings": []}'),
    ]


def made(name: str, role: str, kind: str, body: str) -> dict[str, str]:
    return {"name": name, "role": role, "mediaType": kind, "body": body, "token": uuid.uuid4().hex}


def is_truncated(body: bytes) -> bool:
    """Whether a top-level box of an MP4 ends behind the file."""
    at = 0
    while at + 8 <= len(body):
        size = int.from_bytes(body[at : at + 4], "big")
        if size == 1:
            size = int.from_bytes(body[at + 8 : at + 16], "big")
        if size == 0:
            return False
        at += max(size, 8)
    return at > len(body)


def result(job: Mapping[str, Any]) -> dict[str, Any]:
    """The data of the callback; only the job's id while it is in progress."""
    if job["status"] == "working":
        return {"jobId": job["jobId"]}
    if "error" in job:
        return {"jobId": job["jobId"], "error": job["error"]}
    declared = [
        {
            "name": one["name"],
            "role": one["role"],
            "url": f"{job['base']}/v1/files/{job['key']}.{one['token']}/{one['name']}",
            "sizeBytes": len(one["body"].encode()),
            "sha256": hashlib.sha256(one["body"].encode()).hexdigest(),
            "mediaType": one["mediaType"],
        }
        for one in job["files"]
    ]
    return {"jobId": job["jobId"], "files": declared}


def file(service: Any, path: str) -> dict[str, Any]:
    """A returned file; its URL names the job's key and contains a token that nobody can guess."""
    key, _, token = path.split("/")[3].rpartition(".")
    for one in (service.find(key) or {"files": []})["files"]:
        if hmac.compare_digest(one["token"], token):
            return answer(200, one["body"].encode(), one["mediaType"])
    raise Refusal(404, "notFound", "There is no such file.")


def work(service: Any, key: str) -> None:
    """Ends a job and delivers its callback; the state is stored first, so that a probe gets the same answer."""
    job = service.find(key)
    if "sourceUrl" in job:
        fetch(job)
    job |= {"key": key, "status": "failed" if "error" in job else "succeeded"}
    service.update(key, job)
    event = {
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "type": f"job.{job['status']}",
        "data": result(job),
    }
    body = json.dumps(event).encode()
    for delivery in range(DELIVERIES):
        status = deliver(service.secrets()[1], job, body)
        if 200 <= status < 300 or status == 401:
            return
        time.sleep(2**delivery)


def fetch(job: dict[str, Any]) -> None:
    try:
        with urllib.request.urlopen(job["sourceUrl"], timeout=20) as source:
            body = source.read(job["sizeBytes"] + 1)
    except OSError:
        body = b""
    if len(body) != job["sizeBytes"]:
        job["error"] = {"code": "sourceUnreadable", "message": "The document could not be fetched."}
        return
    try:
        prepare(job, body)
    except Refusal as refusal:
        job["error"] = {"code": refusal.code, "message": refusal.message}


def deliver(secret: str, job: Mapping[str, Any], body: bytes) -> int:
    """The status of one delivery, signed by Standard Webhooks; 0 without an answer."""
    event, timestamp = f"evt_{job['jobId']}", str(int(time.time()))
    mac = hmac.new(base64.b64decode(secret.removeprefix("whsec_")), digestmod=hashlib.sha256)
    mac.update(f"{event}.{timestamp}.".encode() + body)
    headers = {
        "content-type": "application/json",
        "webhook-id": event,
        "webhook-timestamp": timestamp,
        "webhook-signature": "v1," + base64.b64encode(mac.digest()).decode(),
    }
    if job["traceparent"]:
        headers["traceparent"] = job["traceparent"]
    request = urllib.request.Request(job["callbackUrl"], data=body, headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=15) as answered:
            return int(answered.status)
    except urllib.error.HTTPError as error:
        return int(error.code)
    except OSError:
        return 0
