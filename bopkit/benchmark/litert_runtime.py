"""Flatbuffers (.tflite) on stock LiteRT, with the operators of Larq Compute Engine from bopkit-runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import bopkit_runtime
import numpy as np

from bopkit.benchmark.tflite_runtime import TfliteRuntime
from bopkit.errors import BopkitError


class LitertRuntime(TfliteRuntime):
    """LiteRT and the delegate of bopkit-runtime: what runs on a board, too."""

    name = "LiteRT"

    def __init__(self, threads: int):
        super().__init__(threads)
        self.settings["isa"] = bopkit_runtime.isas()[0]

    def _start(self, path: Path) -> tuple[Sequence[Sequence[int]], list[np.dtype]]:
        threads = self.settings["threads"]
        assert isinstance(threads, int)
        try:
            self._interpreter = bopkit_runtime.Interpreter(path, num_threads=threads)
        except bopkit_runtime.BopkitRuntimeError as error:
            raise BopkitError(error.message, error.hint) from error
        self.settings["claimed_operators"] = self._interpreter.describe()["claimed_nodes"]
        # An open batch counts as one picture: that is how it is run.
        shapes = [(info.shape[0] or 1, *(size or 0 for size in info.shape[1:])) for info in self._interpreter.inputs]
        return shapes, [info.dtype for info in (*self._interpreter.inputs, *self._interpreter.outputs)]

    def _run(self, picture: np.ndarray) -> np.ndarray:
        scores = self._interpreter.predict(picture)
        assert isinstance(scores, np.ndarray)
        return scores
