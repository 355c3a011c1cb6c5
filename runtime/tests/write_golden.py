"""Write golden/: what LCE and LiteRT compute for each case, with their reference kernels wherever these run it.

    python runtime/tests/write_golden.py

It needs larq-compute-engine 0.16 (Linux x86-64, CPython 3.10 to 3.12), ai-edge-litert 2.3 and no TensorFlow. The tests
read what it wrote: they need none of them.

LiteRT's reference kernels define int8 operators. Its default kernels on x86-64 differ from them by one step, here and
there. Those of XNNPACK do in convolutions, depthwise ones, ADD and SUB of scales far apart, MUL, MEAN and QUANTIZE. The
optimized ones, for what XNNPACK does not take, do in convolutions, depthwise ones, dense layers, MEAN and QUANTIZE of
int8, and in the last bit of DEQUANTIZE. Pools, PRELU, RELU and its kin, CONCATENATION and PAD are the same in all.
"""

from __future__ import annotations

import hashlib
import importlib.machinery
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
from models import Graph
from sweep import CASES, Case

GOLDEN = Path(__file__).parent / "golden"
DIGESTS = GOLDEN / "lce.json"
"""By case: of what it is made of, and of each output. The oracle, which has the same bits, has the values."""
LITERT_DIGESTS = GOLDEN / "litert.json"
"""The same of the cases with LiteRT's reference kernels, without the outputs of LCE's operators."""
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
        axis = (tensor.quantized_dimension,) if len(tensor.scales) > 1 else ()
        parts.append(repr((tensor.shape, tensor.type, tensor.scale, tensor.zero_point, *axis)).encode())
        parts.append(b"" if tensor.data is None else tensor.data.tobytes())
    for operator in graph.operators:
        parts.append(repr((operator.type, operator.inputs, sorted(operator.options.items()))).encode())
    parts.append(repr((graph.inputs, graph.outputs)).encode())
    return digest(*parts, *(feed.tobytes() for feed in case.feeds))


def read_digests() -> dict[str, dict]:
    """Of all cases, by name."""
    return json.loads(DIGESTS.read_text()) | json.loads(LITERT_DIGESTS.read_text())


def without_lce(graph: Graph) -> Graph:
    """The operators that LiteRT has; nothing of them may depend on the others."""
    kept = Graph()
    kept.tensors, kept.inputs = graph.tensors, graph.inputs
    kept.operators = [operator for operator in graph.operators if not operator.type.startswith("Lce")]
    made = {operator.output for operator in kept.operators}
    return kept.output(*(output for output in graph.outputs if output in made))


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


def litert_outputs(case: Case) -> list[np.ndarray]:
    """What LiteRT's reference kernels make of a case, without LCE's operators."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=without_lce(case.graph).flatbuffer(),
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
        num_threads=1,
    )
    interpreter.allocate_tensors()
    for each, feed in zip(interpreter.get_input_details(), case.feeds):
        interpreter.set_tensor(each["index"], feed)
    interpreter.invoke()
    return [interpreter.get_tensor(each["index"]) for each in interpreter.get_output_details()]


def _write_litert_digests() -> None:
    digests = {
        case.name: {
            "case": fingerprint(case),
            "outputs": [digest(bits_of(output)) for output in litert_outputs(case)],
        }
        for case in CASES
        if case.kernels == "litert"
    }
    LITERT_DIGESTS.write_text(json.dumps(digests, indent=1) + "\n")
    print(f"LiteRT: {len(digests)} of {len(CASES)} cases")


def main() -> None:
    """Write all outputs, those that must have the same bits as digests."""
    extension = lce_extension()
    digests: dict[str, dict] = {}
    arrays: dict[str, np.ndarray] = {}
    for case in CASES:
        if case.kernels not in ("reference", "optimized"):
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
    print(f"LCE: {len(digests)} of {len(CASES)} cases")
    _write_litert_digests()


if __name__ == "__main__":
    main()
