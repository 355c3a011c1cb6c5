"""Flatbuffers (.tflite) on stock LiteRT, with the operators of Larq Compute Engine from bopkit-runtime."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import bopkit_runtime
import numpy as np
from bopkit_runtime.litert import import_litert
from bopkit_runtime.timing import measure_steps

from bopkit.benchmark.results import StepTime
from bopkit.benchmark.runtimes.native_timing import steps_of
from bopkit.benchmark.runtimes.tflite import Tensors, TfliteRuntime
from bopkit.errors import BopkitError


class LitertRuntime(TfliteRuntime):
    """LiteRT with the delegate of bopkit-runtime, as on a device over ssh."""

    name = "LiteRT"

    def _start(self, path: Path) -> Tensors:
        threads = self.settings["threads"]
        assert isinstance(threads, int)
        try:
            self._interpreter = bopkit_runtime.Interpreter(path, num_threads=threads)
        except bopkit_runtime.BopkitRuntimeError as error:
            raise BopkitError(error.message, error.hint) from error
        self.library = Path(bopkit_runtime.library_path())
        described = self._interpreter.describe()
        litert = import_litert()
        self.settings.update(isa=described["isa"], claimed_operators=described["claimed_nodes"])
        self.settings["litert"] = f"{litert.name} {litert.version}"
        inputs, outputs = self._interpreter.inputs, self._interpreter.outputs
        # An open batch counts as one example: that is how it is run.
        shapes = [(info.shape[0] or 1, *(size or 0 for size in info.shape[1:])) for info in inputs]
        return Tensors(shapes, [info.dtype for info in inputs], [info.dtype for info in outputs])

    def steps(self, path: Path, runs: int, time_limit_s: float) -> list[StepTime]:
        """Steps of the delegate, and what LiteRT's own operators took, in order."""
        profile = measure_steps(path, int(self.settings["threads"]), runs=runs, max_seconds=time_limit_s)
        return steps_of(dataclasses.asdict(profile))

    def _answer(self, example: list[np.ndarray]) -> list[np.ndarray]:
        answer = self._interpreter.predict(example)
        assert isinstance(answer, list)
        return answer
