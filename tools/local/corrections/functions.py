"""Lambda: the limit of an answer.

https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
"""

from __future__ import annotations

import json
from typing import Any

MAX_ANSWER_BYTES = 6_291_556


def apply() -> None:
    from ministack.services import lambda_svc

    lambda_svc._execute_function_provided_warm = with_answer_limit(lambda_svc._execute_function_provided_warm)


def with_answer_limit(execute: Any) -> Any:
    """Wraps an invocation so that it fails if its answer is too large."""

    def corrected(function: Any, event: Any, request_id: str) -> Any:
        result = execute(function, event, request_id)
        if result.get("error") or size_bytes(result.get("body")) <= MAX_ANSWER_BYTES:
            return result
        message = f"Response payload size exceeded maximum allowed payload size ({MAX_ANSWER_BYTES} bytes)."
        error = {"errorMessage": message, "errorType": "Function.ResponseSizeTooLarge"}
        return {"body": error, "error": True, "log": result.get("log", "")}

    return corrected


def size_bytes(answer: Any) -> int:
    """The size of an answer, which is raw or parsed JSON."""
    if isinstance(answer, bytes):
        return len(answer)
    return len(json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode())
