"""Runs a command of `tools/` with the pinned packages of `.venv`."""

import os
import sys
from pathlib import Path

VENV_PYTHON = Path(__file__).resolve().parent.parent / ".venv" / "bin" / "python"


def use_pinned_packages(script: str) -> None:
    """Starts the script again with the Python of `.venv`, unless it is the one that runs."""
    if Path(sys.prefix).resolve() == VENV_PYTHON.parent.parent.resolve():
        return
    if not VENV_PYTHON.exists():
        sys.exit("Failed: the tools are not installed.\nRun `make .venv` first.")
    os.execv(VENV_PYTHON, [str(VENV_PYTHON), str(Path(script).resolve()), *sys.argv[1:]])
