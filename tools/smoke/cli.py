"""The command line: runs the checks one by one, prints a table, and removes what it made."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError
from local import build
from local.console import Problem, fail, say
from local.place import ROOT

from . import alarms, dynamodb, iam, s3, sqs, stage, step_functions, temporary, webhook, workflow
from .check import Check, Failed, NotChecked, Run
from .documents import Documents

# The whole run takes less than ten minutes; the rest is for removing what it made.
RUN_BOUND_S = 420.0
INTERRUPTED = 130
OK, FAILED, NOT_CHECKED, FOUND = "ok", "FAILED", "not checked here", "found its fault"
# Documents pass while the first checks run; the last ones read what all of them left.
CHECKS: tuple[Check, ...] = (
    *step_functions.CHECKS,
    *sqs.CHECKS,
    *dynamodb.CHECKS,
    *s3.CHECKS,
    *webhook.CHECKS,
    *workflow.CHECKS,
    *alarms.CHECKS,
    *iam.CHECKS,
)


@dataclass(frozen=True)
class Result:
    check: Check
    outcome: str
    seen: str
    seconds: float


def main(arguments: Sequence[str]) -> int:
    """Runs the checks; the exit code is 0 if none failed."""
    options = parser().parse_args(arguments)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        return smoke(options)
    except Problem as problem:
        return fail(problem)
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return INTERRUPTED
    except (ClientError, BotoCoreError, OSError) as error:
        return fail(Problem(f"A request was not answered: {error}", "Look at your credentials and at the network."))


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="tools/smoke.py", description=__doc__)
    which = top.add_mutually_exclusive_group(required=True)
    which.add_argument("--stage", help="a stage of samconfig.toml; local = the local cloud of `make run`")
    which.add_argument("--stack-file", type=Path, help="the stack.json of another local cloud")
    top.add_argument("--bound", type=float, default=120.0, metavar="SECONDS", help="how long to wait for one effect")
    top.add_argument("--only", action="append", choices=[check.name for check in CHECKS], help="run only these checks")
    top.add_argument(
        "--with-faults",
        action="store_true",
        help="let each check that is ok make its mistakes, and fail if it does not find them; for the local cloud",
    )
    return top


def smoke(options: argparse.Namespace) -> int:
    began = time.monotonic()
    chosen = chosen_stage(options)
    run_id = temporary.new_id()
    documents = Documents(chosen, run_id)
    run = Run(chosen, run_id, options.bound, began + RUN_BOUND_S, lectern(chosen), documents)
    where = chosen.endpoint or f"AWS, {chosen.session.region_name}"
    say(f"Checking {chosen.name} ({where}). Everything temporary is named {run_id}.")
    temporary.remove_leftovers(chosen)
    results: list[Result] = []
    try:
        prepare(run)
        checks = [check for check in CHECKS if not options.only or check.name in options.only]
        for check in checks:
            results += report(examine(run, check, options.with_faults))
    finally:
        clean(run)
    return conclude(results, time.monotonic() - began)


def chosen_stage(options: argparse.Namespace) -> stage.Stage:
    if options.stack_file is not None:
        return stage.of_file(options.stack_file.resolve())
    if options.stage == stage.LOCAL_STAGE:
        return stage.of_file(ROOT / ".local" / "stack.json")
    return stage.of_config(options.stage)


def lectern(chosen: stage.Stage) -> Path:
    """The command `lectern`; `make cli` builds the one for AWS, and the build of the local cloud its own."""
    profile = "release" if chosen.endpoint is None else "debug"
    path = build.cargo_metadata_target() / build.target_triple() / profile / "lectern"
    if not path.exists():
        raise Problem(f"There is no {path}.", "Build it with `make cli`.")
    return path


def prepare(run: Run) -> None:
    say("  uploading documents and creating the temporary stack …")
    workflow.upload_early(run)
    run.documents.sign_in()
    run.temporary = temporary.create_stack(run)
    alarms.put_control_line(run)


def clean(run: Run) -> None:
    say("  removing everything temporary …")
    try:
        iam.remove_denial(run)
    finally:
        temporary.remove(run.stage, run.id)


def examine(run: Run, check: Check, with_faults: bool) -> Iterator[Result]:
    """The result of a check, and of each of its faults if they are wanted and the check is ok."""
    result = ask(run, check)
    yield result
    if not with_faults or result.outcome != OK:
        return
    for fault in check.faults:
        run.fault = fault
        try:
            found = ask(run, check)
        finally:
            run.fault = ""
        if found.outcome == FAILED:
            yield Result(check, FOUND, f"{fault}: {found.seen}", found.seconds)
        else:
            yield Result(check, FAILED, f"the check did not find that it {fault}: {found.seen}", found.seconds)


def ask(run: Run, check: Check) -> Result:
    began = time.monotonic()
    try:
        outcome, seen = OK, check.look(run)
    except Failed as failure:
        is_known = run.stage.endpoint is not None and failure.local
        outcome, seen = (NOT_CHECKED, f"{failure}; {failure.local}") if is_known else (FAILED, str(failure))
    except NotChecked as reason:
        outcome, seen = NOT_CHECKED, str(reason)
    # Whatever happens in one check, the others have their say.
    except Exception as error:  # noqa: BLE001
        outcome, seen = FAILED, f"the check broke off: {type(error).__name__}: {error}"
    return Result(check, outcome, seen, time.monotonic() - began)


def report(results: Iterator[Result]) -> Iterator[Result]:
    """Prints each result as soon as it is there."""
    for result in results:
        say(f"  {result.seconds:5.1f} s  {result.check.name:<11}  {result.outcome}: {result.seen}")
        yield result


def conclude(results: Sequence[Result], seconds: float) -> int:
    """Prints what the results mean; returns the exit code."""
    say()
    for outcome in (FAILED, NOT_CHECKED):
        for result in results:
            if result.outcome == outcome:
                say(f"{result.check.name}: {outcome}. {result.seen}")
                say(f"  Lectern builds on: {result.check.promise}")
                if outcome == FAILED:
                    say(f"  What that means: {result.check.meaning}")
    counts = {outcome: sum(result.outcome == outcome for result in results) for outcome in (OK, FAILED, NOT_CHECKED)}
    found = sum(result.outcome == FOUND for result in results)
    faults = f", {found} faults found" if found else ""
    rest = f"{counts[NOT_CHECKED]} not checked here{faults}, in {seconds:.0f} s."
    say(f"\n{counts[OK]} ok, {counts[FAILED]} failed, {rest}")
    return 1 if counts[FAILED] else 0
