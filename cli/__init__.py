"""The command line: parse, call one library function, print its result."""

import sys

try:
    from bopkit.cli.main import main
except KeyboardInterrupt:  # the imports take long enough for a Ctrl-C
    print("Interrupted.", file=sys.stderr)
    sys.exit(130)

__all__ = ["main"]
