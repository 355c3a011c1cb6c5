"""Running a flatbuffer that bopkit has just written, in the two runtimes that it is checked in.

A damaged file can crash the process: files of others run in a child (`bopkit.benchmark.runtimes`).
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import numpy as np

from bopkit.export.tflite.convert import import_lce
from bopkit.files import temporary_directory
from bopkit.keras2 import quiet_stderr

Inputs = tuple[np.ndarray, ...]
"""float32 or uint8 [n, ...], one an input of the network."""


def predict_flatbuffer(
    flatbuffer: bytes, inputs: np.ndarray | Inputs, use_indirect_bgemm: bool = True
) -> list[np.ndarray]:
    """Outputs of a flatbuffer in LCE's interpreter.

    Args:
        flatbuffer: The file's content.
        inputs: float32 or uint8 [n, ...] as the flatbuffer takes it, one an input; an only one may come bare.
        use_indirect_bgemm: Run LCE's indirect kernels, on x86-64 2 to 6 times faster than its default ones.

    Returns:
        One array [n, ...] an output.
    """
    import_lce()
    from larq_compute_engine.tflite.python.interpreter import Interpreter

    interpreter = Interpreter(flatbuffer, os.cpu_count() or 1, use_indirect_bgemm=use_indirect_bgemm)
    outputs = interpreter.predict(inputs if isinstance(inputs, np.ndarray) else list(inputs))
    return outputs if isinstance(outputs, list) else [outputs]


def has_native_runtime() -> bool:
    """Whether bopkit-runtime is installed."""
    return importlib.util.find_spec("bopkit_runtime") is not None


def predict_natively(flatbuffer: bytes, inputs: Inputs) -> list[np.ndarray]:
    """Outputs of a flatbuffer in LiteRT with bopkit-runtime; arguments and result as of `predict_flatbuffer`."""
    import bopkit_runtime

    with temporary_directory("native") as folder, quiet_stderr():  # LiteRT names each delegate that it makes
        path = Path(folder, "network.tflite")
        path.write_bytes(flatbuffer)
        outputs: list[np.ndarray] = bopkit_runtime.Interpreter(path, num_threads=os.cpu_count() or 1).predict(
            list(inputs)
        )
    return outputs


def predict_by_reference_kernels(flatbuffer: bytes, inputs: np.ndarray) -> list[np.ndarray]:
    """Outputs of a flatbuffer of one input in LiteRT's reference kernels, bopkit-runtime for LCE's operators alone.

    Args:
        flatbuffer: The file's content; it takes one picture at a time.
        inputs: float32 or uint8 [n, ...] as the flatbuffer takes it.

    Returns:
        One array [n, ...] an output.
    """
    import bopkit_runtime
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    with quiet_stderr():
        interpreter = Interpreter(
            model_content=flatbuffer,
            experimental_delegates=[bopkit_runtime.load_delegate(claim="binary")],
            experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
        )
        interpreter.allocate_tensors()
    (given,) = interpreter.get_input_details()
    wanted = [each["index"] for each in interpreter.get_output_details()]
    answers: list[list[np.ndarray]] = []
    for each in inputs:
        interpreter.set_tensor(given["index"], each[None])
        interpreter.invoke()
        answers.append([interpreter.get_tensor(index) for index in wanted])
    return [np.concatenate(output) for output in zip(*answers, strict=True)]
