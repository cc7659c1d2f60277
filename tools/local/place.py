"""The directory of one local cloud, with the files that commands leave for later commands."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .console import Problem

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Place:
    """The directory of one local cloud; the default is `.local`."""

    directory: Path

    @property
    def logs(self) -> Path:
        return self.directory / "logs"

    @property
    def stack_file(self) -> Path:
        return self.directory / "stack.json"

    @property
    def people_file(self) -> Path:
        return self.directory / "people.json"

    @property
    def processes_file(self) -> Path:
        return self.directory / "processes.json"

    @property
    def build(self) -> Path:
        return self.directory / "build"

    @property
    def cloud_state(self) -> Path:
        return self.directory / "ministack"

    @property
    def third_party_data(self) -> Path:
        return self.directory / "third-party"

    @property
    def third_party_secrets(self) -> Path:
        return self.directory / "third-party-secrets.json"

    def create(self) -> None:
        self.logs.mkdir(parents=True, exist_ok=True)

    def stack(self) -> dict[str, Any]:
        """The description of the stack that `up` wrote."""
        stack = read_json(self.stack_file)
        if stack is None:
            raise Problem(f"No stack is up in {self.directory}.", "Start one with `make run`.")
        return stack

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Prevents two commands from changing one local cloud at the same time."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise Problem(
                    f"Another command is using {self.directory}.", "Wait until it has ended, then try again."
                ) from error
            yield


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file; `None` if there is no such file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise Problem(f"{path} is damaged.", "Run `make stop`, then start again.") from error


def write_private_json(path: Path, value: Any) -> None:
    """Writes a file that only its owner can read. The file appears whole or not at all."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
        json.dump(value, out, indent=2)
        out.write("\n")
    draft.replace(path)
