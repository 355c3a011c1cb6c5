"""Flatbuffers (.tflite), with or without binary operators, on larq-compute-engine's (LCE) interpreter."""

from __future__ import annotations

import importlib.machinery
import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np

from bopkit.benchmark.runtimes.tflite import Tensors, TfliteRuntime
from bopkit.errors import BopkitError

_EXTENSION = "interpreter_wrapper_lite"
_BINARY_OPERATORS = (b"LceBconv2d", b"LceQuantize")


class LceRuntime(TfliteRuntime):
    """LCE's interpreter, without TensorFlow in the process.

    Binary convolutions run as indirect BGEMM: on x86 four to five times faster than LCE's default, with equal
    bits. XNNPACK runs networks without binary operators, as it does in TensorFlow Lite by default. Beside
    binary ones it gains a tenth at most, and its other order of additions changes signs of values near zero.
    """

    name = "LCE"
    releases_lock = False

    def __init__(self, threads: int):
        super().__init__(threads)
        self._extension = _import_extension()
        self.library = Path(str(self._extension.__file__))

    def _start(self, path: Path) -> Tensors:
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
                "It is damaged, or has operators that neither TensorFlow Lite nor LCE knows: convert it without.",
            ) from error
        input_types, output_types = (
            [np.dtype(each) for each in types]
            for types in (self._interpreter.input_types, self._interpreter.output_types)
        )
        return Tensors(self._interpreter.input_shapes, input_types, output_types)

    def _answer(self, example: list[np.ndarray]) -> list[np.ndarray]:
        answer: list[np.ndarray] = self._interpreter.predict(example)
        return answer


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
        "The runtime lce needs larq-compute-engine, which is not installed; it exists for CPython 3.10 to "
        "3.12 on Linux x86-64, macOS and Windows.",
        "Type `pip install ./runtime` in a checkout of bopkit for the runtime litert.",
    )
