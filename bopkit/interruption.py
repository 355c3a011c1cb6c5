"""Ctrl-C, SIGTERM and SIGHUP while TensorFlow works in this process: it can swallow what their handlers raise."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextlib.contextmanager
def unswallowed() -> Iterator[Callable[[], None]]:
    """Make sure that what a handler of these signals raises within the block ends it, whatever becomes of it there.

    Code of libraries that Python calls through C++ can drop an exception, or end with another one because of it. The
    handlers of this process keep what they raise, and it is raised again where the block ends, in any way, and where
    the yielded function is called: do so between steps, and before anything is done for good.

    Only the main thread runs handlers; in any other one the block is as it was.
    """
    stops: list[BaseException] = []

    def check() -> None:
        if stops:
            raise stops[0]

    with contextlib.ExitStack() as stack:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                handler = signal.getsignal(number)
                if callable(handler):
                    signal.signal(number, _keeping(handler, stops))
                    stack.callback(signal.signal, number, handler)
        try:
            yield check
        except Exception:
            check()
            raise
        check()


def _keeping(handler: Callable[[int, FrameType | None], Any], stops: list[BaseException]) -> Callable[..., Any]:
    """The handler, with what it raises added to `stops`."""

    def keep(number: int, frame: FrameType | None) -> Any:
        try:
            return handler(number, frame)
        except BaseException as stop:
            stops.append(stop)
            raise

    return keep
