"""Measures how fast events are delivered to endpoints that answer after 100 ms: by Lectern's code, and by two rivals.

The rivals are a Node client with keep-alive connections, and a worker of Celery with ten threads. All send the same
events to one sink (`crates/lectern-aws/examples/event_sink.rs`) and take turns in each round. All are measured from
outside, in the same way: the sink counts the events, and the kernel the processor time.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import plot
from .build import cargo_metadata_target, target_triple
from .console import Problem, say
from .place import ROOT
from .processes import held_port

DELAY_MS = 100
ROUNDS = 5
ISOLATION_ROUNDS = 5
# Before the measured window, connections are made and Node's compiler warms up.
WARM_UP_S = 1.5
WINDOW_S = 2.5
# A process may take so long beyond its own time.
BOUND_S = 30.0
SUBSCRIBERS = 20
IN_FLIGHT = 100
BATCH = 100
THREADS = 10
TASKS = 450
FILES = Path(__file__).with_name("bench_events")
PLOT = ROOT / "docs" / "events-throughput.svg"

# What the product promises.
LEAST_EVENTS_PER_S = 10_000
# Of single events. In batches, both do little more than read and write JSON.
LEAST_TIMES_NODE = 2.0
LEAST_TIMES_WORKER = 100.0
MOST_P99_CHANGE = 0.10
MOST_GROWTH = 0.10

# What the example runs in: subscribers, requests in flight to each, events in one request.
Shape = tuple[int, int, int]
SHAPES: tuple[Shape, ...] = (
    (1, 10, 1),
    (1, 100, 1),
    (5, 100, 1),
    (SUBSCRIBERS, IN_FLIGHT, 1),
    (1, 10, 10),
    (1, 10, BATCH),
    (5, 10, BATCH),
    (SUBSCRIBERS, IN_FLIGHT, BATCH),
)

OURS, OURS_BATCHED = "Lectern, single events", f"Lectern, batches of {BATCH}"
NODE, NODE_BATCHED = "Node, single events", f"Node, batches of {BATCH}"
WORKER = f"Celery, {THREADS} threads"


@dataclass(frozen=True)
class Measured:
    """What happened within a window of time."""

    seconds: float
    requests: int
    events: int
    # Processor time of the sending processes, and that of the sink.
    cpu_s: float
    sink_cpu_s: float
    # How much later than its delay the sink answered, on average.
    late_s: float
    body_bytes: int

    @property
    def events_per_s(self) -> float:
        return self.events / self.seconds

    @property
    def cpu_us(self) -> float:
        """Processor time for each event."""
        return 1e6 * self.cpu_s / self.events


class Sink:
    """The endpoints of all subscribers; a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.process = process
        self.url = process.stdout.readline().strip()
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def counts(self) -> dict[str, Any]:
        with self.opener.open(f"{self.url}/counts", timeout=10) as answer:
            return json.load(answer)

    def measure(self, pids: Sequence[int]) -> Measured:
        """Measures what the processes deliver within `WINDOW_S`."""
        before, cpu, sink_cpu, began = self.snapshot(pids)
        time.sleep(WINDOW_S)
        after, cpu_after, sink_cpu_after, ended = self.snapshot(pids)
        change = {name: after[name] - before[name] for name in before}
        if change["events"] == 0:
            raise Problem("No event arrived at the sink.", "Run the example by hand, see tools/local/bench_events.py.")
        return Measured(
            seconds=ended - began,
            requests=change["requests"],
            events=change["events"],
            cpu_s=cpu_after - cpu,
            sink_cpu_s=sink_cpu_after - sink_cpu,
            late_s=change["lateSeconds"] / change["requests"],
            body_bytes=change["bodyBytes"],
        )

    def snapshot(self, pids: Sequence[int]) -> tuple[dict[str, Any], float, float, float]:
        return self.counts(), sum(map(cpu_seconds, pids)), cpu_seconds(self.process.pid), time.monotonic()


def cpu_seconds(pid: int) -> float:
    """The processor time of a process until now, all its threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Bench:
    """The contestants, and what they have in common."""

    def __init__(self, sink: Sink, folder: Path, example: Path) -> None:
        self.sink = sink
        self.folder = folder
        self.example = example
        self.message_file = folder / "message.json"
        self.message_file.write_text(json.dumps(self.deliver({"mode": "message"})), encoding="utf-8")

    def start_example(self, run: Mapping[str, Any]) -> subprocess.Popen[str]:
        settings = {"LOG_FILTER": "info", "DEBUG_SUBMISSION": "-", "METRICS_NAMESPACE": "lectern"}
        return subprocess.Popen(
            [str(self.example), json.dumps(run)],
            env=dict(os.environ) | settings,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def deliver(self, run: Mapping[str, Any], bound_s: float = BOUND_S) -> Any:
        """Runs the example to its end; returns its result."""
        return result(self.start_example(run), bound_s)

    def target(self, shape: Shape, timeout_s: int = 10) -> dict[str, Any]:
        _, in_flight, batch = shape
        return {
            "url": self.sink.url,
            "messageFile": str(self.message_file),
            "maxInFlight": in_flight,
            "maxBatch": batch,
            "timeoutSeconds": timeout_s,
        }

    def ours(self, shape: Shape) -> Measured:
        run = {"mode": "throughput", "target": self.target(shape), "subscribers": shape[0]}
        return self.window(self.start_example(run | {"seconds": WARM_UP_S + WINDOW_S + 0.5}))

    def node(self, shape: Shape) -> Measured:
        run = self.target(shape) | {"subscribers": shape[0], "seconds": WARM_UP_S + WINDOW_S + 0.5}
        command = ["node", str(FILES / "client.mjs"), json.dumps(run)]
        return self.window(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))

    def window(self, process: subprocess.Popen[str]) -> Measured:
        """Measures a process that delivers for some seconds."""
        with killed_at_last(process):
            time.sleep(WARM_UP_S)
            if process.poll() is not None:
                result(process)
            measured = self.sink.measure([process.pid])
            result(process)
            return measured


def result(process: subprocess.Popen[str], bound_s: float = BOUND_S) -> Any:
    """The line of JSON with which a process ends."""
    with killed_at_last(process):
        try:
            _, said = process.communicate(timeout=bound_s)
        except subprocess.TimeoutExpired as error:
            raise Problem(f"{process.args} did not end within {bound_s:.0f} s.", "Run it by hand.") from error
        if process.returncode != 0:
            raise Problem(f"A contestant failed: {said.strip()}", "Run it by hand, see tools/local/bench_events.py.")
        return json.loads(said)


@contextlib.contextmanager
def killed_at_last(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    try:
        yield process
    finally:
        process.kill()
        process.wait()


class Worker:
    """Celery with Redis, as a user runs them; both wait for tasks between the rounds."""

    def __init__(self, bench: Bench, python: Path, redis: int, worker: int, redis_url: str) -> None:
        self.bench = bench
        self.python = python
        self.pids = (worker, redis)
        self.env = dict(os.environ) | {"REDIS_URL": redis_url}

    def measure(self) -> Measured:
        sink = self.bench.sink
        before = sink.counts()["events"]
        url = f"{sink.url}/events/worker"
        command = [str(self.python), str(FILES / "enqueue.py"), url, str(self.bench.message_file), str(TASKS)]
        subprocess.run(command, env=self.env, check=True, timeout=BOUND_S)
        measured = sink.measure(self.pids)
        bound = time.monotonic() + BOUND_S
        while sink.counts()["events"] < before + TASKS:
            if time.monotonic() > bound:
                raise Problem("The worker did not deliver all events.", f"Its log is {self.bench.folder}/worker.log.")
            time.sleep(0.05)
        return measured


@contextlib.contextmanager
def running_worker(bench: Bench) -> Iterator[Worker]:
    """Starts Redis without persistence and a worker, and waits until both are ready."""
    with held_port() as holder:
        port = holder.getsockname()[1]
    redis_url = f"redis://127.0.0.1:{port}/0"
    command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(bench.folder)]
    bin_folder = ROOT / ".local" / "bench-events" / "venv" / "bin"
    with contextlib.ExitStack() as stack:
        log = stack.enter_context((bench.folder / "redis.log").open("w"))
        redis = subprocess.Popen(command, stdout=log, text=True)
        stack.enter_context(killed_at_last(redis))
        log = stack.enter_context((bench.folder / "worker.log").open("w"))
        command = [str(bin_folder / "celery"), "--app", "worker", "worker"]
        command += ["--pool", "threads", "--concurrency", str(THREADS)]
        env = dict(os.environ) | {"REDIS_URL": redis_url}
        celery = subprocess.Popen(command, env=env, cwd=FILES, stdout=log, stderr=log, text=True)
        stack.enter_context(killed_at_last(celery))
        worker = Worker(bench, bin_folder / "python", redis.pid, celery.pid, redis_url)
        # The first tasks show that the worker is ready.
        worker.measure()
        yield worker


def measure() -> None:
    """Prints all figures, draws the plot, and fails if a promise does not hold."""
    for program, to_do in (("node", "Install Node 20."), ("redis-server", "Run `make redis`.")):
        if not shutil.which(program):
            raise Problem(f"{program} is missing.", to_do)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    folder = ROOT / ".local" / "bench-events" / "run"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    examples = cargo_metadata_target() / target_triple() / "release" / "examples"
    say(f"{os.cpu_count()} cores of {cpu_model()}, {platform.system()}; the endpoints answer after {DELAY_MS} ms.")
    with running_sink(examples / "event_sink") as sink:
        bench = Bench(sink, folder, examples / "deliver_events")
        found = take_turns(bench)
        show(found)
        shapes = {shape: bench.ours(shape) for shape in SHAPES}
        show_shapes(shapes)
        wrong = promises(found) + isolation(bench) + memory(bench)
    PLOT.write_text(drawn(found), encoding="utf-8")
    say(f"Drew {PLOT.relative_to(ROOT)}.")
    if wrong:
        raise Problem("; ".join(wrong) + ".", "Measure again on an idle machine, then look for what the change added.")


def cpu_model() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


@contextlib.contextmanager
def running_sink(program: Path) -> Iterator[Sink]:
    """The sink, which ends with its standard input."""
    command = [str(program), str(DELAY_MS)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with killed_at_last(process):
        yield Sink(process)


def take_turns(bench: Bench) -> dict[str, list[Measured]]:
    """Measures each contestant once in each round."""
    one, batched = (SUBSCRIBERS, IN_FLIGHT, 1), (SUBSCRIBERS, IN_FLIGHT, BATCH)
    with running_worker(bench) as worker:
        ways: dict[str, Callable[[], Measured]] = {
            OURS: lambda: bench.ours(one),
            NODE: lambda: bench.node(one),
            OURS_BATCHED: lambda: bench.ours(batched),
            NODE_BATCHED: lambda: bench.node(batched),
            WORKER: worker.measure,
        }
        found: dict[str, list[Measured]] = {name: [] for name in ways}
        for number in range(ROUNDS):
            for name, way in ways.items():
                measured = way()
                found[name].append(measured)
                rate, cpu = measured.events_per_s, measured.cpu_us
                say(f"  round {number + 1}: {name:<26}{rate:>9,.0f} events/s {cpu:>9,.1f} µs of CPU for each")
    return found


def show(found: Mapping[str, Sequence[Measured]]) -> None:
    """Prints the medians with their smallest and largest values."""
    say()
    say(f"{'':26}{'events/s':>29}{'CPU for each, µs':>31}{'of a core':>11}{'sink':>7}{'late':>9}{'body':>7}")
    for name, all_measured in found.items():
        rate = spread([measured.events_per_s for measured in all_measured], 0)
        cpu = spread([measured.cpu_us for measured in all_measured], 1)
        core = median(all_measured, lambda it: it.cpu_s / it.seconds)
        sink = median(all_measured, lambda it: it.sink_cpu_s / it.seconds)
        late_ms = 1000 * median(all_measured, lambda it: it.late_s)
        body = median(all_measured, lambda it: it.body_bytes / it.events)
        say(f"{name:26}{rate:>29}{cpu:>31}{core:>11.0%}{sink:>7.0%}{late_ms:>6.1f} ms{body:>5.0f} B")
    say()


def spread(values: Sequence[float], digits: int) -> str:
    middle, least, most = statistics.median(values), min(values), max(values)
    return f"{middle:,.{digits}f} ({least:,.{digits}f} to {most:,.{digits}f})"


def median(all_measured: Sequence[Measured], figure: Callable[[Measured], float]) -> float:
    return statistics.median(map(figure, all_measured))


def events_per_s(measured: Measured) -> float:
    return measured.events_per_s


def cpu_us(measured: Measured) -> float:
    return measured.cpu_us


def show_shapes(shapes: Mapping[Shape, Measured]) -> None:
    """Prints what concurrency, batches and the processor each contribute."""
    say("Lectern by the largest number of requests in flight, and of events in a request:")
    say(f"{'in flight':>11}{'events':>8}{'events/s':>11}{'requests/s':>12}{'CPU for an event':>18}{'of a core':>11}")
    for (subscribers, in_flight, batch), measured in shapes.items():
        row = f"{subscribers * in_flight:>11,}{batch:>8}{measured.events_per_s:>11,.0f}"
        row += f"{measured.requests / measured.seconds:>12,.0f}{measured.cpu_us:>15,.1f} µs"
        say(f"{row}{measured.cpu_s / measured.seconds:>11.0%}")
    say()


def promises(found: Mapping[str, Sequence[Measured]]) -> list[str]:
    """Prints the ratios; returns one line for each that is too small."""
    wrong = []
    rate = median(found[OURS], events_per_s)
    if rate < LEAST_EVENTS_PER_S:
        wrong.append(f"{rate:,.0f} events/s are less than {LEAST_EVENTS_PER_S:,}")
    for what, ours, theirs, least in (
        ("single events", OURS, NODE, LEAST_TIMES_NODE),
        ("batches", OURS_BATCHED, NODE_BATCHED, None),
    ):
        ratio = median(found[theirs], cpu_us) / median(found[ours], cpu_us)
        promised = f"; promised {least:.0f}" if least else ""
        say(f"Node takes {ratio:.1f} times as much CPU for an event, {what}{promised}.")
        if least and ratio < least:
            wrong.append(f"Node takes only {ratio:.1f} times as much CPU for an event ({what})")
    for what, ours in (("single events", OURS), ("batches", OURS_BATCHED)):
        ratio = median(found[ours], events_per_s) / median(found[WORKER], events_per_s)
        promised = f"{what}; promised {LEAST_TIMES_WORKER:.0f}"
        say(f"Lectern delivers {ratio:,.0f} times as many events as {WORKER}, {promised}.")
        if ratio < LEAST_TIMES_WORKER:
            wrong.append(f"Lectern delivers only {ratio:,.0f} times as many events as {WORKER} ({what})")
    return wrong


def isolation(bench: Bench) -> list[str]:
    """Compares the time of deliveries with and without a subscriber beside that answers nothing."""
    run = {"mode": "isolation", "target": bench.target((10, IN_FLIGHT, 1), timeout_s=5), "subscribers": 10}
    run |= {"events": 50, "intervalMs": 250, "seconds": 5}
    found: dict[bool, list[Mapping[str, Any]]] = {False: [], True: []}
    for _ in range(ISOLATION_ROUNDS):
        for has_stalled, results in found.items():
            results.append(bench.deliver(run | {"hasStalled": has_stalled}))
    say("\nFrom the message to the answer, ten subscribers with 200 events/s each:")
    p99 = {}
    for has_stalled, results in found.items():
        p50_ms, p99_ms = (spread([1000 * one[name] for one in results], 1) for name in ("p50Seconds", "p99Seconds"))
        p99[has_stalled] = statistics.median(one["p99Seconds"] for one in results)
        waiting = f"; {results[-1]['waitingForStalled']:,} events wait for it" if has_stalled else ""
        beside = "beside one that answers nothing" if has_stalled else "alone"
        say(f"  {beside:32} p50 {p50_ms} ms, p99 {p99_ms} ms{waiting}")
    change = p99[True] / p99[False] - 1
    say(f"The p99 changes by {change:+.1%}; promised less than {MOST_P99_CHANGE:.0%}.")
    return [f"a stalled subscriber changes the p99 of the others by {change:.1%}"] if change > MOST_P99_CHANGE else []


def memory(bench: Bench) -> list[str]:
    """Measures the memory while the events of a subscriber that answers nothing become more and more."""
    run = {"mode": "backlog", "target": bench.target((1, IN_FLIGHT, 1), timeout_s=2), "messages": 250}
    file = bench.folder / "backlog"
    found = bench.deliver(run | {"backlogFile": str(file), "intervalMs": 40})
    file.unlink()
    (few, before), *_, (many, after) = found["waitingAndRssKib"]
    growth = after / before - 1
    mib = f"{before / 1024:.1f} MiB, and with {many:,} it has {after / 1024:.1f} MiB ({growth:+.1%})"
    say(f"\nWith {few:,} events that wait for a subscriber that answers nothing, the process has {mib}.")
    say(f"At the peak it had {found['peakRssKib'] / 1024:.1f} MiB.")
    return [f"the memory grew by {growth:.1%} under a stalled subscriber"] if growth > MOST_GROWTH else []


def drawn(found: Mapping[str, Sequence[Measured]]) -> str:
    """The plot: events per second, and processor time for each event."""

    def panel(title: str, figure: Callable[[Measured], float]) -> plot.Panel:
        values = {name: median(all_measured, figure) for name, all_measured in found.items()}
        texts = {name: f"{value:,.0f}" if value > 50 else f"{value:.1f}" for name, value in values.items()}
        ours = (OURS, OURS_BATCHED)
        return plot.Panel(title, [plot.Row(name, values[name], texts[name], name in ours) for name in values])

    title = f"Delivering events to endpoints that answer after {DELAY_MS} ms"
    rates = panel("Events per second", events_per_s)
    return plot.draw(title, [rates, panel("Processor time for each event, in microseconds", cpu_us)])
