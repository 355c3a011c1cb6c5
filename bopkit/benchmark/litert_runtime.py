"""Flatbuffers (.tflite) on stock LiteRT, with the operators of Larq Compute Engine from bopkit-runtime."""

from __future__ import annotations

from pathlib import Path

import bopkit_runtime
import numpy as np

from bopkit.benchmark.tflite_runtime import Tensors, TfliteRuntime
from bopkit.errors import BopkitError


class LitertRuntime(TfliteRuntime):
    """LiteRT and the delegate of bopkit-runtime: what runs on a board, too."""

    name = "LiteRT"

    def _start(self, path: Path) -> Tensors:
        threads = self.settings["threads"]
        assert isinstance(threads, int)
        try:
            self._interpreter = bopkit_runtime.Interpreter(path, num_threads=threads)
        except bopkit_runtime.BopkitRuntimeError as error:
            raise BopkitError(error.message, error.hint) from error
        described = self._interpreter.describe()
        self.settings.update(isa=described["isa"], claimed_operators=described["claimed_nodes"])
        inputs, outputs = self._interpreter.inputs, self._interpreter.outputs
        # An open batch counts as one example: that is how it is run.
        shapes = [(info.shape[0] or 1, *(size or 0 for size in info.shape[1:])) for info in inputs]
        return Tensors(shapes, [info.dtype for info in inputs], [info.dtype for info in outputs])

    def _answer(self, example: list[np.ndarray]) -> list[np.ndarray]:
        answer = self._interpreter.predict(example)
        assert isinstance(answer, list)
        return answer
