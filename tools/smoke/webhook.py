"""Signed callbacks through API Gateway."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
import urllib.error
import urllib.request

from .check import Check, Failed, Run

OTHER_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
# Bodies that a gateway could change: white space around JSON, letters beyond ASCII, and bytes that are not UTF-8, which
# API Gateway passes on in base64.
BODIES = {
    "white space": (b' {"type": "smoke",\r\n\t"data": {} } \n', "application/json"),
    "letters beyond ASCII": ('{"type":"smoke","data":{"text":"Übung 教案 \U0001f4da"}}'.encode(), "application/json"),
    "bytes that are not UTF-8": (b"\xff\xfe\x00\x80 smoke", "application/octet-stream"),
}


def raw_body_is_verified(run: Run) -> str:
    """Sends signed callbacks that belong to no document, and the same ones with one byte changed."""
    secret = OTHER_SECRET if run.fault else run.stage.secret("WebhookSigningSecretArn").split()[0]
    for number, (what, (body, media_type)) in enumerate(BODIES.items()):
        event = f"{run.id}-{number}"
        status = post(run, event, body, media_type, signature(secret, event, body))
        if not 200 <= status < 300:
            raise Failed(f"a signed callback with {what} was answered {status}")
        changed = body.replace(b"smoke", b"smOke")
        status = post(run, event, changed, media_type, signature(secret, event, body))
        if status != 401:
            raise Failed(f"a callback with {what} and the signature of another body was answered {status}")
    return f"2xx with {', '.join(BODIES)}; 401 when one byte was changed"


def signature(secret: str, event: str, body: bytes) -> tuple[str, str]:
    """`webhook-timestamp` and `webhook-signature` by Standard Webhooks."""
    timestamp = str(int(time.time()))
    signed = hmac.new(base64.b64decode(secret.removeprefix("whsec_")), digestmod=hashlib.sha256)
    signed.update(f"{event}.{timestamp}.".encode() + body)
    return timestamp, "v1," + base64.b64encode(signed.digest()).decode()


def post(run: Run, event: str, body: bytes, media_type: str, signed: tuple[str, str]) -> int:
    headers = {
        "content-type": media_type,
        "webhook-id": event,
        "webhook-timestamp": signed[0],
        "webhook-signature": signed[1],
    }
    url = f"{run.stage.outputs['CallbackBaseUrl']}/callbacks/{run.id}"
    request = urllib.request.Request(url, data=body, headers=headers, method="POST")
    try:
        with run.documents.opener.open(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return int(error.code)


CHECKS = (
    Check(
        "webhook",
        "API Gateway passes headers and body on as they came, and bodies that are not text in base64 (case 38).",
        "Real callbacks would be refused with 401, and the third party does not repeat them: documents would wait for"
        " their probe. Look at the clock of this machine, at a proxy before the API, then at"
        " crates/lectern-aws/src/http_api.rs.",
        raw_body_is_verified,
        ("signs with another secret",),
    ),
)
