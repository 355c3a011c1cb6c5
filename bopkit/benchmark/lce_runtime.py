"""Flatbuffers (.tflite), with or without binary operators, on larq-compute-engine's (LCE) interpreter."""

from __future__ import annotations

import importlib.machinery
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np

from bopkit import artifact
from bopkit.benchmark.runtime import Runtime, example_shape
from bopkit.data import get_preprocessing
from bopkit.errors import BopkitError

_EXTENSION = "interpreter_wrapper_lite"
_BINARY_OPERATORS = (b"LceBconv2d", b"LceQuantize")


class LceRuntime(Runtime):
    """LCE's interpreter, without TensorFlow in the process.

    Binary convolutions run as indirect BGEMM: on x86 four to five times faster than LCE's default, with equal
    bits. XNNPACK runs networks without binary operators, as it does in TensorFlow Lite by default. Beside
    binary ones it gains a tenth at most, and its other order of additions changes signs of values near zero.
    """

    name = "LCE"

    def __init__(self, threads: int):
        super().__init__(threads)
        self._extension = _import_extension()

    def open(self, path: Path) -> None:
        """Load a flatbuffer. A damaged one can end the process."""
        self._to_input: Callable[[np.ndarray], np.ndarray] = np.asarray
        flatbuffer = path.read_bytes()
        is_binary = any(operator in flatbuffer for operator in _BINARY_OPERATORS)
        self.settings.update(indirect_bgemm=True, xnnpack=not is_binary)
        try:
            self._interpreter = self._extension.LiteInterpreter(
                flatbuffer, self.settings["threads"], False, True, not is_binary
            )
        except RuntimeError as error:
            raise BopkitError(
                f"{path} does not load in LCE's interpreter.",
                "It is damaged, or uses operators that neither TensorFlow Lite nor LCE has: export it again.",
            ) from error
        self._describe(path)

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """All outputs for float32 [n, ...] an input, one example after the other."""
        taken = [self._to_input(each) for each in inputs]
        examples = ([each[index : index + 1] for each in taken] for index in range(len(taken[0])))
        answers = list(map(self._interpreter.predict, examples))
        return [np.concatenate(output) for output in zip(*answers, strict=True)]

    def _describe(self, path: Path) -> None:
        """Name inputs and outputs, after a check that they are floats, or that an only input takes pixels."""
        input_types, output_types = (
            [np.dtype(each) for each in types]
            for types in (self._interpreter.input_types, self._interpreter.output_types)
        )
        of_pixels = input_types == [np.uint8]
        if set(output_types) != {np.dtype(np.float32)} or not (of_pixels or set(input_types) == set(output_types)):
            types = ", ".join(map(str, (*input_types, *output_types)))
            raise BopkitError(
                f"{path} has inputs and outputs {types}, not float32.", "Convert it with float32 input and output."
            )
        shapes = [example_shape(tuple(shape), path) for shape in self._interpreter.input_shapes]
        names: tuple[Sequence[str], Sequence[str]] = (["input"], ["output"])
        if len(input_types) > 1 or len(output_types) > 1:
            names = artifact.read_flatbuffer(path).port_names()
        self.inputs, self.outputs = tuple(zip(names[0], shapes, strict=True)), tuple(names[1])
        if of_pixels:
            self._to_input = _pixels_of(path, shapes[0])


def _pixels_of(path: Path, shape: tuple[int, ...]) -> Callable[[np.ndarray], np.ndarray]:
    """What turns preprocessed pictures back into the pixels that a flatbuffer normalises itself.

    Raises:
        BopkitError: The flatbuffer does not say how it normalises them.
    """
    preprocessing = artifact.pixel_preprocessing(path)
    if preprocessing is None:
        raise BopkitError(
            f"{path} takes uint8 pixels and names no preprocessing.", "Convert it with float32 input and output."
        )
    return get_preprocessing(preprocessing, shape).to_pixels  # type: ignore[arg-type]


def _import_extension() -> ModuleType:
    """Import the interpreter's extension module alone: its package would import TensorFlow for nothing.

    Raises:
        BopkitError: larq-compute-engine is not installed.
    """
    package = importlib.util.find_spec("larq_compute_engine")
    if package is not None and package.submodule_search_locations:
        folder = Path(package.submodule_search_locations[0], "tflite", "python")
        loader = (importlib.machinery.ExtensionFileLoader, importlib.machinery.EXTENSION_SUFFIXES)
        spec = importlib.machinery.FileFinder(str(folder), loader).find_spec(_EXTENSION)
        if spec is not None and spec.loader is not None:
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    raise BopkitError(
        "A .tflite file needs larq-compute-engine, which is not installed; it exists for CPython 3.10 to "
        "3.12 on Linux x86-64, macOS and Windows.",
        "Measure the .tflite file on such a machine.",
    )
