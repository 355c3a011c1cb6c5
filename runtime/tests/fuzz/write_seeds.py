"""Writes the seeds of the fuzzer: small graphs with every operator, option and type. `python write_seeds.py FOLDER`."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import case_file
import numpy as np
from models import SAME, VALID, Graph, Operator, Tensor, pack

RANDOM = np.random.default_rng(7)


def _floats(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


def _bits(*shape):
    return RANDOM.random(shape) < 0.5


def _bconv(graph, x, channels, filters, size=(3, 3), groups=1, bits=False, **options):
    kernel = _bits(filters, *size, channels // groups)
    if bits:
        return graph.bconv(x, kernel, channels, thresholds=np.arange(filters, dtype=np.int32) + channels, **options)
    return graph.bconv(x, kernel, channels, _floats(filters), _floats(filters), **options)


def _constant(graph, values, scale=None, zero_point=0):
    """A constant and the DEQUANTIZE that makes float32 of it."""
    graph.tensors.append(Tensor(values.shape, str(values.dtype), values, scale, zero_point))
    graph.tensors.append(Tensor(values.shape, "float32"))
    graph.operators.append(Operator("DEQUANTIZE", (len(graph.tensors) - 2,), len(graph.tensors) - 1, {}))
    return len(graph.tensors) - 1


def _swap_constant(graph, position, made):
    """Let the last operator read `made` in place of what it reads at `position`."""
    last = graph.operators.pop()
    inputs = list(last.inputs)
    inputs[position] = made
    graph.operators.append(Operator(last.type, tuple(inputs), last.output, last.options))


def _graphs():
    for type in ("float32", "bool", "int8"):
        graph = Graph()
        x = graph.input((1, 2, 3, 40), type, 0.1 if type == "int8" else None, 3)
        yield f"quantize-{type}", graph.output(graph.quantize(x))
        graph = Graph()
        x = graph.input((1, 2, 3, 2), "int32")
        yield f"dequantize-{type}", graph.output(graph.dequantize(x, 40, type, 0.5 if type == "int8" else None, 3))
    for padding, pad_values, stride, dilation in [
        (SAME, 0, (1, 1), (1, 1)),
        (SAME, 0, (2, 1), (1, 2)),
        (SAME, 1, (1, 2), (1, 1)),
        (VALID, 0, (1, 1), (1, 1)),
    ]:
        options = {"padding": padding, "pad_values": pad_values, "stride": stride, "dilation": dilation}
        for kind, more in [("float32", {"activation": "RELU"}), ("int8", {"scale": 0.1}), ("bits", {"bits": True})]:
            graph = Graph()
            x = graph.input((2, 5, 6, 2), "int32")
            label = f"bconv-{kind}-{padding}{pad_values}-{stride[0]}{stride[1]}-{dilation[0]}{dilation[1]}"
            yield label, graph.output(_bconv(graph, x, 40, 5, **options, **more))
    for kind, more in [("float32", {}), ("bits", {"bits": True})]:
        graph = Graph()
        x = graph.input((1, 3, 3, 2), "int32")
        yield f"groups-{kind}", graph.output(_bconv(graph, x, 64, 6, (2, 2), 2, **more))
    for padding in (SAME, VALID):
        graph = Graph()
        x = graph.input((1, 5, 5, 2), "int32")
        yield f"bmaxpool-{padding}", graph.output(graph.bmaxpool(x, (2, 3), (2, 1), padding))
    for type in ("MAX_POOL_2D", "AVERAGE_POOL_2D"):
        graph = Graph()
        x = graph.input((1, 5, 5, 8))
        y = graph.pool(type, _bconv(graph, graph.quantize(x), 8, 8), (2, 2), (2, 2), SAME, "RELU")
        yield type.lower(), graph.output(graph.quantize(y), y)
    for type in ("ADD", "SUB", "MUL"):
        graph = Graph()
        x = graph.input((1, 4, 4, 20))
        y = graph.binary(type, _bconv(graph, graph.quantize(x), 20, 20), x, "RELU6")
        z = graph.binary(type, y, graph.constant(_floats(20)))
        z = graph.binary(type, z, graph.constant(_floats(1)), "RELU_N1_TO_1")
        yield f"{type.lower()}s", graph.output(graph.quantize(graph.relu(z)))
    graph = Graph()
    x = graph.input((1, 2, 3, 2), "int32")
    y = graph.dequantize(x, 40)
    graph.tensors[y] = dataclasses.replace(graph.tensors[y], shape=(1, 2, 3, -(2**31)))
    yield "negative-channels", graph.output(y)
    # Sizes that no product of 64 bits holds, of a tensor that nothing reads.
    for number, shape in enumerate([(43434, 43431, 2**31 - 1), (-1, 2**31 - 1, 2**31 - 1, 2**31 - 1)]):
        graph = Graph()
        x = graph.input((1, 2, 3, 40))
        graph.tensors.append(Tensor((8,), "float32"))
        graph.tensors.append(Tensor(shape, "float32", np.zeros(1, np.float32)))
        yield f"huge-shape-{number}", graph.output(graph.quantize(x))
    # The file says that the map is large, so that the pool computes it row by row; it is small.
    graph = Graph()
    x = graph.input((1, 7, 7, 3))
    y = graph.conv(x, _floats(8, 2, 2, 3), _floats(8))
    z = graph.pool("MAX_POOL_2D", y, (3, 3), (2, 2), SAME)
    graph.tensors[y] = dataclasses.replace(graph.tensors[y], shape=(1, 200, 200, 8))
    yield "large-pool", graph.output(_bconv(graph, graph.quantize(z), 8, 4))
    for keep_dims in (False, True):
        graph = Graph()
        x = graph.input((2, 3, 4, 8))
        y = graph.mean(_bconv(graph, graph.quantize(x), 8, 12), keep_dims)
        yield f"mean-{int(keep_dims)}", graph.output(graph.dense(y, _floats(5, 12), _floats(5)))
    graph = Graph()
    x = graph.input((1, 5, 5, 3))
    y = graph.conv(x, _floats(12, 3, 3, 3), _floats(12), stride=(2, 2))
    z = _bconv(graph, graph.quantize(y), 12, 12)
    z = graph.reshape(graph.binary("ADD", z, y), (1, -1))
    yield "stem", graph.output(graph.dense(z, _floats(4, 108), None, "RELU"))
    graph = Graph()
    x = graph.input((1, 4, 4, 8))
    y = graph.unary("ABS", _bconv(graph, graph.quantize(x), 8, 8))
    yield "islands", graph.output(_bconv(graph, graph.quantize(graph.binary("ADD", y, x)), 8, 8))
    graph = Graph()
    x = graph.input((1, 4, 4, 8))
    y = _bconv(graph, graph.quantize(x), 8, 8, bits=True)
    yield "packed", graph.output(_bconv(graph, graph.bmaxpool(y, (2, 2), (2, 2)), 8, 3))
    for name, values in [
        ("half", lambda a: (a.astype(np.float16),)),
        ("int8", lambda a: ((a * 40).astype(np.int8), 0.025, 3)),
    ]:
        graph = Graph()
        x = graph.input((1, 3, 3, 4))
        kernel, bias = _constant(graph, *values(_floats(6, 2, 2, 4))), _constant(graph, *values(_floats(6)))
        y = graph.conv(x, _floats(6, 2, 2, 4), _floats(6))
        _swap_constant(graph, 1, kernel)
        _swap_constant(graph, 2, bias)
        y = _bconv(graph, graph.quantize(y), 6, 6)
        scale = _constant(graph, *values(_floats(6)))
        y = graph.binary("MUL", y, graph.constant(_floats(6)))
        _swap_constant(graph, 1, scale)
        yield f"constants-{name}", graph.output(y)


def _int8(*shape, low=-127):
    return RANDOM.integers(low, 128, shape).astype(np.int8)


def _int8_graphs():
    """Operators of int8, each behind the one before; a graph is claimed only with an operator of LCE."""
    quantization = {"scale": 0.05, "zero_point": -3}

    def started(*shape):
        graph = Graph()
        return graph, graph.input(shape, "int8", 0.04, 5)

    for scales in (0.01, tuple(float(each) for each in np.linspace(0.01, 0.05, 6))):
        weights = {"filter_scale": scales, **quantization}
        bias = np.arange(6, dtype=np.int32)
        graph, x = started(2, 5, 4, 6)
        y = graph.conv(x, _int8(6, 3, 3, 6), bias, activation="RELU6", **weights)
        y = graph.depthwise(y, _int8(3, 2, 6), bias, stride=(2, 1), **weights)
        y = graph.dense(graph.mean(y, **quantization), _int8(6, 6), bias, **weights)
        yield (
            f"int8-products-{len(graph.tensors[graph.operators[0].inputs[1]].scales)}",
            graph.output(graph.quantize(y)),
        )
    graph, x = started(1, 4, 4, 8)
    y = graph.conv(x, _int8(8, 2, 2, 4), np.zeros(8, np.int32), filter_scale=0.02, padding=VALID, **quantization)
    yield "int8-groups", graph.output(graph.dequantize_affine(y), graph.quantize(y))
    for type in ("ADD", "SUB", "MUL"):
        graph, x = started(2, 3, 4, 5)
        y = graph.binary(type, x, graph.constant(_int8(5), 0.1, 1), "RELU", **quantization)
        y = graph.binary(type, graph.constant(_int8(1), 0.1, -128), y, **quantization)
        y = graph.binary(type, y, graph.mean(x, True, **quantization), "RELU_N1_TO_1", **quantization)
        yield f"int8-{type.lower()}", graph.output(graph.quantize(graph.binary(type, y, x, **quantization)), y)
    for padding in (SAME, VALID):
        graph, x = started(1, 5, 6, 3)
        y = graph.pool("MAX_POOL_2D", x, (2, 3), (2, 1), padding, "RELU")
        y = graph.pool("AVERAGE_POOL_2D", y, (2, 2), (1, 1), padding, "RELU6")
        yield f"int8-pools-{padding}", graph.output(graph.quantize(y))
    graph, x = started(1, 4, 3, 4)
    y = graph.with_constant("PRELU", x, graph.constant(_int8(1, 1, 4), 0.02, 3), **quantization)
    for type in ("RELU", "RELU6", "RELU_N1_TO_1"):
        y = graph.unary(type, y, **quantization)
    y = graph.quantize_affine(y, 0.04, 5)
    y = graph.pad_around(graph.concatenate(y, x), [(0, 0), (1, 0), (0, 2), (1, 1)])
    yield "int8-moves", graph.output(graph.quantize(graph.reshape(y, (1, 1, 1, -1))))
    graph = Graph()
    x = graph.input((1, 3, 4, 3), "uint8", 0.01, 128)
    y = graph.binary("ADD", graph.cast(x, "float32"), graph.dequantize_affine(x))
    y = graph.quantize_affine(y, 0.02, 1)
    z = graph.binary("ADD", graph.quantize_affine(x, 0.02, 1), y, **quantization)
    yield "int8-quantize", graph.output(_bconv(graph, graph.quantize(z), 3, 4, scale=0.1), graph.dequantize_affine(z))
    graph = Graph()
    x = graph.input((1, 3, 4, 5))
    y = graph.conv(x, _int8(6, 2, 2, 5), _floats(6), filter_scale=0.02)
    yield "int8-weights-alone", graph.output(graph.quantize(y))


def _feeds(graph, batch):
    """Values of the inputs, with another batch size."""
    for index in graph.inputs:
        tensor = graph.tensors[index]
        shape = (batch, *tensor.shape[1:])
        if tensor.type == "int32":
            yield index, pack(_bits(*shape[:-1], shape[-1] * 32))
        elif tensor.type == "bool":
            yield index, _bits(*shape)
        elif tensor.type == "uint8":
            yield index, _int8(*shape).view(np.uint8)
        else:
            yield index, (_floats(*shape) * (1 if tensor.type == "float32" else 50)).astype(tensor.type)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, graph in (*_graphs(), *_int8_graphs()):
        runs = [dict(_feeds(graph, graph.tensors[graph.inputs[0]].shape[0])), dict(_feeds(graph, 3))]
        (folder / f"{name}.case").write_bytes(case_file.body(graph, runs))
