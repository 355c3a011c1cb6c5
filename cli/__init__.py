"""The command line: parse, call one library function, print its result."""

from bopkit.cli.main import main

__all__ = ["main"]
