"""Flatbuffers (.tflite), with or without binary operators, on larq-compute-engine's (LCE) interpreter."""

from __future__ import annotations

import importlib.machinery
import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np

from bopkit import artifact
from bopkit.benchmark.runtime import Runtime, picture_shape
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

    def load(self, path: Path) -> None:
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
        self.input_shape = self._checked_input_shape(path)

    def predict(self, pictures: np.ndarray) -> np.ndarray:
        """Scores of float32 [n, H, W, C], one picture after the other: float32 [n, classes]."""
        inputs = self._to_input(pictures)
        return np.concatenate([self._interpreter.predict([picture[None]])[0] for picture in inputs])

    def _checked_input_shape(self, path: Path) -> tuple[int, int, int]:
        types = [np.dtype(each) for each in (*self._interpreter.input_types, *self._interpreter.output_types)]
        if types not in ([np.float32, np.float32], [np.uint8, np.float32]):
            raise BopkitError(
                f"{path} has inputs and outputs {', '.join(map(str, types))}, not one of float32 each.",
                "Convert it with float32 input and output.",
            )
        shape = picture_shape(tuple(self._interpreter.input_shapes[0]), path)
        if types[0] == np.uint8:
            self._to_input = _pixels_of(path, shape)
        return shape


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
