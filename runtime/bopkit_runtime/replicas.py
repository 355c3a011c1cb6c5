"""`Replicas`: a model several times, each in a thread of its own."""

from __future__ import annotations

import collections
import functools
import queue
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from bopkit_runtime.replica import Replica

T = TypeVar("T")


class Replicas:
    """Replicas of a model that run parts of a batch at the same time: LiteRT lets go of Python while it runs.

    Args:
        make: Makes one of them.
        count: How many, 2 or more; the thread that calls `run` is that of the first.
    """

    def __init__(self, make: Callable[[], Replica], count: int) -> None:
        self._replicas = [make()]
        # An executor's futures take several times as long to hand over and to wait for.
        self._jobs: list[queue.SimpleQueue[Callable[[], None] | None]] = []
        for _ in range(count - 1):
            jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
            try:
                threading.Thread(target=_do, args=(jobs,), name="bopkit_runtime", daemon=True).start()
            except RuntimeError:  # the system has no more threads
                break
            weakref.finalize(self, jobs.put, None)
            self._jobs.append(jobs)
            self._replicas.append(make())

    def run(self, run_part: Callable[[int, Replica], T], count: int) -> list[T]:
        """The answers of `run_part(number, replica)` for the numbers below `count`, each given to who is free first.

        Raises:
            Exception: One that `run_part` raised, after all threads are done.
        """
        left = collections.deque(range(count))
        answers: list[Any] = [None] * count
        ended: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

        def work(replica: Replica) -> None:
            try:
                for number in _taken(left):
                    answers[number] = run_part(number, replica)
            except BaseException as error:
                left.clear()
                ended.put(error)
            else:
                ended.put(None)

        for jobs, replica in zip(self._jobs, self._replicas[1:]):
            jobs.put(functools.partial(work, replica))
        work(self._replicas[0])
        errors = [error for error in [ended.get() for _ in self._replicas] if error is not None]
        try:
            if errors:
                raise errors[0]
        finally:
            del errors  # which hold this frame
        return answers


def _do(jobs: queue.SimpleQueue[Callable[[], None] | None]) -> None:
    while (job := jobs.get()) is not None:
        job()
        del job  # it holds what would end this thread


def _taken(left: collections.deque[int]) -> Iterator[int]:
    while True:
        try:
            number = left.popleft()  # by one thread
        except IndexError:
            return
        yield number
