"""The command `lectern`, as a person of the local cloud uses it."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from . import cloud
from .console import Problem

SIGN_IN_BOUND_S = 30.0


class Command:
    """`lectern` on a running stack, signed in as one of its people."""

    def __init__(self, binary: Path, stack_file: Path, state: Path) -> None:
        self.arguments = [str(binary), "--stack-file", str(stack_file), "--state-dir", str(state)]
        # Without a display, `lectern login` opens no browser.
        hidden = ("DISPLAY", "WAYLAND_DISPLAY", "LECTERN_")
        self.env = {name: text for name, text in cloud.clean_environment().items() if not name.startswith(hidden)}

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        return subprocess.Popen([*self.arguments, *arguments], env=self.env, text=True, **options)

    def sign_in(self, person: Mapping[str, str]) -> None:
        """Runs `lectern login` and fills in the form of the page that it names, as a browser does."""
        process = self.start("login", stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        try:
            assert process.stderr is not None
            said = [process.stderr.readline() for _ in range(2)]
            if not said[1].startswith("http"):
                raise Problem(f"`lectern login` named no page: {''.join(said)}", "Run it by hand.")
            send_form(said[1].strip(), person)
            if process.wait(SIGN_IN_BOUND_S) != 0:
                raise Problem("`lectern login` failed.", "Run it by hand.")
        finally:
            process.kill()
            process.wait()


@contextlib.contextmanager
def signed_in(binary: Path, stack_file: Path, person: Mapping[str, str]) -> Iterator[Command]:
    """The command with a sign-in that is forgotten afterwards."""
    with tempfile.TemporaryDirectory(prefix="lectern-") as state:
        command = Command(binary, stack_file, Path(state))
        command.sign_in(person)
        yield command


def send_form(page: str, person: Mapping[str, str]) -> None:
    """Sends the sign-in form, whose hidden fields repeat the query of the page, and follows the redirect."""
    url = urllib.parse.urlsplit(page)
    fields = dict(urllib.parse.parse_qsl(url.query)) | {
        "username": person["username"],
        "password": person["password"],
    }
    # The redirect leads to this machine, so the proxies of the caller's environment do not apply.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    login = urllib.parse.urlunsplit((url.scheme, url.netloc, "/login", "", ""))
    try:
        with opener.open(login, urllib.parse.urlencode(fields).encode(), timeout=SIGN_IN_BOUND_S):
            pass
    except urllib.error.URLError as error:
        raise Problem(
            f"The sign-in page did not accept the sign-in: {error}", "Run `lectern login` by hand."
        ) from error
