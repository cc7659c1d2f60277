#!/usr/bin/env python3
"""Lectern's local cloud, on the command line: `tools/local.py --help`."""

import sys

from pinned import use_pinned_packages

if __name__ == "__main__":
    use_pinned_packages(__file__)
    from local.cli import main

    sys.exit(main(sys.argv[1:]))
