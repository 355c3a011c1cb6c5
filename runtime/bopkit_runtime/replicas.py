"""`Replicas`: a model several times, each in a thread of its own."""

from __future__ import annotations

import collections
import concurrent.futures
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
        self._replicas = [make() for _ in range(count)]
        self._threads = concurrent.futures.ThreadPoolExecutor(count - 1, thread_name_prefix="bopkit_runtime")

    def run(self, run_part: Callable[[int, Replica], T], count: int) -> list[T]:
        """The answers of `run_part(number, replica)` for the numbers below `count`, each given to who is free first.

        Raises:
            Exception: One that `run_part` raised, after all threads are done.
        """
        left = collections.deque(range(count))
        answers: list[Any] = [None] * count

        def work(replica: Replica) -> None:
            try:
                for number in _taken(left):
                    answers[number] = run_part(number, replica)
            except BaseException:
                left.clear()
                raise

        others = [self._threads.submit(work, replica) for replica in self._replicas[1:]]
        try:
            work(self._replicas[0])
        finally:
            concurrent.futures.wait(others)
        for each in others:
            each.result()
        return answers


def _taken(left: collections.deque[int]) -> Iterator[int]:
    while True:
        try:
            number = left.popleft()  # by one thread
        except IndexError:
            return
        yield number
