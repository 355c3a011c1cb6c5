"""Errors that are expected: one clear line each, ending with what to type next."""

from __future__ import annotations


class BopkitRuntimeError(Exception):
    """A failure with a clear cause: a missing or damaged file, a LiteRT that is not there.

    Args:
        message: What went wrong, in one line.
        hint: What to type or do next, in one line.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        self.message = message
        self.hint = hint
        super().__init__(f"{message} {hint}".strip())


class UsageError(BopkitRuntimeError, ValueError):
    """A request that cannot be right: an unknown name, a number out of range, an array of another shape."""

    exit_code = 2


def first_line(error: BaseException) -> str:
    """The first line of an error's text without its full stop, or the name of its class where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
