"""What both runtimes of flatbuffers (.tflite) share: floats or pixels in, floats out, one example at a time."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bopkit.artifacts import artifact
from bopkit.benchmark.runtimes.runtime import Runtime, example_shape
from bopkit.data import get_preprocessing
from bopkit.errors import BopkitError


class Tensors(NamedTuple):
    """Shapes (with the batch of 1) and types of an interpreter's inputs, and types of its outputs."""

    input_shapes: Sequence[Sequence[int]]
    input_types: list[np.dtype]
    output_types: list[np.dtype]


class TfliteRuntime(Runtime):
    """Runs one example after the other, as devices do."""

    is_batched = False

    def open(self, path: Path) -> None:
        """Load a flatbuffer. A damaged one can end the process."""
        self._to_input: Callable[[np.ndarray], np.ndarray] = np.asarray
        tensors = self._start(path)
        of_pixels = tensors.input_types == [np.uint8]
        takes_floats = set(tensors.input_types) == {np.dtype(np.float32)}
        if set(tensors.output_types) != {np.dtype(np.float32)} or not (of_pixels or takes_floats):
            types = ", ".join(map(str, (*tensors.input_types, *tensors.output_types)))
            raise BopkitError(
                f"{path} has inputs and outputs {types}, not float32.",
                "bopkit measures networks of pictures: convert one with float32 input and output.",
            )
        shapes = [example_shape(tuple(shape), path) for shape in tensors.input_shapes]
        names: tuple[Sequence[str], Sequence[str]] = (["input"], ["output"])
        if len(shapes) > 1 or len(tensors.output_types) > 1:
            names = artifact.read_flatbuffer(path).signature_names()
        self.inputs, self.outputs = tuple(zip(names[0], shapes, strict=True)), tuple(names[1])
        if of_pixels:
            self._to_input = _pixels_of(path, shapes[0])

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """All outputs for float32 [n, ...] an input, one example after the other."""
        taken = [self._to_input(each) for each in inputs]
        examples = ([each[index : index + 1] for each in taken] for index in range(len(taken[0])))
        answers = list(map(self._answer, examples))
        return [np.concatenate(output) for output in zip(*answers, strict=True)]

    @abc.abstractmethod
    def _start(self, path: Path) -> Tensors:
        """Make the interpreter.

        Raises:
            BopkitError: It does not take the file.
        """

    @abc.abstractmethod
    def _answer(self, example: list[np.ndarray]) -> list[np.ndarray]:
        """All outputs for one example, [1, ...] an input."""


def _pixels_of(path: Path, shape: tuple[int, ...]) -> Callable[[np.ndarray], np.ndarray]:
    """The function from preprocessed pictures back to pixels, for a flatbuffer that normalises them itself.

    Raises:
        BopkitError: The flatbuffer does not say how it normalises them.
    """
    preprocessing = artifact.pixel_preprocessing(path)
    if preprocessing is None:
        raise BopkitError(
            f"{path} takes uint8 pixels, but its card names no preprocessing.",
            "Convert it with float32 input and output.",
        )
    return get_preprocessing(preprocessing, shape).to_pixels  # type: ignore[arg-type]
