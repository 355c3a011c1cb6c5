"""Errors that bopkit expects: one clear line each, ending with what to type next.

The command line turns every `BopkitError` into that line on stderr and its `exit_code`; `--debug` shows the
traceback. Any other exception is a bug, or gets its clear line in `bopkit.failures`.
"""

from __future__ import annotations

from collections.abc import Iterable


class BopkitError(Exception):
    """A failure with a clear cause: a damaged file, a full disk, an export that misses its tolerance.

    Args:
        message: What went wrong, in one line.
        hint: What to type or do next, in one line.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = ""):
        self.message = message
        self.hint = hint
        super().__init__(f"{message} {hint}".strip())


class UsageError(BopkitError):
    """A request that cannot be right: an unknown name, a value out of range, options that exclude each other."""

    exit_code = 2


def unknown_name(kind: str, name: str, known: object, command: str) -> UsageError:
    """The error for a name that is in no catalogue; `command` lists the catalogue."""
    names = sorted(str(each) for each in known)  # type: ignore[attr-defined]
    guess = guess_text(name, names)
    return UsageError(f"Unknown {kind} {name!r}.", f"{guess}Known: {', '.join(names)}. List them with `{command}`.")


def guess_text(name: str, known: Iterable[str]) -> str:
    """`Did you mean 'mixup'? ` for the known name that is closest to a wrong one; empty where none is close."""
    import difflib

    close = difflib.get_close_matches(name, list(known), n=1)
    return f"Did you mean {close[0]!r}? " if close else ""


def first_line(error: BaseException) -> str:
    """The first line of an error's text without its full stop, or the name of its class where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
