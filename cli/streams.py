"""Standard streams as shells and services hand them over: closed, without a reader, of an encoding of few characters.

`open_and_tolerant` runs before the first word is printed, `flushed` around all of them.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import select
import sys
from collections.abc import Iterator

BROKEN_PIPE = 141
"""The exit code of a tool whose reader is gone: shells count 128 and the number of SIGPIPE."""


def open_and_tolerant() -> None:
    """Open what is closed on nothing, and let no character that an encoding has not got end a command."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            _open_on_nothing(descriptor)
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(descriptor, mode, encoding="utf-8", closefd=False))
        elif name != "stdin" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_ERRORS)


def reader_is_gone() -> bool:
    """Whether nobody reads stdout or stderr any more, as behind `| head -1`."""
    if not hasattr(select, "poll"):
        return True  # on Windows: the question comes with a broken pipe, and most are these
    poll = select.poll()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # a stream of a test has no descriptor
            poll.register(stream.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def drop_what_is_left() -> None:
    """Send the rest of what is printed nowhere, so that nothing complains at the end of Python."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            os.dup2(nothing, stream.fileno())
    os.close(nothing)


@contextlib.contextmanager
def flushed() -> Iterator[None]:
    """Print all before Python ends: it would report a reader that is gone in its own words."""
    try:
        yield
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except BrokenPipeError:
            drop_what_is_left()
            sys.exit(BROKEN_PIPE)


def _open_on_nothing(descriptor: int) -> None:
    """Give a closed descriptor to the null device: else the next opened file gets it, and what C code prints."""
    try:
        os.fstat(descriptor)
    except OSError:
        nothing = os.open(os.devnull, os.O_RDWR)
        if nothing != descriptor:
            os.dup2(nothing, descriptor)
            os.close(nothing)


def _replaced(error: UnicodeError) -> tuple[str | bytes, int]:
    """The bytes of a file's name that are no text as they are, a question mark for any other character."""
    assert isinstance(error, UnicodeEncodeError)
    characters = error.object[error.start : error.end]
    written = (bytes([ord(each) & 0xFF]) if "\udc80" <= each <= "\udcff" else b"?" for each in characters)
    return b"".join(written), error.end


_ERRORS = "bopkit-replaced"
codecs.register_error(_ERRORS, _replaced)
