"""IAM: the condition key `aws:PrincipalArn` of a role's session is the ARN of the role, not that of the session.

<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html#condition-keys-principalarn>
"""

from __future__ import annotations

import re
from typing import Any

SESSION = re.compile(r"arn:(?P<partition>[^:]+):sts::(?P<account>[^:]*):assumed-role/(?P<role>.+)/[^/]+")


def apply() -> None:
    from ministack.core import iam_evaluator

    iam_evaluator._resolve_condition_key = with_role_of_session(iam_evaluator._resolve_condition_key)


def with_role_of_session(resolve: Any) -> Any:
    """Wraps the look-up of a condition key."""

    def corrected(key: str, context: Any) -> Any:
        value = resolve(key, context)
        if key.lower() != "aws:principalarn" or not isinstance(value, str):
            return value
        return SESSION.sub(r"arn:\g<partition>:iam::\g<account>:role/\g<role>", value)

    return corrected
