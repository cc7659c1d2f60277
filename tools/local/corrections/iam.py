"""IAM: the condition key `aws:PrincipalArn` of a role's session is the ARN of the role, not that of the session.

<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html#condition-keys-principalarn>

The batch calls of SQS need the permission of the single call
(<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-api-permissions-reference.html>).
"""

from __future__ import annotations

import re
from typing import Any

SESSION = re.compile(r"arn:(?P<partition>[^:]+):sts::(?P<account>[^:]*):assumed-role/(?P<role>.+)/[^/]+")


SQS_BATCH = re.compile(r"(sqs:(?:SendMessage|DeleteMessage|ChangeMessageVisibility))Batch")


def apply() -> None:
    from ministack.core import iam_actions, iam_evaluator

    iam_actions.extract_iam_action = with_single_action(iam_actions.extract_iam_action)
    iam_evaluator._resolve_condition_key = with_role_of_session(iam_evaluator._resolve_condition_key)


def with_single_action(extract: Any) -> Any:
    """Wraps the look-up of the permission that a request needs."""

    def corrected(*args: Any) -> Any:
        action = extract(*args)
        return SQS_BATCH.sub(r"\1", action) if isinstance(action, str) else action

    return corrected


def with_role_of_session(resolve: Any) -> Any:
    """Wraps the look-up of a condition key."""

    def corrected(key: str, context: Any) -> Any:
        value = resolve(key, context)
        if key.lower() != "aws:principalarn" or not isinstance(value, str):
            return value
        return SESSION.sub(r"arn:\g<partition>:iam::\g<account>:role/\g<role>", value)

    return corrected
