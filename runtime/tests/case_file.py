"""Writes the cases of `sweep` for the host in `host/`, which runs them without Python and LiteRT.

`python case_file.py FILE [NAME...]` writes all of them, or some; host/case.h says how they lie in the file.
"""

from __future__ import annotations

import copy
import struct
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import oracle
from flatbuffers import flexbuffers
from models import Graph, Operator
from sweep import CASES, Case

_TYPES = {"float32": 1, "int32": 2, "uint8": 3, "bool": 6, "int8": 9, "float16": 10}
_MMAP_RO, _ARENA_RW = 1, 2
_CUSTOM = 32
_SAME, _VALID = 1, 2  # of TfLitePadding; a flatbuffer counts from 0

# Builtin operators: their numbers, and the fields of their structs in order.
_CONV = ("padding", "stride_width", "stride_height", "activation", "dilation_width", "dilation_height")
_DEPTHWISE = (*_CONV[:3], "depth_multiplier", *_CONV[3:])
_POOL = ("padding", "stride_width", "stride_height", "filter_width", "filter_height", "activation")
_BUILTIN: dict[str, tuple[int, tuple[str, ...]]] = {
    "ADD": (0, ("activation",)),
    "AVERAGE_POOL_2D": (1, _POOL),
    "CONCATENATION": (2, ("axis", "activation")),
    "CONV_2D": (3, _CONV),
    "DEPTHWISE_CONV_2D": (4, _DEPTHWISE),
    "DEQUANTIZE": (6, ()),
    "FULLY_CONNECTED": (9, ("activation", "weights_format", "keep_num_dims")),
    "LOGISTIC": (14, ()),
    "MAX_POOL_2D": (17, _POOL),
    "MUL": (18, ("activation",)),
    "RELU": (19, ()),
    "RELU_N1_TO_1": (20, ()),
    "RELU6": (21, ()),
    "RESHAPE": (22, ()),
    "SOFTMAX": (25, ("beta",)),
    "PAD": (34, ()),
    "MEAN": (40, ("keep_dims",)),
    "SUB": (41, ("activation",)),
    "SPLIT": (49, ("num_splits",)),
    "CAST": (53, ("in_data_type", "out_data_type")),
    "PRELU": (54, ()),
    "MAXIMUM": (55, ()),
    "NEG": (59, ()),
    "ABS": (101, ()),
    "QUANTIZE": (114, ()),
}


def _words(values: Iterable[int]) -> bytes:
    numbers = list(values)
    return struct.pack(f"<{len(numbers) + 1}i", len(numbers), *numbers)


def _blob(data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + data + bytes(-len(data) % 4)


def _list(items: Iterable, write: Callable[..., bytes]) -> bytes:
    parts = [write(item) for item in items]
    return struct.pack("<I", len(parts)) + b"".join(parts)


def _tensor(tensor) -> bytes:
    data = b"" if tensor.data is None else np.ascontiguousarray(tensor.data).tobytes()
    allocation = _ARENA_RW if tensor.data is None else _MMAP_RO
    # As LiteRT, which gives one scale of several nowhere but in the list.
    scale, zero_point = (tensor.scales[0], tensor.zero_point) if len(tensor.scales) == 1 else (0.0, 0)
    scales = np.array(tensor.scales, np.float32).view(np.int32)
    parts = [struct.pack("<2i", _TYPES[tensor.type], allocation), _words(tensor.shape)]
    parts += [struct.pack("<fi", scale, zero_point), _words(scales)]
    parts += [_words([tensor.zero_point] * len(scales)), struct.pack("<i", tensor.quantized_dimension), _blob(data)]
    return b"".join(parts)


def _node(operator: Operator) -> bytes:
    code, fields = _BUILTIN.get(operator.type, (_CUSTOM, ()))
    name = options = b""
    parameters = []
    if code == _CUSTOM:
        name = operator.type.encode()
        options = bytes(flexbuffers.Dumps(operator.options)) if operator.options else b""
    else:
        parameters = [operator.options.get(field, 1 if field.startswith("dilation") else 0) for field in fields]
        if fields == ("beta",):
            parameters = [struct.unpack("<i", struct.pack("<f", operator.options.get("beta", 1.0)))[0]]
        if "padding" in fields:
            parameters[0] = _VALID if operator.options["padding"] else _SAME
    parts = [struct.pack("<i", code), _blob(name), _blob(options), _words(parameters)]
    return b"".join([*parts, _words(operator.inputs), _words([operator.output, *operator.more_outputs])])


def _values(tensor: int, value: np.ndarray) -> bytes:
    return struct.pack("<i", tensor) + _words(value.shape) + _blob(np.ascontiguousarray(value).tobytes())


def oracle_run(graph: Graph, feeds: list[np.ndarray]) -> dict[int, np.ndarray]:
    """One run, by tensor: its inputs, and what the oracle computes of them."""
    # What LCE's operators compute the host needs of outputs only: it runs none of them itself.
    probe = copy.copy(graph)
    probe.outputs = [
        output
        for operator in graph.operators
        for output in (operator.output, *operator.more_outputs)
        if not operator.type.startswith("Lce") or output in graph.outputs
    ]
    return dict(zip(graph.inputs, feeds)) | dict(zip(probe.outputs, oracle.evaluate(probe, feeds)))


def body(graph: Graph, runs: list[dict[int, np.ndarray]], tolerance: float = 0) -> bytes:
    """One case.

    Args:
        graph: What runs.
        runs: Of each run, the values of inputs, and those that outputs and the operators left to LiteRT should have.
        tolerance: Relative to the largest value; 0 for the same bits.
    """
    parts = [b"BOPC", struct.pack("<3if", 0, 1, 0, tolerance), _list(graph.tensors, _tensor)]
    parts += [_list(graph.operators, _node), _words(graph.inputs), _words(graph.outputs)]
    parts.append(_list(runs, lambda run: _list(sorted(run), lambda tensor: _values(tensor, run[tensor]))))
    return b"".join(parts)


def write(path: Path, cases: Iterable[Case]) -> None:
    """Write a file of cases."""
    with open(path, "wb") as file:
        for case in cases:
            file.write(
                _blob(case.name.encode())
                + _blob(body(case.graph, [oracle_run(case.graph, case.feeds)], case.tolerance))
            )


if __name__ == "__main__":
    write(Path(sys.argv[1]), [case for case in CASES if not sys.argv[2:] or case.name in sys.argv[2:]])
