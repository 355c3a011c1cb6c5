"""How library functions tell a person what they are doing."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str], None]
"""Takes one line for a person; the command line prints it on stderr."""


def silent(line: str) -> None:
    """Say nothing: what functions use when no `progress` is given."""
