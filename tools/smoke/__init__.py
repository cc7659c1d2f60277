"""Checks a deployed stack for what only AWS can show (docs/decisions/0042)."""
