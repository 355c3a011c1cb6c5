"""Write golden/: what LCE computes for each case, with its reference kernels wherever they run it.

    python runtime/tests/write_golden.py

It needs larq-compute-engine 0.16 (Linux x86-64, CPython 3.10 to 3.12) and no TensorFlow. The tests read what it wrote:
they need neither.
"""

from __future__ import annotations

import hashlib
import importlib.machinery
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
from sweep import CASES, Case

GOLDEN = Path(__file__).parent / "golden"
DIGESTS = GOLDEN / "lce.json"
"""By case: of what it is made of, and of each output. The oracle, which has the same bits, has the values."""
ARRAYS = GOLDEN / "lce.npz"
"""The outputs that have a tolerance, as `name/number`."""


def digest(*parts: bytes) -> str:
    """Of some bytes, in 32 hexadecimal digits."""
    return hashlib.sha256(b"".join(parts)).hexdigest()[:32]


def bits_of(output: np.ndarray) -> bytes:
    """Its bytes; zero without its sign, because the greatest of 0.0 and -0.0 may be either."""
    return (output + np.float32(0) if output.dtype == np.float32 else output).tobytes()


def fingerprint(case: Case) -> str:
    """Of everything that a case's outputs follow from, so that old golden outputs are told from wrong ones."""
    graph, parts = case.graph, []
    for tensor in graph.tensors:
        parts.append(repr((tensor.shape, tensor.type, tensor.scale, tensor.zero_point)).encode())
        parts.append(b"" if tensor.data is None else tensor.data.tobytes())
    for operator in graph.operators:
        parts.append(repr((operator.type, operator.inputs, sorted(operator.options.items()))).encode())
    parts.append(repr((graph.inputs, graph.outputs)).encode())
    return digest(*parts, *(feed.tobytes() for feed in case.feeds))


def golden_tolerance(case: Case) -> float:
    """Relative to the largest output: LCE's optimized kernels correct zero padding in float32."""
    return max(case.tolerance, 1e-5 if case.kernels == "optimized" else 0)


def is_lce_installed() -> bool:
    """Whether `lce_extension` has something to load."""
    return importlib.util.find_spec("larq_compute_engine") is not None


def lce_extension() -> ModuleType:
    """LCE's interpreter alone; its package would import TensorFlow."""
    package = importlib.util.find_spec("larq_compute_engine")
    if package is None or not package.submodule_search_locations:
        raise SystemExit("larq-compute-engine is not installed: pip install --no-deps larq-compute-engine==0.16.0")
    folder = Path(package.submodule_search_locations[0], "tflite", "python")
    loader = (importlib.machinery.ExtensionFileLoader, importlib.machinery.EXTENSION_SUFFIXES)
    spec = importlib.machinery.FileFinder(str(folder), loader).find_spec("interpreter_wrapper_lite")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def lce_outputs(extension: ModuleType, case: Case) -> list[np.ndarray]:
    """What LCE makes of a case, on one thread and without XNNPACK.

    Raises:
        RuntimeError: The kernels refuse it.
    """
    interpreter = extension.LiteInterpreter(case.graph.flatbuffer(), 1, case.kernels == "reference", False, False)
    outputs = interpreter.predict([np.ascontiguousarray(feed) for feed in case.feeds])
    return [np.asarray(output) for output in outputs]


def main() -> None:
    """Write all outputs, those that must have the same bits as digests."""
    extension = lce_extension()
    digests: dict[str, dict] = {}
    arrays: dict[str, np.ndarray] = {}
    for case in CASES:
        if not case.kernels:
            continue
        outputs = lce_outputs(extension, case)
        if golden_tolerance(case):
            arrays |= {f"{case.name}/{number}": output for number, output in enumerate(outputs)}
        digests[case.name] = {
            "case": fingerprint(case),
            "outputs": [] if golden_tolerance(case) else [digest(bits_of(output)) for output in outputs],
        }
    GOLDEN.mkdir(exist_ok=True)
    DIGESTS.write_text(json.dumps(digests, indent=1) + "\n")
    np.savez_compressed(ARRAYS, **arrays)
    print(f"{len(digests)} of {len(CASES)} cases")


if __name__ == "__main__":
    main()
