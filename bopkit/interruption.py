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
def interruptible() -> Iterator[Callable[[], None]]:
    """Make sure that what a handler of these signals raises within the block ends it.

    Libraries that call Python from C++ can drop an exception, or raise another one because of it. What a handler raises
    is remembered. It is raised again at the end of the block, and wherever the yielded function is called: do so
    between steps, and before anything that cannot be undone.

    Only the main thread runs handlers: in any other one this does nothing.
    """
    interruptions: list[BaseException] = []

    def check() -> None:
        if interruptions:
            raise interruptions[0]

    with contextlib.ExitStack() as stack:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                handler = signal.getsignal(number)
                if callable(handler):
                    signal.signal(number, _recording(handler, interruptions))
                    stack.callback(signal.signal, number, handler)
        try:
            yield check
        except Exception:
            check()
            raise
        check()


def _recording(
    handler: Callable[[int, FrameType | None], Any], interruptions: list[BaseException]
) -> Callable[..., Any]:
    """The handler, with what it raises added to `interruptions`."""

    def record(number: int, frame: FrameType | None) -> Any:
        try:
            return handler(number, frame)
        except BaseException as interruption:
            interruptions.append(interruption)
            raise

    return record
