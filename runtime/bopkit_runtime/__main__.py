"""`python -m bopkit_runtime`."""

import sys

from bopkit_runtime.command import main

if __name__ == "__main__":
    sys.exit(main())
