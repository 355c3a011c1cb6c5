"""The tables of a `.tflite` file, read and checked without TensorFlow.

TensorFlow Lite and LCE trust a file: an offset, an index or a size that is wrong makes their interpreters read
beyond the file's end, and the process dies. So each is checked here first: that every table, vector and string lies
in the file; that tensors name buffers of the size that their shapes and types need; that operators name tensors and
operator codes that exist, and run after what they read has been computed; that the options of LCE's operators are
what their kernels expect. What the kernels of TensorFlow Lite themselves demand is not repeated: run a stranger's
file in a child process (`bopkit.benchmark`, `bopkit verify`).

The schema is TensorFlow's `schema.fbs`; field numbers below are positions in its tables.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import struct
from pathlib import Path

import numpy as np
from flatbuffers import flexbuffers

from bopkit.errors import BopkitError

IDENTIFIER = b"TFL3"
"""Bytes 4 to 7 of every `.tflite` file."""

SCHEMA_VERSION = 3

# Tables by field.
VERSION, OPERATOR_CODES, SUBGRAPHS, DESCRIPTION, BUFFERS, _, METADATA, SIGNATURES = range(8)
MODEL_FIELDS = 8
METADATA_NAME, METADATA_BUFFER = 0, 1
BUFFER_DATA, _BUFFER_OFFSET, _BUFFER_SIZE = 0, 1, 2
_CODE_OLD, _CODE_CUSTOM, _, _CODE = range(4)
_GRAPH_TENSORS, _GRAPH_INPUTS, _GRAPH_OUTPUTS, _GRAPH_OPERATORS, _GRAPH_NAME = range(5)
_TENSOR_SHAPE, _TENSOR_TYPE, _TENSOR_BUFFER, _TENSOR_NAME, _TENSOR_QUANTIZATION, _TENSOR_VARIABLE = range(6)
_TENSOR_SPARSITY = 6
_SCALE, _ZERO_POINT, _QUANTIZED_DIMENSION = 2, 3, 6
_OPERATOR_CODE, _OPERATOR_INPUTS, _OPERATOR_OUTPUTS, _, _OPERATOR_OPTIONS, _OPERATOR_CUSTOM = range(6)
_SIGNATURE_INPUTS, _SIGNATURE_OUTPUTS, _SIGNATURE_KEY, _, _SIGNATURE_GRAPH = range(5)
_MAP_TENSOR = 1

CUSTOM = 32
"""Code of every operator that TensorFlow Lite does not have, LCE's among them."""

# Element types: name, and size in bits; None where the buffer's size does not follow from the shape.
TYPES: dict[int, tuple[str, int | None]] = {
    0: ("float32", 32),
    1: ("float16", 16),
    2: ("int32", 32),
    3: ("uint8", 8),
    4: ("int64", 64),
    5: ("string", None),
    6: ("bool", 8),
    7: ("int16", 16),
    8: ("complex64", 64),
    9: ("int8", 8),
    10: ("float64", 64),
    11: ("complex128", 128),
    12: ("uint64", 64),
    13: ("resource", None),
    14: ("variant", None),
    15: ("uint32", 32),
    16: ("uint16", 16),
    17: ("int4", 4),
    18: ("bfloat16", 16),
    19: ("int2", 2),
    20: ("uint4", 4),
}
_LEAST_INPUTS = {"ADD": 2, "MUL": 2, "SUB": 2, "DIV": 2, "CONV_2D": 2, "DEPTHWISE_CONV_2D": 2, "FULLY_CONNECTED": 2}
_KERNEL_RANK = {"CONV_2D": 4, "DEPTHWISE_CONV_2D": 4, "FULLY_CONNECTED": 2}

_POSITIVE_OPTIONS = ("channels_in", "stride_height", "stride_width", "dilation_height_factor", "dilation_width_factor")
_LCE_OPTIONS = (*_POSITIVE_OPTIONS, "padding", "pad_values")

MAX_ELEMENTS = 1 << 31
"""Elements of one tensor; more overflow TensorFlow Lite's 32-bit sizes."""


@dataclasses.dataclass(frozen=True)
class Tensor:
    """One tensor of a graph.

    Attributes:
        name: Its name; may be empty.
        shape: Sizes.
        type: Name of the element type, e.g. `float32`.
        bits: Bits of one element; None for strings and resources.
        buffer: Index of its buffer.
        data: Its bytes in the file; empty for a tensor that is computed.
        is_variable: Whether it keeps its value between runs.
        scales: Quantization scales, float32; empty for a tensor that is not quantized.
        zero_points: int64, none, one, or one a scale: the values that stand for zero.
        quantized_dimension: Axis with one scale an index, where there are several.
    """

    name: str
    shape: tuple[int, ...]
    type: str
    bits: int | None
    buffer: int
    data: memoryview
    is_variable: bool
    scales: np.ndarray
    zero_points: np.ndarray
    quantized_dimension: int

    @property
    def is_constant(self) -> bool:
        """Whether the file holds its values."""
        return len(self.data) > 0

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    def values(self) -> np.ndarray:
        """The values of a constant of a type that NumPy has, in the tensor's shape."""
        return np.frombuffer(self.data, np.dtype(self.type).newbyteorder("<")).reshape(self.shape)

    def real_values(self) -> np.ndarray:
        """What the values of a constant stand for: float64 where it is quantized, else as they are."""
        values = self.values()
        if not len(self.scales):
            return values
        sizes = [1] * values.ndim
        if len(self.scales) > 1:
            sizes[self.quantized_dimension] = -1
        zero_points = self.zero_points if len(self.zero_points) else np.zeros(1)
        zeros = zero_points.reshape(sizes if len(zero_points) > 1 else [1] * values.ndim)
        return (values.astype(np.float64) - zeros) * self.scales.astype(np.float64).reshape(sizes)


@dataclasses.dataclass(frozen=True)
class Operator:
    """One operation.

    Attributes:
        type: Name, e.g. `CONV_2D` or `LceBconv2d`.
        inputs: Indices of tensors; -1 for an input that is left out.
        outputs: Indices of tensors.
        options: Those of an LCE convolution that are checked; empty for others.
    """

    type: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: dict[str, int]


@dataclasses.dataclass(frozen=True)
class Graph:
    """One subgraph: its operators are listed in the order in which they run."""

    tensors: tuple[Tensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: tuple[Operator, ...]


class TfliteFile:
    """A checked `.tflite` file.

    Args:
        data: The file's content.
        path: Where it lies, for messages.

    Attributes:
        graphs: The subgraphs, the main one first.
        parts: Position in the file of every part of the model, by field.
        buffers: Positions of the tables that hold the weights.
        entries: Name, position and number of the buffer of every metadata entry.

    Raises:
        BopkitError: It is no TensorFlow Lite model, or damaged.
    """

    def __init__(self, data: bytes, path: Path):
        self._data = data
        self._view = memoryview(data)
        try:
            if data[4:8] != IDENTIFIER:
                raise ValueError("it does not begin like one")
            self._read_model(self._target(0))
        except ValueError as error:
            hint = "The file is damaged or cut short: copy it again, or export it again."
            raise BopkitError(f"{path} is no whole TensorFlow Lite model: {error}.", hint) from error

    def metadata(self, name: str) -> bytes | None:
        """The data of the metadata entry of that name; None where there is none."""
        for other, _, index in self.entries:
            if other == name:
                return bytes(self._buffer_data(self.buffers[index]))
        return None

    def signature_names(self) -> tuple[list[str], list[str]]:
        """Names of the inputs and outputs of the main graph in their order, as its signature has them.

        What no signature names is called as its tensor.
        """
        graph = self.graphs[0]
        signed = next((entries for number, entries in self._signatures if number == 0), ([], []))

        def names(indices: tuple[int, ...], entries: list[tuple[str, int]]) -> list[str]:
            waiting = list(entries)  # a tensor can be several outputs
            found = []
            for index in indices:
                entry = next((each for each in waiting if each[1] == index), None)
                if entry is not None:
                    waiting.remove(entry)
                found.append(graph.tensors[index].name if entry is None else entry[0])
            return found

        return names(graph.inputs, signed[0]), names(graph.outputs, signed[1])

    def _read_model(self, root: int) -> None:
        version = self._integer(root, VERSION, "<I")
        if version != SCHEMA_VERSION:
            raise ValueError(f"its schema version is {version}")
        fields = {field: self._field(root, field, 4) for field in range(VERSION + 1, MODEL_FIELDS)}
        self.parts = {field: self._target(position) for field, position in fields.items() if position}
        self._text(root, DESCRIPTION)
        self.buffers = self._tables(root, BUFFERS)
        self._contents = [self._buffer_data(buffer) for buffer in self.buffers]
        self.entries = [self._entry(table) for table in self._tables(root, METADATA)]
        codes = [self._operator_code(table) for table in self._tables(root, OPERATOR_CODES)]
        graphs = self._tables(root, SUBGRAPHS)
        if not graphs:
            raise ValueError("it holds no subgraph")
        self.graphs = tuple(self._graph(table, codes) for table in graphs)
        self._signatures = [self._signature(table) for table in self._tables(root, SIGNATURES)]

    # Graphs.

    def _graph(self, table: int, codes: list[str]) -> Graph:
        tensors = tuple(self._tensor(each) for each in self._tables(table, _GRAPH_TENSORS))
        inputs = self._indices(table, _GRAPH_INPUTS, len(tensors))
        outputs = self._indices(table, _GRAPH_OUTPUTS, len(tensors))
        self._text(table, _GRAPH_NAME)
        operators = tuple(self._operator(each, codes, tensors) for each in self._tables(table, _GRAPH_OPERATORS))
        graph = Graph(tensors, inputs, outputs, operators)
        _check_order(graph)
        return graph

    def _tensor(self, table: int) -> Tensor:
        shape = tuple(int(size) for size in self._vector(table, _TENSOR_SHAPE, "<i4"))
        name = self._text(table, _TENSOR_NAME)
        code = self._integer(table, _TENSOR_TYPE, "<b")
        if code not in TYPES:
            raise ValueError(f"tensor {name!r} has an unknown type {code}")
        if any(size < 0 for size in shape) or math.prod(shape) >= MAX_ELEMENTS:
            raise ValueError(f"tensor {name!r} has the shape {shape}")
        buffer = self._integer(table, _TENSOR_BUFFER, "<I")
        if buffer >= len(self.buffers):
            raise ValueError(f"tensor {name!r} names a buffer that it does not have")
        data = self._contents[buffer]
        bits = TYPES[code][1]
        is_sparse = bool(self._field(table, _TENSOR_SPARSITY, 4))
        if len(data) and bits is not None and not is_sparse and len(data) != -(-math.prod(shape) * bits // 8):
            raise ValueError(f"tensor {name!r} of shape {shape} has {len(data)} bytes")
        is_variable = self._integer(table, _TENSOR_VARIABLE, "<B") != 0
        quantization = self._quantization(table, name, shape)
        return Tensor(name, shape, TYPES[code][0], bits, buffer, data, is_variable, *quantization)

    def _quantization(self, table: int, name: str, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, int]:
        """Scales, zero points, and the axis that they belong to."""
        position = self._field(table, _TENSOR_QUANTIZATION, 4)
        if not position:
            return np.zeros(0, np.float32), np.zeros(0, np.int64), 0
        quantization = self._target(position)
        scales = self._vector(quantization, _SCALE, "<f4")
        zero_points = self._vector(quantization, _ZERO_POINT, "<i8")
        dimension = self._integer(quantization, _QUANTIZED_DIMENSION, "<i")
        if len(scales) > 1 and not (0 <= dimension < len(shape) and len(scales) == shape[dimension]):
            raise ValueError(f"tensor {name!r} has {len(scales)} scales for the shape {shape}")
        if len(zero_points) not in (0, 1, len(scales)) or not np.isfinite(scales).all():
            raise ValueError(f"tensor {name!r} has wrong scales or zero points")
        return scales, zero_points, dimension

    def _operator(self, table: int, codes: list[str], tensors: tuple[Tensor, ...]) -> Operator:
        code = self._integer(table, _OPERATOR_CODE, "<I")
        if code >= len(codes):
            raise ValueError("an operator names a code that it does not have")
        inputs = self._indices(table, _OPERATOR_INPUTS, len(tensors), least=-1)
        outputs = self._indices(table, _OPERATOR_OUTPUTS, len(tensors))
        position = self._field(table, _OPERATOR_OPTIONS, 4)
        if position:
            self._table_size(self._target(position))
        operator = Operator(codes[code], inputs, outputs, self._custom_options(table, codes[code]))
        _check_operator(operator, tensors)
        return operator

    def _custom_options(self, table: int, name: str) -> dict[str, int]:
        """LCE's options, a FlexBuffer; other custom operators' are left unread, as each has a format of its own."""
        blob = bytes(self._vector(table, _OPERATOR_CUSTOM, "u1"))
        if not name.startswith("Lce") or not blob:
            return {}
        try:
            # Not as a whole: lists that share their items take exponential time, and a few bytes.
            options = flexbuffers.GetRoot(blob).AsMap
            return {option: value for option in _LCE_OPTIONS if (value := _integer_option(options, option)) is not None}
        except Exception as error:  # its reader checks little, but it is Python
            raise ValueError(f"the options of an operator {name} are damaged") from error

    def _operator_code(self, table: int) -> str:
        code = max(self._integer(table, _CODE_OLD, "<b"), self._integer(table, _CODE, "<i"))
        if code < 0:
            raise ValueError(f"an operator has the code {code}")
        custom = self._text(table, _CODE_CUSTOM)
        if code == CUSTOM:
            if not custom:
                raise ValueError("a custom operator has no name")
            return custom
        return _builtin_names().get(code, f"operator {code}")

    def _signature(self, table: int) -> tuple[int, tuple[list[tuple[str, int]], list[tuple[str, int]]]]:
        """Number of its graph, and name and tensor of each of its inputs and outputs."""
        graph = self._integer(table, _SIGNATURE_GRAPH, "<I")
        if graph >= len(self.graphs):
            raise ValueError("a signature names a graph that it does not have")
        self._text(table, _SIGNATURE_KEY)
        inputs, outputs = (
            [(self._text(entry, 0), self._integer(entry, _MAP_TENSOR, "<I")) for entry in self._tables(table, field)]
            for field in (_SIGNATURE_INPUTS, _SIGNATURE_OUTPUTS)
        )
        if any(tensor >= len(self.graphs[graph].tensors) for _, tensor in inputs + outputs):
            raise ValueError("a signature names a tensor that it does not have")
        return graph, (inputs, outputs)

    def _entry(self, table: int) -> tuple[str, int, int]:
        index = self._integer(table, METADATA_BUFFER, "<I")
        if index >= len(self.buffers):
            raise ValueError("its metadata names a buffer that it does not have")
        return self._text(table, METADATA_NAME), table, index

    def _buffer_data(self, table: int) -> memoryview:
        """The bytes of a buffer; files above 2 GiB keep them behind the tables."""
        offset, size = (self._integer(table, field, "<Q") for field in (_BUFFER_OFFSET, _BUFFER_SIZE))
        if offset > 1:
            if offset + size > len(self._data):
                raise ValueError("it ends too early")
            return self._view[offset : offset + size]
        return self._bytes(table, BUFFER_DATA)

    # Tables, vectors and numbers. A position of 0 stands for a field that is left out.

    def _read(self, layout: str, position: int) -> int:
        if not 0 <= position <= len(self._data) - struct.calcsize(layout):
            raise ValueError("it points outside of itself")
        return struct.unpack_from(layout, self._data, position)[0]

    def _target(self, position: int) -> int:
        """Where the offset at `position` leads."""
        return position + self._read("<I", position)

    def _table_size(self, table: int) -> tuple[int, int]:
        """Position of a table's list of fields, and its size; the table itself lies in the file too."""
        vtable = table - self._read("<i", table)
        size, inline = self._read("<H", vtable), self._read("<H", vtable + 2)
        if size < 4 or size % 2 or vtable + size > len(self._data) or table + inline > len(self._data):
            raise ValueError("it points outside of itself")
        return vtable, size

    def _field(self, table: int, field: int, size: int) -> int:
        """Position of a field of `size` bytes; 0 where the table has none, so that its default holds."""
        vtable, vtable_size = self._table_size(table)
        slot = 4 + 2 * field  # two sizes of 16 bits come first
        offset = self._read("<H", vtable + slot) if slot < vtable_size else 0
        if offset and offset + size > self._read("<H", vtable + 2):
            raise ValueError("a field lies outside of its table")
        return table + offset if offset else 0

    def _integer(self, table: int, field: int, layout: str) -> int:
        position = self._field(table, field, struct.calcsize(layout))
        return self._read(layout, position) if position else 0

    def _tables(self, table: int, field: int) -> list[int]:
        """Positions of the tables in a vector."""
        position = self._field(table, field, 4)
        if not position:
            return []
        start = self._target(position) + 4
        return [self._target(start + 4 * index) for index in range(len(self._span(table, field, 4)) // 4)]

    def _vector(self, table: int, field: int, dtype: str) -> np.ndarray:
        return np.frombuffer(self._span(table, field, np.dtype(dtype).itemsize), dtype)

    def _indices(self, table: int, field: int, count: int, least: int = 0) -> tuple[int, ...]:
        """Indices of tensors, from `least` to below `count`."""
        indices = tuple(int(index) for index in self._vector(table, field, "<i4"))
        if any(not least <= index < count for index in indices):
            raise ValueError("a list names a tensor that it does not have")
        return indices

    def _text(self, table: int, field: int) -> str:
        return bytes(self._bytes(table, field)).decode()

    def _bytes(self, table: int, field: int) -> memoryview:
        """The bytes of a string or of a vector of bytes; empty where the table has none."""
        return self._span(table, field, 1)

    def _span(self, table: int, field: int, item_size: int) -> memoryview:
        position = self._field(table, field, 4)
        if not position:
            return self._view[:0]
        start = self._target(position) + 4
        end = start + item_size * self._read("<I", start - 4)
        if end > len(self._data):
            raise ValueError("it ends too early")
        return self._view[start:end]


def _integer_option(options: flexbuffers.Map, name: str) -> int | None:
    try:
        value = options[name]
    except KeyError:
        return None
    return int(value.AsInt) if value.IsInt else None


def _check_order(graph: Graph) -> None:
    """Refuse a graph in which an operator reads what no earlier one has computed, or writes what is given."""
    given = {index for index, tensor in enumerate(graph.tensors) if tensor.is_constant or tensor.is_variable}
    computed = set(graph.inputs)
    for operator in graph.operators:
        for index in operator.inputs:
            if index >= 0 and index not in computed and index not in given and graph.tensors[index].elements:
                raise ValueError(f"an operator {operator.type} reads tensor {index} before it is computed")
        for index in operator.outputs:
            if index in computed or index in given:
                raise ValueError(f"an operator {operator.type} writes tensor {index}, which has a value")
            computed.add(index)
    for index in graph.outputs:
        if index not in computed and index not in given:
            raise ValueError(f"its output, tensor {index}, is never computed")


def _check_operator(operator: Operator, tensors: tuple[Tensor, ...]) -> None:
    """Refuse operands that the common kernels of TensorFlow Lite and all of LCE's would follow blindly."""
    if operator.type.startswith("Lce"):
        _check_lce_operator(operator, tensors)
    least = _LEAST_INPUTS.get(operator.type, 0)
    if len(operator.inputs) < least or -1 in operator.inputs[:least]:
        raise ValueError(f"an operator {operator.type} lacks an input")
    rank = _KERNEL_RANK.get(operator.type)
    if rank is not None and len(tensors[operator.inputs[1]].shape) != rank:
        raise ValueError(f"the kernel of an operator {operator.type} has the wrong shape")


def _check_lce_operator(operator: Operator, tensors: tuple[Tensor, ...]) -> None:
    """Refuse LCE operators whose tensors or options do not fit each other."""
    needed = 2 if operator.type == "LceBconv2d" else 1
    if len(operator.inputs) < needed or -1 in operator.inputs[:needed] or len(operator.outputs) != 1:
        raise ValueError(f"an operator {operator.type} has the wrong number of inputs or outputs")
    if operator.type != "LceBconv2d":
        return
    kernel = tensors[operator.inputs[1]]
    options = operator.options
    if any(not 0 < options.get(name, 0) < 1 << 20 for name in _POSITIVE_OPTIONS):
        raise ValueError("an operator LceBconv2d has options out of range")
    if options.get("padding") not in (0, 1) or options.get("pad_values") not in (0, 1):
        raise ValueError("an operator LceBconv2d has an unknown padding")
    if kernel.type != "int32" or len(kernel.shape) != 4 or not kernel.is_constant:
        raise ValueError("the kernel of an operator LceBconv2d is no packed constant")
    words = -(-options["channels_in"] // 32)
    groups = words // kernel.shape[3] if kernel.shape[3] else 0
    fits = groups and kernel.shape[3] * groups == words and kernel.shape[0] % groups == 0
    if not fits or tensors[operator.inputs[0]].shape[-1:] != (words,):
        raise ValueError("the kernel of an operator LceBconv2d does not fit its channels")
    used = group_channels(operator, kernel) - 32 * (kernel.shape[3] - 1)
    if used < 32 and np.any(kernel.values()[..., -1].astype("<u4") >> np.uint32(used)):
        raise ValueError("the kernel of an operator LceBconv2d has weights behind its channels")
    for index in operator.inputs[2:]:  # multiplier, bias, thresholds: one a channel
        if index >= 0 and tensors[index].elements != kernel.shape[0]:
            raise ValueError("the constants of an operator LceBconv2d do not fit its kernel")


def group_channels(operator: Operator, kernel: Tensor) -> int:
    """Input channels of one group of an LceBconv2d: it does not say how many groups it has, its words do."""
    channels = operator.options["channels_in"]
    groups = -(-channels // 32) // kernel.shape[3]
    return channels // groups


@functools.cache
def _builtin_names() -> dict[int, str]:
    """Names of the operators that a network is likely to hold, by code."""
    return {int(code): name for code, name in (each.split("=") for each in _BUILTIN.split())}


_BUILTIN = """
0=ADD 1=AVERAGE_POOL_2D 2=CONCATENATION 3=CONV_2D 4=DEPTHWISE_CONV_2D 5=DEPTH_TO_SPACE 6=DEQUANTIZE
7=EMBEDDING_LOOKUP 8=FLOOR 9=FULLY_CONNECTED 11=L2_NORMALIZATION 12=L2_POOL_2D 13=LOCAL_RESPONSE_NORMALIZATION
14=LOGISTIC 16=LSTM 17=MAX_POOL_2D 18=MUL 19=RELU 20=RELU_N1_TO_1 21=RELU6 22=RESHAPE 23=RESIZE_BILINEAR 25=SOFTMAX
26=SPACE_TO_DEPTH 28=TANH 34=PAD 36=GATHER 37=BATCH_TO_SPACE_ND 38=SPACE_TO_BATCH_ND 39=TRANSPOSE 40=MEAN 41=SUB
42=DIV 43=SQUEEZE 45=STRIDED_SLICE 47=EXP 49=SPLIT 50=LOG_SOFTMAX 53=CAST 54=PRELU 55=MAXIMUM 56=ARG_MAX 57=MINIMUM
58=LESS 59=NEG 60=PADV2 61=GREATER 64=SELECT 65=SLICE 67=TRANSPOSE_CONV 70=EXPAND_DIMS 74=SUM 75=SQRT 76=RSQRT
77=SHAPE 78=POW 80=REDUCE_PROD 81=REDUCE_MAX 82=PACK 86=LOGICAL_AND 88=UNPACK 89=REDUCE_MIN 92=SQUARE 94=FILL
97=RESIZE_NEAREST_NEIGHBOR 98=LEAKY_RELU 99=SQUARED_DIFFERENCE 100=MIRROR_PAD 101=ABS 102=SPLIT_V 104=CEIL
105=REVERSE_V2 114=QUANTIZE 117=HARD_SWISH 123=SELECT_V2 126=BATCH_MATMUL 130=BROADCAST_TO 150=GELU 158=SIGN
"""
