#!/usr/bin/env python3
"""Checks a deployed stack for what only AWS can show, on the command line: `tools/smoke.py --help`."""

import sys

from pinned import use_pinned_packages

if __name__ == "__main__":
    use_pinned_packages(__file__)
    from smoke.cli import main

    sys.exit(main(sys.argv[1:]))
