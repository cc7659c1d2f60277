"""The processes of one local cloud. Each leads its own process group, so that its children end with it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from .console import Problem, last_lines, say
from .place import Place, read_json, write_private_json

STOP_BOUND_S = 10.0


def start(
    place: Place, name: str, command: Sequence[str], env: Mapping[str, str], cwd: Path
) -> subprocess.Popen[bytes]:
    """Starts a process in its own group and records its id at once, so that `stop` finds it whatever happens next."""
    with (place.logs / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
        )
    known = remembered(place)
    known[name] = {"pid": process.pid, "started": birth(process.pid)}
    write_private_json(place.processes_file, known)
    return process


def remembered(place: Place) -> dict[str, dict[str, object]]:
    return read_json(place.processes_file) or {}


def pids(place: Place) -> dict[str, int]:
    """The ids of this local cloud's running processes, by name."""
    return {name: int(str(entry["pid"])) for name, entry in remembered(place).items() if is_alive(entry)}


def is_alive(entry: Mapping[str, object]) -> bool:
    """Whether the recorded process runs; the start time tells it from a later process with the same id."""
    born = birth(int(str(entry["pid"])))
    return born is not None and born == entry["started"]


def birth(pid: int) -> str | None:
    """When a process was started, in the system's own format; `None` if the process does not run."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] == "Z" else fields[19]
    if Path("/proc/self/stat").exists():
        return None
    shown = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return shown.stdout.strip() or None


def stop(place: Place, names: Sequence[str] | None = None) -> list[str]:
    """Ends the process groups of the named processes, or of all; returns the names of those that were running."""
    known = remembered(place)
    chosen = [name for name in known if names is None or name in names]
    ended = []
    for name in chosen:
        entry = known[name]
        pid = int(str(entry["pid"]))
        # A group can outlive its leader. A leader with another start time is a foreign process.
        if (birth(pid) is None or is_alive(entry)) and signal_group(pid, signal.SIGTERM):
            ended.append(name)
    deadline = time.monotonic() + STOP_BOUND_S
    for name in ended:
        pid = int(str(known[name]["pid"]))
        killed = False
        while group_is_there(pid):
            if time.monotonic() > deadline:
                # A process that survives SIGKILL is a zombie that its parent has not reaped.
                if killed:
                    break
                killed = signal_group(pid, signal.SIGKILL)
                deadline = time.monotonic() + 1.0
            reap(pid)
            time.sleep(0.05)
    write_private_json(place.processes_file, {name: entry for name, entry in known.items() if name not in chosen})
    return ended


def signal_group(pid: int, number: signal.Signals) -> bool:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
        return True
    return False


def group_is_there(pid: int) -> bool:
    try:
        os.killpg(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def reap(pid: int) -> None:
    """Reaps a child of this process, which would otherwise remain in its group as a zombie."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def held_port() -> socket.socket:
    """A bound socket that reserves a free port of the loopback interface until it is closed."""
    holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    return holder


def wait_until(
    what: str, ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path, bound_s: float
) -> None:
    """Waits until a started process is ready, and fails if the process ends or takes longer than `bound_s`."""
    started = time.monotonic()
    while not ready():
        code = process.poll()
        elapsed = time.monotonic() - started
        if code is not None or elapsed > bound_s:
            for line in last_lines(log, 15):
                say(f"    {line}")
            why = f"ended with exit code {code}" if code is not None else f"was not ready after {bound_s:.0f} s"
            raise Problem(f"{what} {why}.", f"Its output is in {log}.")
        time.sleep(0.05)
