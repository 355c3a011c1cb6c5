"""The tables of a `.tflite` file, read and checked without TensorFlow.

TensorFlow Lite and LCE trust a file: an offset, an index or a size that is wrong makes their interpreters read
beyond the file's end, and the process dies. So each is checked here first: that every table, vector and string lies
in the file; that tensors name buffers of the size that their shapes and types need; that operators name tensors and
operator codes that exist, and run after what they read has been computed; that the options of LCE's operators are
what their kernels expect. What the kernels of TensorFlow Lite themselves demand is not repeated: run a stranger's
file in a child process (`bopkit.benchmark`, `bopkit verify`).

The reader of tables is in `flatbuffer_reader`, the numbers of the schema in `tflite_schema`, and what must hold among
tensors and operators in `tflite_graph`.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from flatbuffers import flexbuffers

from bopkit.artifacts import tflite_schema as schema
from bopkit.artifacts.flatbuffer_reader import FlatbufferReader
from bopkit.artifacts.other_files import START_BYTES, other_file
from bopkit.artifacts.tflite_graph import LCE_OPTIONS, Graph, Operator, Tensor, check_operator, check_order
from bopkit.errors import BopkitError

MAX_ELEMENTS = 1 << 31
"""Elements of one tensor; more overflow TensorFlow Lite's 32-bit sizes."""


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
        if data[4:8] != schema.IDENTIFIER:
            hint = "Give a .tflite file; if it was one, copy it again."
            raise other_file(path, data[:START_BYTES], "a TensorFlow Lite model", hint)
        self._reader = FlatbufferReader(data)
        try:
            self._read_model(self._reader.target(0))
        except ValueError as error:
            hint = "The file is damaged or cut short: copy it again, or make it again."
            raise BopkitError(f"{path} is not a complete TensorFlow Lite model: {error}.", hint) from error

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
        version = self._reader.integer(root, schema.VERSION, "<I")
        if version != schema.SCHEMA_VERSION:
            raise ValueError(f"its schema version is {version}")
        fields = {field: self._reader.field(root, field, 4) for field in range(schema.VERSION + 1, schema.MODEL_FIELDS)}
        self.parts = {field: self._reader.target(position) for field, position in fields.items() if position}
        self._reader.text(root, schema.DESCRIPTION)
        self.buffers = self._reader.tables(root, schema.BUFFERS)
        self._contents = [self._buffer_data(buffer) for buffer in self.buffers]
        self.entries = [self._metadata_entry(table) for table in self._reader.tables(root, schema.METADATA)]
        codes = [self._operator_code(table) for table in self._reader.tables(root, schema.OPERATOR_CODES)]
        graphs = self._reader.tables(root, schema.SUBGRAPHS)
        if not graphs:
            raise ValueError("it holds no subgraph")
        self.graphs = tuple(self._graph(table, codes) for table in graphs)
        self._signatures = [self._signature(table) for table in self._reader.tables(root, schema.SIGNATURES)]

    def _graph(self, table: int, codes: list[str]) -> Graph:
        tensors = tuple(self._tensor(each) for each in self._reader.tables(table, schema.GRAPH_TENSORS))
        inputs = self._indices(table, schema.GRAPH_INPUTS, len(tensors))
        outputs = self._indices(table, schema.GRAPH_OUTPUTS, len(tensors))
        self._reader.text(table, schema.GRAPH_NAME)
        operators = tuple(
            self._operator(each, codes, tensors) for each in self._reader.tables(table, schema.GRAPH_OPERATORS)
        )
        graph = Graph(tensors, inputs, outputs, operators)
        check_order(graph)
        return graph

    def _tensor(self, table: int) -> Tensor:
        shape = tuple(int(size) for size in self._reader.vector(table, schema.TENSOR_SHAPE, "<i4"))
        name = self._reader.text(table, schema.TENSOR_NAME)
        code = self._reader.integer(table, schema.TENSOR_TYPE, "<b")
        if code not in schema.TYPES:
            raise ValueError(f"tensor {name!r} has an unknown type {code}")
        if any(size < 0 for size in shape) or math.prod(shape) >= MAX_ELEMENTS:
            raise ValueError(f"tensor {name!r} has the shape {shape}")
        buffer = self._reader.integer(table, schema.TENSOR_BUFFER, "<I")
        if buffer >= len(self.buffers):
            raise ValueError(f"tensor {name!r} refers to a buffer that the file does not have")
        data = self._contents[buffer]
        bits = schema.TYPES[code][1]
        is_sparse = bool(self._reader.field(table, schema.TENSOR_SPARSITY, 4))
        if len(data) and bits is not None and not is_sparse and len(data) != -(-math.prod(shape) * bits // 8):
            raise ValueError(f"tensor {name!r} of shape {shape} has {len(data)} bytes")
        is_variable = self._reader.integer(table, schema.TENSOR_VARIABLE, "<B") != 0
        quantization = self._quantization(table, name, shape)
        return Tensor(name, shape, schema.TYPES[code][0], bits, buffer, data, is_variable, *quantization)

    def _quantization(self, table: int, name: str, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, int]:
        """Scales, zero points, and the axis that they belong to."""
        position = self._reader.field(table, schema.TENSOR_QUANTIZATION, 4)
        if not position:
            return np.zeros(0, np.float32), np.zeros(0, np.int64), 0
        quantization = self._reader.target(position)
        scales = self._reader.vector(quantization, schema.SCALE, "<f4")
        zero_points = self._reader.vector(quantization, schema.ZERO_POINT, "<i8")
        dimension = self._reader.integer(quantization, schema.QUANTIZED_DIMENSION, "<i")
        if len(scales) > 1 and not (0 <= dimension < len(shape) and len(scales) == shape[dimension]):
            raise ValueError(f"tensor {name!r} has {len(scales)} scales for the shape {shape}")
        if len(zero_points) not in (0, 1, len(scales)) or not np.isfinite(scales).all():
            raise ValueError(f"tensor {name!r} has wrong scales or zero points")
        return scales, zero_points, dimension

    def _operator(self, table: int, codes: list[str], tensors: tuple[Tensor, ...]) -> Operator:
        code = self._reader.integer(table, schema.OPERATOR_CODE, "<I")
        if code >= len(codes):
            raise ValueError("an operator refers to a code that the file does not have")
        inputs = self._indices(table, schema.OPERATOR_INPUTS, len(tensors), least=-1)
        outputs = self._indices(table, schema.OPERATOR_OUTPUTS, len(tensors))
        position = self._reader.field(table, schema.OPERATOR_OPTIONS, 4)
        if position:
            self._reader.table_size(self._reader.target(position))
        operator = Operator(codes[code], inputs, outputs, self._custom_options(table, codes[code]))
        check_operator(operator, tensors)
        return operator

    def _custom_options(self, table: int, name: str) -> dict[str, int]:
        """LCE's options, a FlexBuffer; other custom operators' are left unread, as each has a format of its own."""
        blob = bytes(self._reader.vector(table, schema.OPERATOR_CUSTOM, "u1"))
        if not name.startswith("Lce") or not blob:
            return {}
        try:
            # Not as a whole: lists that share their items take exponential time, and a few bytes.
            options = flexbuffers.GetRoot(blob).AsMap
            return {option: value for option in LCE_OPTIONS if (value := _integer_option(options, option)) is not None}
        except Exception as error:  # its reader checks little, but it is Python
            raise ValueError(f"the options of an operator {name} are damaged") from error

    def _operator_code(self, table: int) -> str:
        code = max(self._reader.integer(table, schema.CODE_OLD, "<b"), self._reader.integer(table, schema.CODE, "<i"))
        if code < 0:
            raise ValueError(f"an operator has the code {code}")
        custom = self._reader.text(table, schema.CODE_CUSTOM)
        if code == schema.CUSTOM:
            if not custom:
                raise ValueError("a custom operator has no name")
            return custom
        return schema.builtin_names().get(code, f"operator {code}")

    def _signature(self, table: int) -> tuple[int, tuple[list[tuple[str, int]], list[tuple[str, int]]]]:
        """Number of its graph, and name and tensor of each of its inputs and outputs."""
        graph = self._reader.integer(table, schema.SIGNATURE_GRAPH, "<I")
        if graph >= len(self.graphs):
            raise ValueError("a signature refers to a graph that the file does not have")
        self._reader.text(table, schema.SIGNATURE_KEY)
        inputs = self._signature_entries(table, schema.SIGNATURE_INPUTS)
        outputs = self._signature_entries(table, schema.SIGNATURE_OUTPUTS)
        if any(tensor >= len(self.graphs[graph].tensors) for _, tensor in inputs + outputs):
            raise ValueError("a signature refers to a tensor that its graph does not have")
        return graph, (inputs, outputs)

    def _signature_entries(self, table: int, field: int) -> list[tuple[str, int]]:
        return [
            (self._reader.text(entry, schema.MAP_NAME), self._reader.integer(entry, schema.MAP_TENSOR, "<I"))
            for entry in self._reader.tables(table, field)
        ]

    def _metadata_entry(self, table: int) -> tuple[str, int, int]:
        index = self._reader.integer(table, schema.METADATA_BUFFER, "<I")
        if index >= len(self.buffers):
            raise ValueError("its metadata refers to a buffer that the file does not have")
        return self._reader.text(table, schema.METADATA_NAME), table, index

    def _buffer_data(self, table: int) -> memoryview:
        """The bytes of a buffer; files above 2 GiB keep them behind the tables."""
        offset, size = (
            self._reader.integer(table, field, "<Q") for field in (schema.BUFFER_OFFSET, schema.BUFFER_SIZE)
        )
        if offset > 1:
            if offset + size > len(self._reader.data):
                raise ValueError("it ends too early")
            return self._reader.view[offset : offset + size]
        return self._reader.octets(table, schema.BUFFER_DATA)

    def _indices(self, table: int, field: int, count: int, least: int = 0) -> tuple[int, ...]:
        """Indices of tensors, from `least` to below `count`."""
        indices = tuple(int(index) for index in self._reader.vector(table, field, "<i4"))
        if any(not least <= index < count for index in indices):
            raise ValueError("a list refers to a tensor that its graph does not have")
        return indices


def _integer_option(options: flexbuffers.Map, name: str) -> int | None:
    try:
        value = options[name]
    except KeyError:
        return None
    return int(value.AsInt) if value.IsInt else None
