"""An interruption that a library swallows ends the block all the same."""

from __future__ import annotations

import os
import signal
import sys
import threading

import pytest

from bopkit.interruption import interruptible


def interrupt_and_swallow(number: int = signal.SIGINT) -> None:
    """What TensorFlow does where Python code that it calls is interrupted."""
    try:
        os.kill(os.getpid(), number)
        signal.sigtimedwait([], 1)  # the handler runs before the next instruction
    except BaseException:
        return
    pytest.fail("no handler ran")


def test_a_swallowed_stop_ends_the_block_at_the_next_check_or_at_its_end() -> None:
    handler = signal.getsignal(signal.SIGINT)
    steps = []
    with pytest.raises(KeyboardInterrupt), interruptible() as check:
        check()
        interrupt_and_swallow()
        steps.append("swallowed")
        check()
        steps.append("went on")
    assert steps == ["swallowed"]
    with pytest.raises(KeyboardInterrupt), interruptible():
        interrupt_and_swallow()
    assert signal.getsignal(signal.SIGINT) is handler


def test_an_error_because_of_a_stop_is_the_stop() -> None:
    with pytest.raises(KeyboardInterrupt), interruptible():
        interrupt_and_swallow()
        raise AssertionError("a library is surprised")
    with pytest.raises(AssertionError, match="surprised"), interruptible():
        raise AssertionError("a library is surprised")


def test_sigterm_keeps_the_exit_code_of_its_handler() -> None:
    handler = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        with pytest.raises(SystemExit) as stop, interruptible():
            interrupt_and_swallow(signal.SIGTERM)
        assert stop.value.code == 143
    finally:
        signal.signal(signal.SIGTERM, handler)


def test_a_thread_has_no_handlers() -> None:
    done = []

    def work() -> None:
        with interruptible() as check:
            check()
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]
