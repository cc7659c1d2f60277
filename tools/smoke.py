#!/usr/bin/env python3
"""Checks a deployed stack for what only AWS can show, on the command line: `tools/smoke.py --help`."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
VENV_PYTHON = HERE.parent / ".venv" / "bin" / "python"


def main() -> int:
    """Runs the command with the pinned tools of `.venv`."""
    if Path(sys.prefix).resolve() != VENV_PYTHON.parent.parent.resolve():
        if not VENV_PYTHON.exists():
            print("Failed: the tools are not installed.\nRun `make .venv` first.", file=sys.stderr)
            return 1
        os.execv(VENV_PYTHON, [str(VENV_PYTHON), str(Path(__file__).resolve()), *sys.argv[1:]])
    sys.path.insert(0, str(HERE))
    from smoke.cli import main as run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
