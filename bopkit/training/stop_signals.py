"""Ctrl-C and SIGTERM while a run trains: noticed between two steps, so that a checkpoint can be written."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType, TracebackType


class StopRequest:
    """Takes SIGINT and SIGTERM in the main thread; elsewhere it does nothing.

    The first signal is remembered; a second one ends the program at once.
    """

    def __init__(self) -> None:
        self._signal: int | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            # None: what was there was set by a library in C, and Python cannot set it again.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # type: ignore[arg-type]

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._signal is not None:
            self.leave()
        self._signal = number

    def __bool__(self) -> bool:
        return self._signal is not None

    def leave(self) -> None:
        """End the program as the signal asks for: KeyboardInterrupt, or exit code 143 for SIGTERM.

        A worker that stops because another one was told to leaves as if by SIGTERM.
        """
        if self._signal == signal.SIGINT:
            raise KeyboardInterrupt
        sys.exit(128 + signal.SIGTERM)
