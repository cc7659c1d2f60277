"""Measures how fast one large file is uploaded to the local cloud: by the command, and by the page in a browser."""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .build import cargo_metadata_target, target_triple
from .command import signed_in
from .console import Problem, say
from .place import Place

if TYPE_CHECKING:
    from playwright.sync_api import CDPSession, Page

FILE_BYTES = 200_000_000
ROUNDS = 5
# How long one upload of the page may take.
BOUND_MS = 300_000.0
# A file type box of MP4, by which the API and receive-upload know the type; random bytes follow.
HEAD = bytes.fromhex("00000018") + b"ftypisom\0\0\0\0isommp42"


@dataclass(frozen=True)
class Measured:
    """One upload: from the start of the sending program to its end."""

    wall_s: float
    # Processor time of the sending program, without that of the local cloud.
    cpu_s: float
    # The share of all processors' time that was used, by anything: with nearly 1, the processors limit the upload.
    busy: float

    @property
    def megabytes_per_s(self) -> float:
        return FILE_BYTES / 1e6 / self.wall_s


Way = Callable[[Place, Mapping[str, Any], Path], Measured]


def by_command(place: Place, stack: Mapping[str, Any], file: Path) -> Measured:
    """Uploads with `lectern upload` in the release profile."""
    binary = cargo_metadata_target() / target_triple() / "release" / "lectern"
    with signed_in(binary, place.stack_file, stack["people"]["teacher"]) as command:
        machine_before, began = machine_seconds(), time.monotonic()
        process = command.start("upload", str(file), "--title", "Benchmark")
        _, status, used = os.wait4(process.pid, 0)
        wall_s = time.monotonic() - began
        busy = busy_share(machine_before, machine_seconds())
        if os.waitstatus_to_exitcode(status) != 0:
            raise Problem("`lectern upload` failed.", "Its output says why.")
        return Measured(wall_s, used.ru_utime + used.ru_stime, busy)


def by_page(_place: Place, stack: Mapping[str, Any], file: Path) -> Measured:
    """Uploads with a teacher's page, which is already open in Chromium: from the click to the end of the upload."""
    from playwright.sync_api import sync_playwright  # Only this way of this target needs a browser.

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        page = browser.new_page()
        sign_in(page, stack["pagesUrl"], stack["people"]["teacher"])
        page.goto(f"{stack['pagesUrl']}#/hand-in")
        page.get_by_label("Title of the lesson").fill("Benchmark")
        page.locator("input[name=files]").set_input_files(file)
        button = page.get_by_role("button", name="Hand in 1 file")
        button.and_(page.locator(":enabled")).wait_for()
        processes = browser.new_browser_cdp_session()
        cpu_before, machine_before, began = cpu_seconds(processes), machine_seconds(), time.monotonic()
        with page.expect_response(lambda answer: answer.url.endswith("/complete"), timeout=BOUND_MS) as complete:
            button.click()
        wall_s = time.monotonic() - began
        busy = busy_share(machine_before, machine_seconds())
        if not complete.value.ok:
            raise Problem(f"The page's upload ended with status {complete.value.status}.", "Open the page and try it.")
        measured = Measured(wall_s, cpu_seconds(processes) - cpu_before, busy)
        browser.close()
        return measured


def chromium() -> str:
    """The browser that the browser tests use, too."""
    names = (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    if not found:
        raise Problem("No Chromium is installed.", "Install Debian's package chromium, or set CHROMIUM to a browser.")
    return found


def sign_in(page: Page, pages_url: str, person: Mapping[str, str]) -> None:
    page.goto(pages_url)
    page.get_by_role("button", name="Sign in").click()
    page.locator("input[name=username]").fill(person["username"])
    page.locator("input[name=password]").fill(person["password"])
    page.locator("input[name=password]").press("Enter")
    page.get_by_role("button", name="Sign out").wait_for()


def cpu_seconds(browser: CDPSession) -> float:
    """The processor time of the browser's processes until now."""
    return sum(process["cpuTime"] for process in browser.send("SystemInfo.getProcessInfo")["processInfo"])


def machine_seconds() -> tuple[float, float]:
    """For how long all processors have worked, and for how long they could have, since the start of the machine."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    idle = ticks[3] + ticks[4]
    return sum(ticks) - idle, sum(ticks)


def busy_share(before: tuple[float, float], after: tuple[float, float]) -> float:
    return (after[0] - before[0]) / max(after[1] - before[1], 1.0)


# The ways to upload, each measured with the same file. The first one is what the others are compared with.
WAYS: dict[str, Way] = {"lectern upload": by_command, "the page": by_page}


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
        busy = statistics.median(measured.busy for measured in all_measured)
        compared = compared or rate
        share = f"{rate / compared:.0%}"
        say(
            f"{name}: median {rate:.1f} MB/s ({share}), {cpu_s:.2f} CPU seconds for {FILE_BYTES / 1e6:.0f} MB; "
            f"the processors were busy for {busy:.0%} of the time."
        )
