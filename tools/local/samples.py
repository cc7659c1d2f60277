"""The files in `samples/`, and the states in `samples/expected.json` that they should reach."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .console import Problem, say
from .documents import Sent
from .place import ROOT, read_json

SAMPLES = ROOT / "samples"
NO_SAMPLES = ("README.md", "expected.json")


@dataclass(frozen=True)
class Sample:
    """One file and the final state that its document should reach."""

    path: Path
    bad: bool
    state: str
    reason: str | None

    @property
    def outcome(self) -> str:
        return f"{self.state}({self.reason})" if self.reason else self.state


def read_samples() -> list[Sample]:
    """Every sample; a file without an expectation, or an expectation without a file, is an error.

    The sources that samples are made from (`*.source.*`) are no samples.
    """
    expected = (read_json(SAMPLES / "expected.json") or {}).get("documents", {})
    found = {
        path.relative_to(SAMPLES).as_posix(): path
        for path in sorted([*SAMPLES.iterdir(), *(SAMPLES / "bad").glob("*")])
        if path.is_file() and path.name not in NO_SAMPLES and ".source." not in path.name
    }
    if not found or set(found) != set(expected):
        differing = ", ".join(sorted(set(found) ^ set(expected))) or "no samples at all"
        raise Problem(
            f"samples/ and samples/expected.json differ: {differing}.",
            "Give each file its expected state in expected.json.",
        )
    return [
        Sample(path, name.startswith("bad/"), expected[name]["state"], expected[name].get("reason"))
        for name, path in found.items()
    ]


def summarise(pairs: list[tuple[Sample, Sent]], is_reference: bool = True) -> list[str]:
    """Prints a table of the state that each sample reached; returns one line for each wrong state.

    The contract leaves open what a third party does with a damaged file. So only the reference third party has to fail
    the samples that are expected to fail.
    """
    header = ("Sample", "Expected", "Reached", "Time")
    rows = []
    wrong = []
    for sample, sent in pairs:
        is_free = sample.state == "Failed" and not is_reference
        expected = "Ready or Failed" if is_free else sample.outcome
        right = (sent.state, sent.reason) == (sample.state, sample.reason)
        right = right or (is_free and sent.state in ("Ready", "Failed"))
        right = right and (sent.state != "Ready" or sent.record is not None)
        took = "" if sent.took_s is None else f"{sent.took_s:.1f} s"
        name = sample.path.relative_to(SAMPLES).as_posix()
        rows.append((name, expected, sent.outcome, took, "ok" if right else "WRONG"))
        if not right:
            wrong.append(f"{name} should be {expected} and is {sent.outcome}")
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    say()
    say("  ".join(f"{title:<{width}}" for title, width in zip(header, widths, strict=True)).rstrip())
    for row in rows:
        say("  ".join(f"{cell:<{width}}" for cell, width in zip(row[:-1], widths, strict=True)) + f"  {row[-1]}")
    return wrong
