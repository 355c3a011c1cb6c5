"""Small graphs of LCE's operators and of the float operators around them, written as `.tflite` files.

A `Graph` is a list of tensors and operators: `flatbuffer` writes it with the `flatbuffers` package alone, the oracle
evaluates it. Field numbers are positions in the tables of TensorFlow's schema.fbs; the options of LCE's operators are
a FlexBuffer map with the names that LCE 0.16's converter writes.
"""

from __future__ import annotations

import dataclasses
import math

import flatbuffers
import numpy as np
from flatbuffers import flexbuffers

WORD = 32
"""Channels in one int32 of a bit-packed tensor; the lowest bit comes first, and the last word ends in zero bits."""

SAME, VALID = 0, 1
ACTIVATIONS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6")

_TYPE_CODES = {"float32": 0, "int32": 2, "uint8": 3, "bool": 6, "int8": 9}
_BUILTIN_CODES = {
    "ADD": 0,
    "AVERAGE_POOL_2D": 1,
    "CONCATENATION": 2,
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 4,
    "DEQUANTIZE": 6,
    "FULLY_CONNECTED": 9,
    "LOGISTIC": 14,
    "MAX_POOL_2D": 17,
    "MUL": 18,
    "RELU": 19,
    "RELU_N1_TO_1": 20,
    "RELU6": 21,
    "RESHAPE": 22,
    "SOFTMAX": 25,
    "PAD": 34,
    "MEAN": 40,
    "SUB": 41,
    "SPLIT": 49,
    "CAST": 53,
    "PRELU": 54,
    "MAXIMUM": 55,
    "NEG": 59,
    "ABS": 101,
    "QUANTIZE": 114,
}
_CUSTOM = 32

# Of the union of options: its number, and each field's position and type.
_CONV_FIELDS = {"padding": (0, "i8"), "stride_width": (1, "i32"), "stride_height": (2, "i32")}
_CONV_FIELDS |= {"activation": (3, "i8"), "dilation_width": (4, "i32"), "dilation_height": (5, "i32")}
_DEPTHWISE_FIELDS = {"padding": (0, "i8"), "stride_width": (1, "i32"), "stride_height": (2, "i32")}
_DEPTHWISE_FIELDS |= {"depth_multiplier": (3, "i32"), "activation": (4, "i8")}
_DEPTHWISE_FIELDS |= {"dilation_width": (5, "i32"), "dilation_height": (6, "i32")}
_POOL_FIELDS = {"padding": (0, "i8"), "stride_width": (1, "i32"), "stride_height": (2, "i32")}
_POOL_FIELDS |= {"filter_width": (3, "i32"), "filter_height": (4, "i32"), "activation": (5, "i8")}
_OPTIONS: dict[str, tuple[int, dict[str, tuple[int, str]]]] = {
    "CONV_2D": (1, _CONV_FIELDS),
    "DEPTHWISE_CONV_2D": (2, _DEPTHWISE_FIELDS),
    "AVERAGE_POOL_2D": (5, _POOL_FIELDS),
    "MAX_POOL_2D": (5, _POOL_FIELDS),
    "FULLY_CONNECTED": (8, {"activation": (0, "i8"), "keep_num_dims": (2, "i8")}),
    "SOFTMAX": (9, {"beta": (0, "f32")}),
    "CONCATENATION": (10, {"axis": (0, "i32")}),
    "ADD": (11, {"activation": (0, "i8")}),
    "RESHAPE": (17, {}),
    "MUL": (21, {"activation": (0, "i8")}),
    "PAD": (22, {}),
    "MEAN": (27, {"keep_dims": (0, "i8")}),
    "SUB": (28, {"activation": (0, "i8")}),
    "SPLIT": (35, {"num_splits": (0, "i32")}),
    "CAST": (37, {"in_data_type": (0, "i8"), "out_data_type": (1, "i8")}),
    "MAXIMUM": (39, {}),
}
_DEFAULTS = {"dilation_width": 1, "dilation_height": 1}


@dataclasses.dataclass(frozen=True)
class Tensor:
    """One tensor.

    Attributes:
        shape: Of its values.
        type: Of its values, as NumPy calls it.
        data: Where the file holds its values.
        scale: None where it is not quantized; several, one for each index of `quantized_dimension`.
        zero_point: The same for all scales.
        quantized_dimension: Of the scales.
    """

    shape: tuple[int, ...]
    type: str
    data: np.ndarray | None = None
    scale: float | tuple[float, ...] | None = None
    zero_point: int = 0
    quantized_dimension: int = 0

    @property
    def scales(self) -> tuple[float, ...]:
        """None, one or one a channel."""
        return () if self.scale is None else self.scale if isinstance(self.scale, tuple) else (self.scale,)


@dataclasses.dataclass(frozen=True)
class Operator:
    """One operation on tensors by index; -1 is an input that is left out."""

    type: str
    inputs: tuple[int, ...]
    output: int
    options: dict[str, int]
    more_outputs: tuple[int, ...] = ()


def pack(bits: np.ndarray) -> np.ndarray:
    """Booleans [..., channels] as int32 [..., words]."""
    missing = -bits.shape[-1] % WORD
    padded = np.pad(bits.astype(bool), [(0, 0)] * (bits.ndim - 1) + [(0, missing)])
    return np.ascontiguousarray(np.packbits(padded, axis=-1, bitorder="little")).view("<i4")


def unpack(words: np.ndarray, channels: int) -> np.ndarray:
    """Booleans [..., channels] of int32 [..., words]."""
    octets = np.ascontiguousarray(words.astype("<i4")).view(np.uint8)
    return np.unpackbits(octets, axis=-1, bitorder="little")[..., :channels].astype(bool)


def words_of(channels: int) -> int:
    """Words that hold so many channels."""
    return -(-channels // WORD)


def window(size: int, taps: int, stride: int, dilation: int, padding: int) -> tuple[int, int]:
    """Positions of a window along one axis of the image, and how far the first one begins before it."""
    reach = (taps - 1) * dilation + 1
    if padding == VALID:
        return (size - reach) // stride + 1, 0
    count = -(-size // stride)
    return count, max((count - 1) * stride + reach - size, 0) // 2


class Graph:
    """A graph under construction: its methods add one operator each and return the index of its output."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []
        self.inputs: list[int] = []
        self.outputs: list[int] = []
        self.names: dict[int, str] = {}
        """Of inputs and outputs in the signature; a graph without any has none."""

    def input(self, shape: tuple[int, ...], type: str = "float32", scale: float | None = None, zero_point: int = 0):
        """A tensor that the user gives."""
        self.inputs.append(self._tensor(shape, type, scale=scale, zero_point=zero_point))
        return self.inputs[-1]

    def constant(
        self,
        values: np.ndarray,
        scale: float | tuple[float, ...] | None = None,
        zero_point: int = 0,
        axis: int = 0,
    ) -> int:
        """A tensor that lies in the file; `axis` is that of its scales."""
        return self._tensor(values.shape, str(values.dtype), values, scale, zero_point, axis)

    def quantize_affine(self, x: int, scale: float, zero_point: int = 0, type: str = "int8") -> int:
        """QUANTIZE: of float32, or from another quantization."""
        return self._operator("QUANTIZE", (x,), self.tensors[x].shape, type, scale=scale, zero_point=zero_point)

    def dequantize_affine(self, x: int) -> int:
        """DEQUANTIZE: int8 or uint8 to float32."""
        return self._operator("DEQUANTIZE", (x,), self.tensors[x].shape, "float32")

    def cast(self, x: int, type: str) -> int:
        """CAST."""
        options = {"in_data_type": _TYPE_CODES[self.tensors[x].type], "out_data_type": _TYPE_CODES[type]}
        return self._operator("CAST", (x,), self.tensors[x].shape, type, options)

    def quantize(self, x: int) -> int:
        """LceQuantize: the signs of a float32, int8 or bool tensor."""
        shape = self.tensors[x].shape
        return self._operator("LceQuantize", (x,), (*shape[:-1], words_of(shape[-1])), "int32")

    def dequantize(self, x: int, channels: int, type: str = "float32", scale: float | None = None, zero_point: int = 0):
        """LceDequantize: signs as numbers."""
        shape = (*self.tensors[x].shape[:-1], channels)
        return self._operator("LceDequantize", (x,), shape, type, scale=scale, zero_point=zero_point)

    def bconv(
        self,
        x: int,
        filters: np.ndarray,
        channels: int,
        multiplier: np.ndarray | None = None,
        bias: np.ndarray | None = None,
        thresholds: np.ndarray | None = None,
        *,
        stride: tuple[int, int] = (1, 1),
        dilation: tuple[int, int] = (1, 1),
        padding: int = SAME,
        pad_values: int = 0,
        activation: str = "NONE",
        scale: float | None = None,
        zero_point: int = 0,
    ) -> int:
        """LceBconv2d.

        Args:
            x: Bit-packed tensor [batch, height, width, words].
            filters: Booleans, true for -1: [filters, height, width, channels of one group].
            channels: Of the input.
            multiplier: float32 [filters]; with `bias`, and with a float32 output, or int8 where `scale` is given.
            bias: float32 [filters].
            thresholds: int32 [filters]: the output is bit-packed.
            stride: Of height and width.
            dilation: Of height and width.
            padding: `SAME` or `VALID`.
            pad_values: 0 or 1: what lies around the image under `SAME`.
            activation: One of `ACTIVATIONS`; it clamps the convolution, before `multiplier` and `bias`.
            scale: Of an int8 output.
            zero_point: Of an int8 output.
        """
        batch, height, width, _ = self.tensors[x].shape
        count = filters.shape[0]
        out_height = window(height, filters.shape[1], stride[0], dilation[0], padding)[0]
        out_width = window(width, filters.shape[2], stride[1], dilation[1], padding)[0]
        options = {
            "channels_in": channels,
            "dilation_height_factor": dilation[0],
            "dilation_width_factor": dilation[1],
            "fused_activation_function": ACTIVATIONS.index(activation),
            "pad_values": pad_values,
            "padding": padding,
            "stride_height": stride[0],
            "stride_width": stride[1],
        }
        operands = [-1 if values is None else self.constant(values) for values in (multiplier, bias, thresholds)]
        inputs = (x, self.constant(pack(filters)), *operands)
        if thresholds is not None:
            return self._operator(
                "LceBconv2d", inputs, (batch, out_height, out_width, words_of(count)), "int32", options
            )
        type = "float32" if scale is None else "int8"
        shape = (batch, out_height, out_width, count)
        return self._operator("LceBconv2d", inputs, shape, type, options, scale, zero_point)

    def bmaxpool(self, x: int, size: tuple[int, int], stride: tuple[int, int], padding: int = VALID) -> int:
        """LceBMaxPool2d."""
        options = {
            "filter_height": size[0],
            "filter_width": size[1],
            "padding": padding,
            "stride_height": stride[0],
            "stride_width": stride[1],
        }
        return self._operator("LceBMaxPool2d", (x,), self._pooled(x, size, stride, padding), "int32", options)

    def binary(
        self, type: str, a: int, b: int, activation: str = "NONE", *, scale: float | None = None, zero_point: int = 0
    ) -> int:
        """ADD, SUB or MUL; `scale` and `zero_point` are of an int8 result."""
        shape = np.broadcast_shapes(self.tensors[a].shape, self.tensors[b].shape)
        options = {"activation": ACTIVATIONS.index(activation)}
        return self._operator(type, (a, b), shape, self.tensors[a].type, options, scale, zero_point)

    def unary(self, type: str, x: int, *, scale: float | None = None, zero_point: int = 0) -> int:
        """RELU and the like, LOGISTIC, or ABS or NEG, which the runtime leaves to LiteRT."""
        shape, out_type = self.tensors[x].shape, self.tensors[x].type
        return self._operator(type, (x,), shape, out_type, scale=scale, zero_point=zero_point)

    def concatenate(self, *parts: int) -> int:
        """CONCATENATION of channels."""
        channels = sum(self.tensors[part].shape[-1] for part in parts)
        shape = (*self.tensors[parts[0]].shape[:-1], channels)
        return self._operator("CONCATENATION", parts, shape, *self._like(parts[0], {"axis": len(shape) - 1}))

    def split(self, x: int, count: int) -> tuple[int, ...]:
        """SPLIT of channels into equal parts."""
        shape = self.tensors[x].shape
        part = (*shape[:-1], shape[-1] // count)
        inputs = (self.constant(np.array(len(shape) - 1, np.int32)), x)
        outputs = tuple(self._tensor(part, "float32") for _ in range(count))
        self.operators.append(Operator("SPLIT", inputs, outputs[0], {"num_splits": count}, outputs[1:]))
        return outputs

    def pad(self, x: int, before: int, after: int) -> int:
        """PAD: channels of zeros in front and behind."""
        return self.pad_around(x, [(0, 0)] * (len(self.tensors[x].shape) - 1) + [(before, after)])

    def pad_around(self, x: int, margins: list[tuple[int, int]]) -> int:
        """PAD: zeros in front of and behind each dimension."""
        shape = tuple(before + size + after for size, (before, after) in zip(self.tensors[x].shape, margins))
        inputs = (x, self.constant(np.array(margins, np.int32)))
        return self._operator("PAD", inputs, shape, *self._like(x))

    def with_constant(
        self, type: str, x: int, constant: int, *, scale: float | None = None, zero_point: int = 0
    ) -> int:
        """PRELU or MAXIMUM with a constant; `scale` and `zero_point` are of an int8 result."""
        shape, out_type = self.tensors[x].shape, self.tensors[x].type
        return self._operator(type, (x, constant), shape, out_type, scale=scale, zero_point=zero_point)

    def softmax(self, x: int, beta: float = 1.0) -> int:
        """SOFTMAX over channels."""
        return self._operator("SOFTMAX", (x,), self.tensors[x].shape, "float32", {"beta": beta})

    def depthwise(
        self,
        x: int,
        filters: np.ndarray,
        bias: np.ndarray | None,
        *,
        stride: tuple[int, int] = (1, 1),
        dilation: tuple[int, int] = (1, 1),
        padding: int = SAME,
        activation: str = "NONE",
        filter_scale: float | tuple[float, ...] | None = None,
        scale: float | None = None,
        zero_point: int = 0,
    ) -> int:
        """DEPTHWISE_CONV_2D with filters [height, width, channels times their number]; the rest is as in `conv`."""
        batch, height, width, channels = self.tensors[x].shape
        options = {
            "padding": padding,
            "stride_height": stride[0],
            "stride_width": stride[1],
            "depth_multiplier": filters.shape[-1] // channels,
            "dilation_height": dilation[0],
            "dilation_width": dilation[1],
            "activation": ACTIVATIONS.index(activation),
        }
        out_height = window(height, filters.shape[0], stride[0], dilation[0], padding)[0]
        out_width = window(width, filters.shape[1], stride[1], dilation[1], padding)[0]
        inputs = (x, *self._weights(x, filters[None], bias, filter_scale, axis=3))
        shape, out_type = (batch, out_height, out_width, filters.shape[-1]), self.tensors[x].type
        return self._operator("DEPTHWISE_CONV_2D", inputs, shape, out_type, options, scale, zero_point)

    def relu(self, x: int) -> int:
        """RELU."""
        return self.unary("RELU", x)

    def pool(
        self,
        type: str,
        x: int,
        size: tuple[int, int],
        stride: tuple[int, int],
        padding: int = VALID,
        activation: str = "NONE",
    ) -> int:
        """AVERAGE_POOL_2D or MAX_POOL_2D."""
        options = {
            "filter_height": size[0],
            "filter_width": size[1],
            "padding": padding,
            "stride_height": stride[0],
            "stride_width": stride[1],
            "activation": ACTIVATIONS.index(activation),
        }
        return self._operator(type, (x,), self._pooled(x, size, stride, padding), *self._like(x, options))

    def conv(
        self,
        x: int,
        filters: np.ndarray,
        bias: np.ndarray | None,
        *,
        stride: tuple[int, int] = (1, 1),
        dilation: tuple[int, int] = (1, 1),
        padding: int = SAME,
        activation: str = "NONE",
        filter_scale: float | tuple[float, ...] | None = None,
        scale: float | None = None,
        zero_point: int = 0,
    ) -> int:
        """CONV_2D.

        Args:
            x: Tensor [batch, height, width, channels] of float32 or int8.
            filters: float32 or int8 [filters, height, width, channels of one group].
            bias: float32 or int32 [filters], or none.
            stride: Of height and width.
            dilation: Of height and width.
            padding: `SAME` or `VALID`.
            activation: One of `ACTIVATIONS`.
            filter_scale: Of int8 filters: one, or one a filter.
            scale: Of an int8 output.
            zero_point: Of an int8 output.
        """
        batch, height, width, _ = self.tensors[x].shape
        options = {
            "padding": padding,
            "stride_height": stride[0],
            "stride_width": stride[1],
            "dilation_height": dilation[0],
            "dilation_width": dilation[1],
            "activation": ACTIVATIONS.index(activation),
        }
        out_height = window(height, filters.shape[1], stride[0], dilation[0], padding)[0]
        out_width = window(width, filters.shape[2], stride[1], dilation[1], padding)[0]
        inputs = (x, *self._weights(x, filters, bias, filter_scale))
        shape = (batch, out_height, out_width, filters.shape[0])
        return self._operator("CONV_2D", inputs, shape, self.tensors[x].type, options, scale, zero_point)

    def mean(self, x: int, keep_dims: bool = False, *, scale: float | None = None, zero_point: int = 0) -> int:
        """MEAN over height and width; `scale` and `zero_point` are of an int8 result."""
        batch, _, _, channels = self.tensors[x].shape
        shape = (batch, 1, 1, channels) if keep_dims else (batch, channels)
        inputs, options = (x, self.constant(np.array([1, 2], np.int32))), {"keep_dims": int(keep_dims)}
        return self._operator("MEAN", inputs, shape, self.tensors[x].type, options, scale, zero_point)

    def dense(
        self,
        x: int,
        weights: np.ndarray,
        bias: np.ndarray | None,
        activation: str = "NONE",
        *,
        filter_scale: float | tuple[float, ...] | None = None,
        scale: float | None = None,
        zero_point: int = 0,
    ) -> int:
        """FULLY_CONNECTED with weights [units, inputs]; the last three options are as those of `conv`."""
        rows = math.prod(self.tensors[x].shape) // weights.shape[1]
        operands = self._weights(x, weights, bias, filter_scale)
        inputs = (x, *operands, *([-1] if bias is None else []))
        options = {"activation": ACTIVATIONS.index(activation), "keep_num_dims": 0}
        shape, out_type = (rows, weights.shape[0]), self.tensors[x].type
        return self._operator("FULLY_CONNECTED", inputs, shape, out_type, options, scale, zero_point)

    def reshape(self, x: int, shape: tuple[int, ...]) -> int:
        """RESHAPE; one size may be -1."""
        known = math.prod(size for size in shape if size > 0)
        sizes = tuple(size if size > 0 else math.prod(self.tensors[x].shape) // known for size in shape)
        return self._operator("RESHAPE", (x, self.constant(np.array(shape, np.int32))), sizes, *self._like(x))

    def output(self, *tensors: int) -> Graph:
        """End the graph."""
        self.outputs = list(tensors)
        return self

    def flatbuffer(self) -> bytes:
        """The graph as the content of a `.tflite` file."""
        return _flatbuffer(self)

    def _tensor(self, shape, type: str, data=None, scale=None, zero_point: int = 0, axis: int = 0) -> int:
        self.tensors.append(Tensor(tuple(shape), type, data, scale, zero_point, axis))
        return len(self.tensors) - 1

    def _like(self, x: int, options: dict | None = None) -> tuple:
        """What `_operator` takes behind the shape, for a result of the input's type and quantization."""
        tensor = self.tensors[x]
        return tensor.type, options, tensor.scale, tensor.zero_point

    def _weights(self, x: int, filters: np.ndarray, bias, filter_scale, axis: int = 0) -> tuple[int, ...]:
        """Filters and, if there is one, the bias, whose scale is that of the products."""
        weights = self.constant(filters, filter_scale, axis=axis)
        if bias is None:
            return (weights,)
        input_scale = self.tensors[x].scale
        if input_scale is None or filter_scale is None:
            return weights, self.constant(bias)
        products = tuple(float(np.float32(input_scale) * np.float32(each)) for each in self.tensors[weights].scales)
        return weights, self.constant(bias, products if isinstance(filter_scale, tuple) else products[0])

    def _operator(self, type: str, inputs, shape, out_type: str, options=None, scale=None, zero_point: int = 0) -> int:
        output = self._tensor(shape, out_type, scale=scale, zero_point=zero_point)
        self.operators.append(Operator(type, tuple(inputs), output, options or {}))
        return output

    def _pooled(self, x: int, size: tuple[int, int], stride: tuple[int, int], padding: int) -> tuple[int, ...]:
        batch, height, width, channels = self.tensors[x].shape
        out_height = window(height, size[0], stride[0], 1, padding)[0]
        return batch, out_height, window(width, size[1], stride[1], 1, padding)[0], channels


def _flatbuffer(graph: Graph) -> bytes:
    builder = flatbuffers.Builder(1024)
    buffers = [_table(builder, {})]  # the first one is empty, by convention
    tensors = []
    for number, tensor in enumerate(graph.tensors):
        buffer = 0
        if tensor.data is not None:
            buffer = len(buffers)
            buffers.append(_table(builder, {0: ("offset", _bytes(builder, tensor.data.tobytes()))}))
        fields = {
            0: ("offset", builder.CreateNumpyVector(np.array(tensor.shape, np.int32))),
            1: ("i8", _TYPE_CODES[tensor.type]),
            2: ("u32", buffer),
            3: ("offset", builder.CreateString(f"t{number}")),
        }
        if tensor.scales:
            scale = builder.CreateNumpyVector(np.array(tensor.scales, np.float32))
            zero_point = builder.CreateNumpyVector(np.full(len(tensor.scales), tensor.zero_point, np.int64))
            quantization = {2: ("offset", scale), 3: ("offset", zero_point), 6: ("i32", tensor.quantized_dimension)}
            fields[4] = ("offset", _table(builder, quantization))
        tensors.append(_table(builder, fields))
    types = sorted({operator.type for operator in graph.operators})
    codes = []
    for type in types:
        code = _BUILTIN_CODES.get(type, _CUSTOM)
        fields = {0: ("i8", code), 2: ("i32", 1), 3: ("i32", code)}
        if code == _CUSTOM:
            fields[1] = ("offset", builder.CreateString(type))
        codes.append(_table(builder, fields))
    operators = []
    for operator in graph.operators:
        fields = {
            0: ("u32", types.index(operator.type)),
            1: ("offset", builder.CreateNumpyVector(np.array(operator.inputs, np.int32))),
            2: ("offset", builder.CreateNumpyVector(np.array([operator.output, *operator.more_outputs], np.int32))),
        }
        if operator.type in _OPTIONS:
            union, layout = _OPTIONS[operator.type]
            values = {layout[name][0]: (layout[name][1], value) for name, value in operator.options.items()}
            fields |= {3: ("u8", union), 4: ("offset", _table(builder, values))}
        elif operator.options:
            fields[5] = ("offset", _bytes(builder, bytes(flexbuffers.Dumps(operator.options))))
        operators.append(_table(builder, fields))
    subgraph = {
        0: ("offset", _offsets(builder, tensors)),
        1: ("offset", builder.CreateNumpyVector(np.array(graph.inputs, np.int32))),
        2: ("offset", builder.CreateNumpyVector(np.array(graph.outputs, np.int32))),
        3: ("offset", _offsets(builder, operators)),
    }
    model = {
        0: ("u32", 3),
        1: ("offset", _offsets(builder, codes)),
        2: ("offset", _offsets(builder, [_table(builder, subgraph)])),
        4: ("offset", _offsets(builder, buffers)),
    }
    if graph.names:
        inputs, outputs = (
            _named(builder, {t: name for t, name in graph.names.items() if (t in graph.outputs) is is_output})
            for is_output in (False, True)
        )
        signature = {0: inputs, 1: outputs, 2: ("offset", builder.CreateString("serving_default"))}
        model[7] = ("offset", _offsets(builder, [_table(builder, signature)]))
    builder.Finish(_table(builder, model), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _named(builder: flatbuffers.Builder, names: dict[int, str]) -> tuple[str, int]:
    """Names of a signature, in alphabetical order as TensorFlow writes them."""
    tables = []
    for tensor, name in sorted(names.items(), key=lambda item: item[1]):
        text = builder.CreateString(name)
        tables.append(_table(builder, {0: ("offset", text), 1: ("u32", tensor)}))
    return "offset", _offsets(builder, tables)


def _table(builder: flatbuffers.Builder, fields: dict[int, tuple[str, int]]) -> int:
    add = {
        "offset": builder.PrependUOffsetTRelativeSlot,
        "i8": builder.PrependInt8Slot,
        "u8": builder.PrependUint8Slot,
        "i32": builder.PrependInt32Slot,
        "f32": builder.PrependFloat32Slot,
        "u32": builder.PrependUint32Slot,
    }
    builder.StartObject(max(fields, default=0) + 1)
    for number, (kind, value) in fields.items():
        add[kind](number, value, 0)
    return builder.EndObject()


def _offsets(builder: flatbuffers.Builder, offsets: list[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


def _bytes(builder: flatbuffers.Builder, data: bytes) -> int:
    """A vector of bytes that begins at a multiple of 16, as TensorFlow Lite's buffers do."""
    builder.Prep(16, len(data))
    return builder.CreateByteVector(data)
