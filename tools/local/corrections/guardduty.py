"""GuardDuty: Malware Protection for S3, which MiniStack lacks, played by Debian's `clamscan`.

A plan is a resource of CloudFormation. Each new version of an object under its prefixes is scanned and then tagged, as
AWS documents. `signatures.ndb` holds the only signature: that of a harmless text.

https://docs.aws.amazon.com/guardduty/latest/ug/gdu-malware-protection-s3.html
"""

from __future__ import annotations

import contextvars
import logging
import shutil
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SIGNATURES = Path(__file__).parent / "signatures.ndb"
TAG = "GuardDutyMalwareScanStatus"
SCAN_BOUND_S = 60
# The exit codes of clamscan.
RESULTS = {0: "NO_THREATS_FOUND", 1: "THREATS_FOUND"}

logger = logging.getLogger("lectern.guardduty")


@dataclass(frozen=True)
class Plan:
    """A protected bucket."""

    bucket: str
    prefixes: tuple[str, ...]

    def covers(self, bucket: str, key: str) -> bool:
        return bucket == self.bucket and (not self.prefixes or key.startswith(self.prefixes))


plans: dict[str, Plan] = {}


def apply() -> None:
    from ministack.core import responses
    from ministack.services import s3
    from ministack.services.cloudformation import provisioners

    provisioners._RESOURCE_HANDLERS["AWS::GuardDuty::MalwareProtectionPlan"] = malware_protection_plan(responses)
    s3._fire_s3_event_async = scanning(s3)


def malware_protection_plan(responses: Any) -> dict[str, Any]:
    """A handler of CloudFormation resources."""

    def create(_: str, properties: Mapping[str, Any], __: str) -> Any:
        if shutil.which("clamscan") is None:
            raise ValueError("MalwareScan=yes needs ClamAV on this machine: run `make clamav`.")
        bucket = properties["ProtectedResource"]["S3Bucket"]
        plan_id = responses.new_uuid().replace("-", "")[:24]
        region, account = responses.get_region(), responses.get_account_id()
        arn = f"arn:aws:guardduty:{region}:{account}:malware-protection-plan/{plan_id}"
        plans[plan_id] = Plan(bucket["BucketName"], tuple(bucket.get("ObjectPrefixes", ())))
        return plan_id, {"Arn": arn, "MalwareProtectionPlanId": plan_id, "Status": "ACTIVE"}

    def delete(plan_id: str, _: Mapping[str, Any]) -> None:
        plans.pop(plan_id, None)

    def update(plan_id: str, _: Mapping[str, Any], properties: Mapping[str, Any], stack: str) -> Any:
        delete(plan_id, properties)
        return create("", properties, stack)

    return {"create": create, "update": update, "delete": delete}


def scanning(s3: Any) -> Any:
    """Wraps the events of S3 so that a new version of a protected object is scanned."""
    fire = s3._fire_s3_event_async

    def corrected(bucket: str, key: str, event: str, *arguments: Any, **named: Any) -> None:
        fire(bucket, key, event, *arguments, **named)
        plan = next((plan for plan in plans.values() if plan.covers(bucket, key)), None)
        if plan is None or not event.removeprefix("s3:").startswith("ObjectCreated:"):
            return
        # A thread has no context of its own, and MiniStack keeps the account in the context.
        context = contextvars.copy_context()
        call = (scan, s3, plan, key, named.get("version_id"))
        threading.Thread(target=context.run, args=call, daemon=True).start()

    return corrected


def scan(s3: Any, plan: Plan, key: str, version: str | None) -> None:
    """Scans one version and tags it with the result."""
    query = {"versionId": version} if version else {}
    status, _, body = s3._get_object(plan.bucket, key, {}, query)
    if status != 200:
        return
    result = verdict(body)
    tagging = f"<Tagging><TagSet><Tag><Key>{TAG}</Key><Value>{result}</Value></Tag></TagSet></Tagging>"
    status, _, _ = s3._put_object_tagging(plan.bucket, key, tagging.encode(), query)
    if status != 200:
        logger.error("a version could not be tagged: S3 answered %s", status)


def verdict(content: bytes) -> str:
    """What the tag says about an object with this content."""
    command = ["clamscan", f"--database={SIGNATURES}", "--no-summary", "--stdout", "-"]
    try:
        done = subprocess.run(command, input=content, capture_output=True, timeout=SCAN_BOUND_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        logger.exception("clamscan did not answer")
        return "FAILED"
    if done.returncode not in RESULTS:
        logger.error("clamscan failed: %s", done.stdout.decode(errors="replace"))
    return RESULTS.get(done.returncode, "FAILED")
