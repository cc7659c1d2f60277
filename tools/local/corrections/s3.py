"""S3: ranges, names in listings, conditions of a copy, and checksums of forms."""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote_plus

# A range that is malformed, ends before it begins or has several parts is ignored, as RFC 9110 allows and S3 does.
RANGE = re.compile(r"bytes=(\d+-\d*|-\d+)")
NAMES = {"Key", "Prefix", "KeyMarker", "NextKeyMarker", "Delimiter"}


# The checksum of a form is checked like that of a PUT.
BUILDS_RECORD = "    # Build a synthetic header dict so _build_object_record reuses the PUT path.\n"
CHECKS_CHECKSUM = """    _, err = _resolve_object_checksums(file_value, fields)
    if err:
        return err
"""


def apply() -> None:
    from ministack.services import s3

    from . import in_source

    s3._get_object = ranged(s3)
    s3._url_encode = url_encoded
    s3._list_object_versions = with_encoded_names(s3)
    s3._copy_object = conditional(s3)
    in_source(s3, "_post_object", {BUILDS_RECORD: CHECKS_CHECKSUM + BUILDS_RECORD})


def ranged(s3: Any) -> Any:
    """Wraps GetObject so that it honours `Range` for a named version, and ignores a `Range` that S3 ignores."""
    get_object = s3._get_object

    def corrected(bucket: str, key: str, headers: Mapping[str, str], query: Mapping[str, Any] | None = None) -> Any:
        asked = headers.get("range", "")
        if not is_honoured(asked):
            without = {name: value for name, value in headers.items() if name != "range"}
            return get_object(bucket, key, without, query)
        if "versionId" not in (query or {}):
            return get_object(bucket, key, headers, query)
        # MiniStack's checksum covers the whole object; AWS sends no such checksum with a range.
        plain = {name: value for name, value in headers.items() if name != "x-amz-checksum-mode"}
        status, answer, body = get_object(bucket, key, plain, query)
        if status != 200:
            return status, answer, body
        size = len(body)
        found = s3._parse_range(asked, size)
        if found is None:
            error = s3._xml_body(s3._range_error_xml(bucket, key))
            return 416, {"Content-Type": "application/xml", "Content-Range": f"bytes */{size}"}, error
        start, end = found
        part = body[start : end + 1]
        answer |= {"Content-Length": str(len(part)), "Content-Range": f"bytes {start}-{end}/{size}"}
        return 206, answer, part

    return corrected


def is_honoured(asked: str) -> bool:
    if not RANGE.fullmatch(asked):
        return False
    first, last = asked.removeprefix("bytes=").split("-")
    return not (first and last) or int(first) <= int(last)


def url_encoded(name: str) -> str:
    """A name in a listing with `encoding-type=url`. S3 writes a space as `+`, MiniStack as `%20`."""
    return quote_plus(name, safe="/")


def with_encoded_names(s3: Any) -> Any:
    """Wraps ListObjectVersions, in which MiniStack ignores `encoding-type`."""
    listed = s3._list_object_versions

    def corrected(bucket: str, query: Mapping[str, Any]) -> Any:
        if s3._qp(query, "encoding-type", "") != "url":
            return listed(bucket, query)

        # Not every key can be written as XML, so the names are encoded before the XML is written.
        def xml(root: Any) -> bytes:
            for element in root.iter():
                if element.tag.rpartition("}")[2] in NAMES:
                    element.text = url_encoded(element.text or "")
            s3.SubElement(root, "EncodingType").text = "url"
            return s3._xml_body(root)

        return types.FunctionType(listed.__code__, s3.__dict__ | {"_xml_body": xml})(bucket, query)

    return corrected


def conditional(s3: Any) -> Any:
    """Wraps CopyObject so that it checks `If-Match` and `If-None-Match`, which apply to the destination.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html
    """
    copy_object = s3._copy_object

    def corrected(bucket: str, key: str, headers: Mapping[str, str]) -> Any:
        destination = s3._ensure_bucket(bucket)
        existing = destination["objects"].get(key) if destination else None
        return s3._check_put_preconditions(headers, existing) or copy_object(bucket, key, headers)

    return corrected
