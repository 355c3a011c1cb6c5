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
        self.message = one_line(message)
        self.hint = one_line(hint)
        super().__init__(f"{self.message} {self.hint}".strip())


class UsageError(BopkitRuntimeError, ValueError):
    """A request that cannot be right: an unknown name, a number out of range, an array of another shape."""

    exit_code = 2


def first_line(error: BaseException) -> str:
    """The first line of an error's text without its full stop, or the name of its class where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def one_line(text: str) -> str:
    """A text with line breaks and other characters that print nothing, which names of files may hold, as escapes."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
