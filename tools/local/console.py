"""Terminal output: the progress of steps, and errors that say what to do."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

BEAT_S = 10.0
TAIL_LINES = 25


class Problem(Exception):
    """A failure that a person can act on: `what` failed, and what `to_do` about it."""

    def __init__(self, what: str, to_do: str) -> None:
        super().__init__(what)
        self.what = what
        self.to_do = to_do


def say(text: str = "") -> None:
    """Prints one line and flushes it, so that it appears at once in a pipe, too."""
    print(text, flush=True)


def run_step(name: str, command: Sequence[str], log: Path, env: Mapping[str, str], cwd: Path, bound_s: float) -> None:
    """Runs `command` and writes its whole output to `log`. Shows its name, its duration and, every ten seconds, its
    newest line of output."""
    started = time.monotonic()
    say(f"{name} …")
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
        )
        try:
            code = wait_with_beats(process, log, started, bound_s)
        except BaseException:
            end_group(process)
            raise
    elapsed = time.monotonic() - started
    if code != 0:
        for line in last_lines(log, TAIL_LINES):
            say(f"    {line}")
        outcome = f"took longer than {bound_s:.0f} s" if code is None else f"failed with exit code {code}"
        raise Problem(f"“{name}” {outcome}.", f"Its full output is in {log}.")
    say(f"{name}: done in {elapsed:.1f} s")


def wait_with_beats(process: subprocess.Popen[bytes], log: Path, started: float, bound_s: float) -> int | None:
    """The exit code; `None` if the process took longer than `bound_s` and was terminated."""
    while True:
        try:
            return process.wait(timeout=BEAT_S)
        except subprocess.TimeoutExpired:
            elapsed = time.monotonic() - started
            newest = last_lines(log, 1)
            say(f"  {elapsed:5.0f} s  {shorten(newest[0], 100) if newest else ''}".rstrip())
            if elapsed > bound_s:
                end_group(process)
                return None


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Terminates a step and its child processes, such as the compilers that SAM starts."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def last_lines(path: Path, count: int) -> list[str]:
    """The last `count` lines of a log, blank lines not counted."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()][-count:]


def shorten(text: str, length: int) -> str:
    """At most `length` characters of `text`."""
    return text if len(text) <= length else text[: length - 1] + "…"


def fail(problem: Problem) -> int:
    """Prints what failed and what to do; returns the exit code."""
    sys.stdout.flush()
    print(f"\nFailed: {problem.what}\n{problem.to_do}", file=sys.stderr, flush=True)
    return 1
