"""The commands: up, run, upload, bench-upload, bench-events, latency, start, cost, guide, down, status."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from . import bench_events, bench_upload, cloud, cost, documents, fuzz, guide, latency, receiver, samples, stack, start
from .console import Problem, fail, say
from .place import ROOT, Place

INTERRUPTED = 130


def main(arguments: Sequence[str]) -> int:
    """Runs one command; a failure prints what failed and what to do about it."""
    options = parser().parse_args(arguments)
    place = Place(Path(options.dir).resolve())
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        return int(options.command(place, options))
    except Problem as problem:
        return fail(problem)
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return INTERRUPTED
    except (ClientError, BotoCoreError) as error:
        log = place.logs / "ministack.log"
        return fail(Problem(f"The local cloud refused a request: {error}", f"Its log is {log}."))
    except OSError as error:
        return fail(Problem(str(error), f"The logs are in {place.logs}."))


def parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--dir", default=str(ROOT / ".local"), help="where this local cloud keeps its files")
    deploying = argparse.ArgumentParser(add_help=False)
    deploying.add_argument(
        "--parameter", action="append", default=[], metavar="KEY=VALUE", help="a parameter of template.yaml"
    )
    top = argparse.ArgumentParser(prog="tools/local.py", description=stack.__doc__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    add = commands.add_parser("up", parents=[shared, deploying], help="start the local cloud and deploy the stack")
    add.set_defaults(command=up)
    add = commands.add_parser(
        "run", parents=[shared, deploying], help="up, then send the samples and check the state each one reaches"
    )
    add.set_defaults(command=run)
    add = commands.add_parser("upload", parents=[shared], help="send one more file through a running stack")
    add.add_argument("file", type=Path)
    add.add_argument("--submission", default="", help="the id of its submission; the default is a new submission")
    add.set_defaults(command=upload)
    add = commands.add_parser(
        "latency", parents=[shared], help="measure a document's time beyond the third party's delay"
    )
    add.set_defaults(command=measure_latency)
    add = commands.add_parser("bench-upload", parents=[shared], help="measure how fast a large file is uploaded")
    add.set_defaults(command=measure_upload)
    add = commands.add_parser("bench-events", parents=[shared], help="measure how fast events are delivered")
    add.set_defaults(command=measure_events)
    add = commands.add_parser("start", parents=[shared], help="measure the processor time that a function starts with")
    add.set_defaults(command=measure_start)
    add = commands.add_parser("cost", parents=[shared], help="count what a document costs on AWS")
    add.set_defaults(command=measure_cost)
    add = commands.add_parser("fuzz", parents=[shared], help="send generated requests to the API as each role")
    add.set_defaults(command=fuzz_api)
    add = commands.add_parser(
        "guide", parents=[shared], help="play the scenes of the operating guide and write their outputs into it"
    )
    add.set_defaults(command=play_guide)
    commands.add_parser("down", parents=[shared], help="end everything; the logs stay").set_defaults(command=down)
    commands.add_parser("status", parents=[shared], help="show what is running").set_defaults(command=status)
    return top


def up(place: Place, options: argparse.Namespace) -> int:
    other = stack.OtherThirdParty.from_environment(os.environ)
    parameters = parse_parameters(options.parameter)
    with place.locked():
        stack.up(place, parameters, other)
    return 0


def run(place: Place, options: argparse.Namespace) -> int:
    chosen = samples.read_samples()
    up(place, options)
    running = place.stack()
    api = documents.Evaluator(running)
    stamp = stack.timestamp()
    is_reference = running["thirdPartyAdminKey"] is not None
    # A stack whose third party is elsewhere sends no requests to this machine.
    subscribed = receiver.subscribed(documents.Client(running, "operator")) if is_reference else nullcontext()
    with subscribed as subscriber:
        say(f"\nState changes of the samples{', and the events that a subscriber gets' if subscriber else ''}:")
        sent = documents.send(running, [(s.path, f"{'bad' if s.bad else 'demo'}-{stamp}") for s in chosen])
        documents.follow(api, sent, callback_hint(running))
        wrong = receiver.check(subscriber, sent) if subscriber else []
    documents.show_records(api, sent)
    pairs = list(zip(chosen, sent, strict=True))
    wrong = samples.summarise(pairs, is_reference) + wrong
    if wrong:
        cloud.save_function_logs(running["endpoint"], place.logs)
        raise Problem("; ".join(wrong) + ".", look_at(place, sent))
    say("\nEvery sample reached its expected state. The stack is still up: `make upload FILE=…`, `make stop`.")
    say_where_to_sign_in(running)
    return 0


def say_where_to_sign_in(running: Mapping[str, Any]) -> None:
    say(f"\nOpen {running['endpoint']}/ in a browser and sign in:")
    for key, username, _ in stack.PEOPLE:
        say(f"  {username:<32}{running['people'][key]['password']}")


def upload(place: Place, options: argparse.Namespace) -> int:
    path: Path = options.file
    if not path.is_file():
        raise Problem(f"There is no file {path}.", "Give the path of a file: make upload FILE=…")
    running = place.stack()
    cloud.need(place, running)
    api = documents.Evaluator(running)
    submission = options.submission or f"upload-{stack.timestamp()}"
    say(f"State changes of {path.name} in submission {submission}:")
    sent = documents.send(running, [(path, submission)])
    documents.follow(api, sent, callback_hint(running))
    documents.show_records(api, sent)
    if sent[0].state == "Ready":
        return 0
    cloud.save_function_logs(running["endpoint"], place.logs)
    if sent[0].took_s is None:
        what = f"{path.name} is still {sent[0].outcome} after {documents.BOUND_S:.0f} s."
    else:
        what = f"{path.name} is {sent[0].outcome}. {sent[0].message}".rstrip()
    raise Problem(what, look_at(place, sent))


def measure_latency(place: Place, _options: argparse.Namespace) -> int:
    running = place.stack()
    cloud.need(place, running)
    latency.measure(running, documents.Evaluator(running))
    return 0


def measure_upload(place: Place, _options: argparse.Namespace) -> int:
    running = place.stack()
    cloud.need(place, running)
    bench_upload.measure(place, running)
    return 0


def measure_events(_place: Place, _options: argparse.Namespace) -> int:
    bench_events.measure()
    return 0


def measure_cost(place: Place, _options: argparse.Namespace) -> int:
    running = place.stack()
    cloud.need(place, running)
    cost.measure(running)
    return 0


def fuzz_api(place: Place, _options: argparse.Namespace) -> int:
    running = place.stack()
    cloud.need(place, running)
    fuzz.run(running)
    return 0


def measure_start(_place: Place, _options: argparse.Namespace) -> int:
    start.measure()
    return 0


def play_guide(place: Place, _options: argparse.Namespace) -> int:
    guide.play(place)
    return 0


def down(place: Place, _options: argparse.Namespace) -> int:
    with place.locked():
        stack.down(place)
    return 0


def status(place: Place, _options: argparse.Namespace) -> int:
    return 0 if stack.status(place) else 1


def callback_hint(running: Mapping[str, Any]) -> str:
    """The address that callbacks have to reach; empty for the reference third party, which reaches it."""
    if running["thirdPartyAdminKey"] is not None:
        return ""
    return (
        f"  No callback has come for a while. Callbacks have to reach {running['callbackBaseUrl']}/callbacks/…\n"
        "  If it cannot reach that address, open a tunnel and name its URL: make run CALLBACK_BASE_URL=https://…"
    )


def look_at(place: Place, sent: Sequence[documents.Sent]) -> str:
    ids = [document.document_id for document in sent if document.document_id]
    hint = f" Search them for a document id, such as {ids[0]}." if ids else ""
    return f"The functions' logs are in {place.logs / 'functions'}, the other logs in {place.logs}.{hint}"


def parse_parameters(given: Sequence[str]) -> Mapping[str, str]:
    parameters: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise Problem(f"--parameter {text} is not KEY=VALUE.", "For example: --parameter Delivery=pull")
        parameters[name] = value
    return parameters
