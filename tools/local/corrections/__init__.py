"""What AWS does and MiniStack 1.5.33 does not. Each module corrects one service; `docs/local-cloud.md` lists all of it.

The corrections run inside MiniStack's process. A proxy before it would see only the requests from outside, not those
of the state machine, and every request would pass through one more process.
"""

from __future__ import annotations

import inspect
import sys
from typing import Any

from . import (
    cloudformation,
    cloudwatch,
    cognito,
    counts,
    dynamodb,
    faults,
    functions,
    guardduty,
    iam,
    s3,
    stepfunctions,
)


def apply() -> None:
    """Corrects every service that the stack uses. Call it before MiniStack serves requests."""
    for module in (
        s3,
        guardduty,
        iam,
        cognito,
        dynamodb,
        stepfunctions,
        functions,
        cloudformation,
        cloudwatch,
        counts,
        faults,
    ):
        module.apply()


def in_source(module: Any, function: str, changes: dict[str, str]) -> None:
    """Replaces pieces of a function's source, for corrections in the middle of a function.

    Ends the process unless each piece occurs exactly once: then MiniStack has changed.
    """
    source = inspect.getsource(getattr(module, function))
    for old, new in changes.items():
        if source.count(old) != 1:
            sys.exit(f"{module.__name__}.{function} no longer contains {old!r} once: correct tools/local/corrections.")
        source = source.replace(old, new)
    exec(compile(source, f"{module.__file__}, corrected", "exec"), module.__dict__)
