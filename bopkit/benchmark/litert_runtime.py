"""Flatbuffers (.tflite) on stock LiteRT, with the operators of Larq Compute Engine from bopkit-runtime."""

from __future__ import annotations

from pathlib import Path

import bopkit_runtime
import numpy as np

from bopkit.benchmark.job import Timing
from bopkit.benchmark.report import StepTime
from bopkit.benchmark.tflite_runtime import Tensors, TfliteRuntime
from bopkit.benchmark.timing import NS_PER_MS, measure_latency
from bopkit.errors import BopkitError

OUTSIDE = "LiteRT: all other operators, and the calls"
"""The step that is the rest of the time."""


class LitertRuntime(TfliteRuntime):
    """LiteRT and the delegate of bopkit-runtime: what runs on a board, too."""

    name = "LiteRT"

    def _start(self, path: Path) -> Tensors:
        threads = self.settings["threads"]
        assert isinstance(threads, int)
        self._path = path
        self._interpreter = _interpreter(path, threads)
        described = self._interpreter.describe()
        self.settings.update(isa=described["isa"], claimed_operators=described["claimed_nodes"])
        inputs, outputs = self._interpreter.inputs, self._interpreter.outputs
        # An open batch counts as one example: that is how it is run.
        shapes = [(info.shape[0] or 1, *(size or 0 for size in info.shape[1:])) for info in inputs]
        return Tensors(shapes, [info.dtype for info in inputs], [info.dtype for info in outputs])

    def time_steps(self, picture: np.ndarray, timing: Timing) -> list[StepTime]:
        """Times of the delegate's steps, and last what LiteRT took for all else.

        Another interpreter with clocks inside runs them: the clocks of the one whose latency counts stay off.
        """
        threads = self.settings["threads"]
        assert isinstance(threads, int)
        interpreter = _interpreter(self._path, threads, profile=True)
        example = [self._to_input(picture)]
        measure_latency(lambda: interpreter.predict(example), timing.warmup_runs, 1, timing.time_limit_s, 0.0)
        before = _step_times_ns(interpreter)
        if not before:  # nothing of it is the delegate's
            return []
        latency = measure_latency(
            lambda: interpreter.predict(example), 0, timing.runs, timing.time_limit_s, timing.min_duration_s
        )
        steps = [
            StepTime(name, (after_ns - before_ns) / latency.runs / NS_PER_MS)
            for (name, after_ns), (_, before_ns) in zip(_step_times_ns(interpreter), before, strict=True)
        ]
        outside_ms = latency.latency_ms_mean - sum(step.latency_ms_mean for step in steps)
        return [*steps, StepTime(OUTSIDE, max(0.0, outside_ms))]

    def _answer(self, example: list[np.ndarray]) -> list[np.ndarray]:
        answer = self._interpreter.predict(example)
        assert isinstance(answer, list)
        return answer


def _interpreter(path: Path, threads: int, profile: bool = False) -> bopkit_runtime.Interpreter:
    try:
        return bopkit_runtime.Interpreter(path, num_threads=threads, profile=profile)
    except bopkit_runtime.BopkitRuntimeError as error:
        raise BopkitError(error.message, error.hint) from error


def _step_times_ns(interpreter: bopkit_runtime.Interpreter) -> list[tuple[str, int]]:
    """Name and time of all runs so far of each step of the delegate."""
    partitions = interpreter.describe()["partitions"]
    return [(step["name"], step["total_ns"]) for partition in partitions for step in partition["steps"]]
