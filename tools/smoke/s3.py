"""Ranged reads, conditional copies, presigned URLs and the rule that all requests use TLS."""

from __future__ import annotations

import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from botocore.exceptions import ClientError

from .check import POLL_S, Check, Failed, NotChecked, Run

# Names as teachers write them; the bytes differ from their form in a URL.
NAME = "a+b c%20 Übung 教案.txt"
LIFETIME_S = 3


def key(run: Run, name: str) -> str:
    """A key in the returned bucket, where nothing listens to events and the lifecycle deletes after 30 days."""
    return f"quarantine/{run.id}/{name}"


def code_of(error: ClientError) -> str:
    return f"{error.response['ResponseMetadata']['HTTPStatusCode']} {error.response['Error']['Code']}"


def range_of_a_version(run: Run) -> str:
    """Reads ranges of an old version of an object."""
    s3, bucket = run.client("s3"), run.stage.outputs["ReturnedBucketName"]
    at = {"Bucket": bucket, "Key": key(run, NAME)}
    first = s3.put_object(**at, Body=b"0123456789")["VersionId"]
    s3.put_object(**at, Body=b"abcdefghijklmno")
    for asked, answered, body in (
        ("bytes=2-5", "bytes 2-5/10", b"2345"),
        ("bytes=8-99", "bytes 8-9/10", b"89"),
    ):
        version = {} if run.fault == "reads the newest version" else {"VersionId": first}
        span = {} if run.fault == "reads the whole object" else {"Range": asked}
        answer = s3.get_object(**at, **version, **span)
        status = answer["ResponseMetadata"]["HTTPStatusCode"]
        seen = (status, answer.get("ContentRange"), answer["Body"].read())
        if seen != (206, answered, body):
            raise Failed(
                f"a read of {asked} was answered {seen[0]} with {seen[1] or 'no range'} and {len(seen[2])} bytes"
            )
    try:
        s3.get_object(**at, VersionId=first, Range="bytes=10-")
    except ClientError as error:
        if code_of(error) != "416 InvalidRange":
            raise Failed(f"a range behind the end was answered {code_of(error)}") from error
        return "206 with Content-Range and the bytes of the version; 416 behind its end"
    raise Failed("a range behind the end was answered with success")


def copy_is_conditional(run: Run) -> str:
    """Copies a multipart upload on the condition that its ETag is that of the answer to its completion."""
    s3, bucket = run.client("s3"), run.stage.outputs["ReturnedBucketName"]
    source, target = key(run, "source"), key(run, "target")
    at = {"Bucket": bucket, "Key": source}
    upload = s3.create_multipart_upload(**at, ContentType="application/octet-stream")["UploadId"]
    part = s3.upload_part(**at, UploadId=upload, PartNumber=1, Body=b"promoted")["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": part}]}
    tag = s3.complete_multipart_upload(**at, UploadId=upload, MultipartUpload=parts)["ETag"]

    def copy(source: str, if_match: str) -> str:
        try:
            s3.copy_object(
                Bucket=bucket,
                Key=target,
                CopySource={"Bucket": bucket, "Key": source},
                CopySourceIfMatch=if_match,
                MetadataDirective="REPLACE",
                ContentType="text/plain",
                Metadata={"sha256": "0" * 64},
            )
        except ClientError as error:
            return code_of(error)
        return "copied"

    other = tag if run.fault else '"00000000000000000000000000000000"'
    seen = [copy(source, other), copy(key(run, "missing"), tag), copy(source, tag)]
    expected = ["412 PreconditionFailed", "404 NoSuchKey", "copied"]
    if seen != expected:
        raise Failed(f"copies with another ETag, of a missing object and with the right ETag were answered {seen}")
    head = s3.head_object(Bucket=bucket, Key=target)
    facts = (head["ContentType"], head["Metadata"].get("sha256"), head["ContentLength"])
    if facts != ("text/plain", "0" * 64, 8):
        raise Failed(f"the copy has other facts than the request: {facts}")
    return "412 for another ETag, 404 for a missing object, and the new type and metadata on the copy"


def presigned_url_ends(run: Run) -> str:
    """Reads by a presigned URL before and after its end."""
    # boto3 signs URLs of some regions in an older way.
    s3, bucket = run.stage.client("s3", signature_version="s3v4"), run.stage.outputs["ReturnedBucketName"]
    s3.put_object(Bucket=bucket, Key=key(run, NAME), Body=b"presigned")
    seconds = 600 if run.fault else LIFETIME_S
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": key(run, NAME)}, ExpiresIn=seconds)
    signed = time.monotonic()
    if fetch(run, url) != 200:
        raise Failed(f"a presigned URL was answered {fetch(run, url)}")
    bound = signed + LIFETIME_S + 5.0
    while fetch(run, url) == 200:
        if time.monotonic() > bound:
            raise Failed(f"a presigned URL for {LIFETIME_S} s works {LIFETIME_S + 5} s later")
        time.sleep(POLL_S)
    status, lived = fetch(run, url), time.monotonic() - signed
    if status != 403:
        raise Failed(f"a presigned URL was answered {status} after {lived:.1f} s")
    return f"200, and 403 after {lived:.1f} s; it was signed for {LIFETIME_S} s"


def fetch(run: Run, url: str) -> int:
    """The status of a GET without credentials."""
    try:
        with run.documents.opener.open(url, timeout=10) as answer:
            answer.read()
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return int(error.code)


def plain_http_is_refused(run: Run) -> str:
    """Reads an object over plain HTTP."""
    bucket, name = run.stage.outputs["ReturnedBucketName"], key(run, "plain")
    run.client("s3").put_object(Bucket=bucket, Key=name, Body=b"plain")
    plain: Any = run.client("s3") if run.fault else run.stage.session.client("s3", use_ssl=False)
    if (run.stage.endpoint or "").startswith("http://"):
        raise NotChecked("this cloud has no TLS, and the policy of the buckets excepts loopback addresses")
    try:
        plain.head_object(Bucket=bucket, Key=name)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 403:
            raise Failed(f"a read over plain HTTP was answered {code_of(error)}") from error
        return "403"
    raise Failed("a read over plain HTTP was answered with success")


CHECKS = (
    Check(
        "range",
        "GetObject with VersionId and Range is answered 206 with Content-Range and just these bytes of that version.",
        "transfer-document stops with a read fault of our own store (V01), or receive-upload judges other bytes (F04).",
        range_of_a_version,
        ("reads the newest version", "reads the whole object"),
    ),
    Check(
        "copy",
        "CopyObject with CopySourceIfMatch copies only the object with that ETag, also one of a multipart upload.",
        "verify-returned-file could promote bytes that it has not hashed, or could never promote (decision 0009).",
        copy_is_conditional,
        ("asks for the right ETag twice",),
    ),
    Check(
        "presigned",
        "A presigned URL works without credentials until the seconds that it was signed for have passed.",
        "Files would be readable for longer than docs/limits.md says, or for no one.",
        presigned_url_ends,
        ("signs for 600 s",),
    ),
    Check(
        "tls",
        "The buckets' policies deny requests without TLS (decision 0015).",
        "The exception for loopback addresses lets others read over plain HTTP. Correct the policies in template.yaml.",
        plain_http_is_refused,
        ("uses TLS",),
    ),
)
