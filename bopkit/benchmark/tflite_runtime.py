"""What the runtimes of flatbuffers (.tflite) have in common: one input of pictures or pixels, one output of scores."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from bopkit import artifact
from bopkit.benchmark.runtime import Runtime, picture_shape
from bopkit.data import get_preprocessing
from bopkit.errors import BopkitError


class TfliteRuntime(Runtime):
    """Runs one picture after the other: devices do, and batches would change what LCE's interpreter measures."""

    def load(self, path: Path) -> None:
        """Load a flatbuffer. A damaged one can end the process.

        Raises:
            BopkitError: It does not load, or has other inputs or outputs than one of float32 or uint8, and one of float32.
        """
        self._to_input: Callable[[np.ndarray], np.ndarray] = np.asarray
        shapes, types = self._start(path)
        if types not in ([np.float32, np.float32], [np.uint8, np.float32]):
            raise BopkitError(
                f"{path} has inputs and outputs {', '.join(map(str, types))}, not one of float32 each.",
                "Convert it with float32 input and output.",
            )
        self.input_shape = picture_shape(tuple(shapes[0]), path)
        if types[0] == np.uint8:
            self._to_input = _pixels_of(path, self.input_shape)

    def predict(self, pictures: np.ndarray) -> np.ndarray:
        """Scores of float32 [n, H, W, C], one picture after the other: float32 [n, classes]."""
        return np.concatenate([self._run(picture[None]) for picture in self._to_input(pictures)])

    @abc.abstractmethod
    def _start(self, path: Path) -> tuple[Sequence[Sequence[int]], list[np.dtype]]:
        """Make the interpreter; the shapes of its inputs, and the types of its inputs and outputs."""

    @abc.abstractmethod
    def _run(self, picture: np.ndarray) -> np.ndarray:
        """Scores of one picture, float32 or uint8 [1, H, W, C]: float32 [1, classes]."""


def _pixels_of(path: Path, shape: tuple[int, int, int]) -> Callable[[np.ndarray], np.ndarray]:
    """What turns preprocessed pictures back into the pixels that a flatbuffer normalises itself.

    Raises:
        BopkitError: The flatbuffer does not say how it normalises them.
    """
    preprocessing = artifact.pixel_preprocessing(path)
    if preprocessing is None:
        raise BopkitError(
            f"{path} takes uint8 pixels and names no preprocessing.", "Convert it with float32 input and output."
        )
    return get_preprocessing(preprocessing, shape).to_pixels
