"""Batches of pictures on all cores: one runtime a core, on threads.

A runtime that keeps Python's lock while it computes would stop the other threads: it gets a process of its own.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import math
import os
import queue
import struct
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from bopkit.benchmark.runtimes.runtime import Runtime, make_runtime
from bopkit.errors import BopkitError
from bopkit.python_process import PythonProcess

T = TypeVar("T")

_START = "from bopkit.benchmark.runtimes.parallel import serve; serve(*sys.argv[1:])"
_COUNT = struct.Struct("<Q")


class RuntimeDiedError(BopkitError):
    """The process of a runtime died: what it computed before is right."""


class Predictor(Protocol):
    """What computes scores: a runtime, or a process that holds one."""

    input_shape: tuple[int, int, int]

    def predict(self, pictures: np.ndarray) -> np.ndarray:
        """float32 [n, classes] of float32 [n, H, W, C]."""


def predicted(
    predictors: Sequence[Predictor], batches: Iterable[tuple[np.ndarray, T]]
) -> Iterator[tuple[np.ndarray, T]]:
    """Compute the scores of batches, several at a time, and yield them in the order of the batches.

    Besides those that are computed, one batch each waits: memory does not grow with their number.

    Args:
        predictors: Each computes one batch at a time.
        batches: float32 [n, H, W, C], and anything that belongs to it.

    Yields:
        float32 [n, classes], and what belongs to it.
    """
    idle: queue.SimpleQueue[Predictor] = queue.SimpleQueue()
    for predictor in predictors:
        idle.put(predictor)

    def predict(pictures: np.ndarray) -> np.ndarray:
        predictor = idle.get()
        try:
            return predictor.predict(pictures)
        finally:
            idle.put(predictor)

    pending: collections.deque[tuple[concurrent.futures.Future[np.ndarray], T]] = collections.deque()
    with concurrent.futures.ThreadPoolExecutor(len(predictors)) as pool:
        try:
            for pictures, companion in batches:
                pending.append((pool.submit(predict, pictures), companion))
                if len(pending) == 2 * len(predictors):
                    scores, companion = pending.popleft()
                    yield scores.result(), companion
            while pending:
                scores, companion = pending.popleft()
                yield scores.result(), companion
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@contextlib.contextmanager
def one_a_core(runtime: Runtime, kind: str, name: str | None, path: Path, cores: int) -> Iterator[Sequence[Predictor]]:
    """Yield what computes batches on all cores: a loaded runtime, and more of its kind where it takes one core.

    Args:
        runtime: Has loaded the artifact.
        kind: Kind of the artifact.
        name: Name of the runtime, as `make_runtime` takes it.
        path: The artifact.
        cores: How many cores to use.

    Raises:
        BopkitError: A runtime does not start.
    """
    if runtime.is_batched or cores == 1:
        yield [runtime]
    elif runtime.releases_lock:
        others = [make_runtime(kind, 1, name) for _ in range(cores - 1)]
        for other in others:
            other.load(path)
        yield [runtime, *others]
    else:
        with contextlib.ExitStack() as stack:
            yield [
                stack.enter_context(contextlib.closing(RuntimeProcess(runtime.input_shape, kind, name, path)))
                for _ in range(cores)
            ]


class RuntimeProcess:
    """A runtime in a process of its own, which ends with this one, however this one ends.

    Args:
        input_shape: Height, width, channels that the artifact takes.
        kind: Kind of the artifact.
        name: Name of the runtime; None for the default.
        path: The artifact.
    """

    def __init__(self, input_shape: tuple[int, int, int], kind: str, name: str | None, path: Path):
        self.input_shape = input_shape
        self._path = path
        # In the group of the measuring process, with which it is killed.
        self._process = PythonProcess(_START, kind, name or "", str(path), own_group=False)

    def predict(self, pictures: np.ndarray) -> np.ndarray:
        """float32 [n, classes] of float32 [n, H, W, C].

        Raises:
            RuntimeDiedError: The process died.
        """
        self._process.send(_COUNT.pack(len(pictures)), np.ascontiguousarray(pictures, np.float32).data)
        size_bytes = self._process.output.read(_COUNT.size)
        answer = self._process.output.read(*_COUNT.unpack(size_bytes)) if len(size_bytes) == _COUNT.size else b""
        if not answer:
            raise RuntimeDiedError(
                f"A process that ran {self._path} {self._process.describe_end()}.",
                "The file is damaged, or memory ran out: export it again, or use a machine with more memory.",
            )
        return np.frombuffer(answer, np.float32).reshape(len(pictures), -1)

    def close(self) -> None:
        """End the process."""
        self._process.close()


def serve(kind: str, name: str, path: str) -> None:
    """The side of the process of a `RuntimeProcess`: answer batches until the other side is gone."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no answer
    runtime = make_runtime(kind, 1, name or None)
    runtime.load(Path(path))
    batches = sys.stdin.buffer
    while len(header := batches.read(_COUNT.size)) == _COUNT.size:
        shape = (*_COUNT.unpack(header), *runtime.input_shape)
        pictures = np.frombuffer(batches.read(4 * math.prod(shape)), np.float32)
        if pictures.size != math.prod(shape):
            return  # the other side was killed while it wrote
        scores = np.ascontiguousarray(runtime.predict(pictures.reshape(shape)), np.float32)
        answers.write(_COUNT.pack(scores.nbytes))
        answers.write(scores.data)
        answers.flush()
