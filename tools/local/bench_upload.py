"""Measures how fast one large file is uploaded to the local cloud: by the command, and by every other way in `WAYS`."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .build import cargo_metadata_target, target_triple
from .command import signed_in
from .console import Problem, say
from .place import Place

FILE_BYTES = 200_000_000
ROUNDS = 3
# A file type box of MP4, by which the API and receive-upload know the type; random bytes follow.
HEAD = bytes.fromhex("00000018") + b"ftypisom\0\0\0\0isommp42"


@dataclass(frozen=True)
class Measured:
    """One upload: from the start of the sending program to its end."""

    wall_s: float
    # Processor time of the sending program, without that of the local cloud.
    cpu_s: float

    @property
    def megabytes_per_s(self) -> float:
        return FILE_BYTES / 1e6 / self.wall_s


Way = Callable[[Place, Mapping[str, Any], Path], Measured]


def by_command(place: Place, stack: Mapping[str, Any], file: Path) -> Measured:
    """Uploads with `lectern upload` in the release profile."""
    binary = cargo_metadata_target() / target_triple() / "release" / "lectern"
    with signed_in(binary, place.stack_file, stack["people"]["teacher"]) as command:
        began = time.monotonic()
        process = command.start("upload", str(file), "--title", "Benchmark")
        _, status, used = os.wait4(process.pid, 0)
        wall_s = time.monotonic() - began
        if os.waitstatus_to_exitcode(status) != 0:
            raise Problem("`lectern upload` failed.", "Its output says why.")
        return Measured(wall_s, used.ru_utime + used.ru_stime)


# The ways to upload, each measured with the same file. The first one is what the others are compared with. A way by the
# pages drives a browser and adds itself here.
WAYS: dict[str, Way] = {"lectern upload": by_command}


def measure(place: Place, stack: Mapping[str, Any]) -> None:
    """Uploads the file `ROUNDS` times in each way, in turn, and prints the medians."""
    with tempfile.TemporaryDirectory(prefix="lectern-") as folder:
        file = Path(folder) / "benchmark.mp4"
        file.write_bytes(HEAD + os.urandom(FILE_BYTES - len(HEAD)))
        found: dict[str, list[Measured]] = {name: [] for name in WAYS}
        for number in range(ROUNDS):
            for name, way in WAYS.items():
                measured = way(place, stack, file)
                found[name].append(measured)
                rate = measured.megabytes_per_s
                say(f"  {name}, upload {number + 1}: {rate:.1f} MB/s, {measured.cpu_s:.2f} CPU seconds")
    compared = 0.0
    for name, all_measured in found.items():
        rate = statistics.median(measured.megabytes_per_s for measured in all_measured)
        cpu_s = statistics.median(measured.cpu_s for measured in all_measured)
        compared = compared or rate
        share = f"{rate / compared:.0%}"
        say(f"{name}: median {rate:.1f} MB/s ({share}), {cpu_s:.2f} CPU seconds for {FILE_BYTES / 1e6:.0f} MB.")
