"""Runs the flatbuffers of Larq Compute Engine (LCE) in stock LiteRT.

    from bopkit_runtime import Interpreter

    scores = Interpreter("model.tflite", num_threads=4).predict(images)

`load_delegate` is for LiteRT's own interpreter, `library_path` for programs in C and C++, and
`python -m bopkit_runtime model.tflite` times a model on this machine.
"""

from bopkit_runtime.errors import BopkitRuntimeError, UsageError
from bopkit_runtime.interpreter import Interpreter, TensorInfo
from bopkit_runtime.library import describe, isas, library_path, load_delegate

version = "0.1.0"
"""That of this distribution and of its native library."""

__version__ = version

__all__ = [
    "BopkitRuntimeError",
    "Interpreter",
    "TensorInfo",
    "UsageError",
    "describe",
    "isas",
    "library_path",
    "load_delegate",
    "version",
]
