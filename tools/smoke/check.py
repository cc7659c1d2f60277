"""What a check is, and what its run may say."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .documents import Documents
from .stage import Stage

POLL_S = 0.5


class Failed(Exception):
    """The stage, or AWS, does not do what Lectern builds on. The text says what was seen.

    If the local cloud is known to differ from AWS here, `local` says how. Then the check counts as not checked there.
    """

    def __init__(self, seen: str, local: str = "") -> None:
        super().__init__(seen)
        self.local = local


class NotChecked(Exception):
    """This cloud or this stage cannot show what the check looks for. The text says why."""


@dataclass
class Run:
    """One run of the checks, with its temporary resources."""

    stage: Stage
    # The name of everything that the run makes; it begins with `smoke-`.
    id: str
    # How long a check waits for an effect.
    bound_s: float
    # `time.monotonic()` at which the whole run has to end.
    ends: float
    # The command `lectern`.
    lectern: Path
    documents: Documents
    began_ms: int = field(default_factory=lambda: int(time.time() * 1000))
    # Outputs of the temporary stack.
    temporary: dict[str, str] = field(default_factory=dict)
    # The name of the mistake that the check has to make and find; empty in a normal run.
    fault: str = ""

    @property
    def mark(self) -> str:
        """The run's id, and the fault as a part of a name."""
        return "-".join([self.id, *self.fault.split()])

    def client(self, service: str) -> Any:
        return self.stage.client(service)

    def until(self, what: str, look: Callable[[], Any], bound_s: float | None = None) -> Any:
        """The first true value of `look`. Raises `Failed` if there is none within the bound."""
        bound = min(bound_s or self.bound_s, max(0.0, self.ends - time.monotonic()))
        began = time.monotonic()
        while True:
            seen = look()
            if seen:
                return seen
            if time.monotonic() - began > bound:
                raise Failed(f"{what} did not happen within {bound:.0f} s")
            time.sleep(POLL_S)


@dataclass(frozen=True)
class Check:
    """One question to AWS.

    `faults` are the mistakes that the check can make on purpose, so that `--with-faults` can prove that it finds each.
    """

    name: str
    # What Lectern builds on, and where AWS or a record of ours says so.
    promise: str
    # What a failure means for Lectern, and what to do.
    meaning: str
    # Returns what was seen.
    look: Callable[[Run], str]
    faults: tuple[str, ...]
