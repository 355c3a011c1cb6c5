"""Files that lie about int8: what would not be LiteRT's result is left to LiteRT. Each runs in the host."""

import dataclasses
import math

import case_file
import native
import numpy as np
import pytest
from models import SAME, Graph, Operator, pack

RANDOM = np.random.default_rng(11)


@pytest.fixture(scope="session")
def host():
    return native.build_checked("host")


def _int8(*shape):
    return RANDOM.integers(-127, 128, shape).astype(np.int8)


def _is_claimed(host, tmp_path, graph):
    """Whether the first operator is: the run gives other numbers for its result, which only a claimed one ignores."""
    y = graph.operators[0].output
    graph.output(graph.quantize(y))
    made = graph.tensors[y]
    zero_point = made.zero_point if len(made.scales) == 1 else 0
    run = {x: _int8(*graph.tensors[x].shape) for x in graph.inputs}
    run[y] = RANDOM.integers(-128, 128, made.shape).astype(np.int8)
    run[graph.outputs[0]] = pack(run[y].astype(int) < zero_point)
    (tmp_path / "cases").write_bytes(case_file._blob(b"case") + case_file._blob(case_file.body(graph, [run])))
    done = native.run([host, tmp_path / "cases"])
    assert done.returncode in (0, 1) and not done.stderr, done
    # Tensors that are shorter than their shapes are refused before anything is claimed.
    assert done.returncode == 0 or "differs" in done.stdout or "lays its tensors out" in done.stdout, done
    return "differs" in done.stdout


def _change(graph, index, **changes):
    graph.tensors[index] = dataclasses.replace(graph.tensors[index], **changes)


def _convolution():
    graph = Graph()
    x = graph.input((1, 5, 5, 6), "int8", 0.05, 3)
    filters, scales = _int8(8, 3, 3, 6), tuple(float(each) for each in np.linspace(0.01, 0.02, 8))
    graph.conv(x, filters, np.arange(8, dtype=np.int32), filter_scale=scales, scale=0.5, zero_point=1)
    return graph


def _dense():
    graph = Graph()
    x = graph.input((2, 12), "int8", 0.05, 3)
    graph.dense(x, _int8(8, 12), np.arange(8, dtype=np.int32), filter_scale=0.01, scale=0.1, zero_point=1)
    return graph


def _depthwise():
    graph = Graph()
    x = graph.input((1, 5, 5, 6), "int8", 0.05, 3)
    scales = tuple(float(each) for each in np.linspace(0.01, 0.02, 6))
    graph.depthwise(x, _int8(3, 3, 6), np.arange(6, dtype=np.int32), filter_scale=scales, scale=0.1)
    return graph


def _arithmetic(type):
    def make():
        graph = Graph()
        x = graph.input((1, 4, 4, 6), "int8", 0.05, 3)
        graph.binary(type, x, graph.constant(_int8(6), 0.04, -1), scale=0.1, zero_point=1)
        return graph

    return make


def _two_values():
    graph = Graph()
    x, y = (graph.input((1, 4, 4, 6), "int8", 0.05, 3) for _ in range(2))
    graph.binary("ADD", x, y, scale=0.1, zero_point=1)
    return graph


def _slopes():
    graph = Graph()
    x = graph.input((1, 4, 4, 6), "int8", 0.05, 3)
    graph.with_constant("PRELU", x, graph.constant(_int8(1, 1, 6), 0.01), scale=0.1, zero_point=1)
    return graph


def _pool(type="AVERAGE_POOL_2D"):
    graph = Graph()
    graph.pool(type, graph.input((1, 5, 5, 6), "int8", 0.05, 3), (3, 3), (2, 2), SAME, "RELU")
    return graph


def _mean():
    graph = Graph()
    graph.mean(graph.input((1, 5, 5, 6), "int8", 0.05, 3), scale=0.04, zero_point=1)
    return graph


def _pad():
    graph = Graph()
    graph.pad_around(graph.input((1, 3, 3, 6), "int8", 0.05, 3), [(0, 0), (1, 0), (1, 2), (0, 1)])
    return graph


def _concatenation():
    graph = Graph()
    graph.concatenate(*(graph.input((1, 3, 3, 6), "int8", 0.05, 3) for _ in range(2)))
    return graph


def _map(type):
    def make():
        graph = Graph()
        x = graph.input((1, 3, 3, 6), "int8", 0.05, 3)
        if type == "QUANTIZE":
            graph.quantize_affine(x, 0.04, 1)
        else:
            graph.unary(type, x, scale=0.04, zero_point=1)
        return graph

    return make


_MAKERS = {
    "conv": _convolution,
    "dense": _dense,
    "depthwise": _depthwise,
    "add": _arithmetic("ADD"),
    "sub": _arithmetic("SUB"),
    "mul": _arithmetic("MUL"),
    "values": _two_values,
    "prelu": _slopes,
    "pool": _pool,
    "max pool": lambda: _pool("MAX_POOL_2D"),
    "mean": _mean,
    "pad": _pad,
    "concatenation": _concatenation,
    "relu": _map("RELU6"),
    "quantize": _map("QUANTIZE"),
}
_WITH_FILTERS, _WITH_CONSTANT = ("conv", "dense", "depthwise"), ("add", "sub", "mul", "prelu")


@pytest.mark.parametrize("name", _MAKERS)
def test_sound_operator_is_claimed(name, host, tmp_path):
    assert _is_claimed(host, tmp_path, _MAKERS[name]())


def _quantized_floats():
    graph = Graph()
    graph.quantize_affine(graph.input((1, 3, 3, 6)), 0.04, 1)
    return graph


@pytest.mark.parametrize("name", [*_MAKERS, "floats"])
def test_operator_of_constants(name, host, tmp_path):
    """It need not be claimed, and the rest of the graph must run."""
    graph = _MAKERS.get(name, _quantized_floats)()
    for index in graph.inputs:
        tensor = graph.tensors[index]
        values = np.zeros(tensor.shape, np.float32) if tensor.type == "float32" else _int8(*tensor.shape)
        _change(graph, index, data=values)
    graph.inputs.clear()
    assert not _is_claimed(host, tmp_path, graph)


@pytest.mark.parametrize("scale", [0.0, -0.05, math.inf, math.nan, (0.05,) * 6, None])
@pytest.mark.parametrize("which", ["input", "output"])
@pytest.mark.parametrize("name", _MAKERS)
def test_scales(name, which, scale, host, tmp_path):
    graph = _MAKERS[name]()
    operator = graph.operators[0]
    _change(graph, operator.inputs[0] if which == "input" else operator.output, scale=scale, quantized_dimension=3)
    assert not _is_claimed(host, tmp_path, graph)


@pytest.mark.parametrize("zero_point", [-129, 128, 2**31 - 1, -(2**31)])
@pytest.mark.parametrize("name", _MAKERS)
def test_zero_points(name, zero_point, host, tmp_path):
    graph = _MAKERS[name]()
    _change(graph, graph.operators[0].inputs[0], zero_point=zero_point)
    assert not _is_claimed(host, tmp_path, graph)


@pytest.mark.parametrize(
    "changes",
    [
        {"scale": (0.01,) * 5},
        {"scale": (0.01,) * 7 + (math.nan,)},
        {"scale": (0.01,) * 7 + (0.0,)},
        {"scale": 0.0},
        {"scale": None},
        {"zero_point": 1},
        {"quantized_dimension": 2**31 - 1},
        {"quantized_dimension": -1},
        {"scale": 3e38},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", _WITH_FILTERS)
def test_scales_of_filters(name, changes, host, tmp_path):
    graph = _MAKERS[name]()
    index = graph.operators[0].inputs[1]
    if "quantized_dimension" in changes:
        changes = changes | {"scale": (0.01,) * graph.tensors[graph.operators[0].output].shape[-1]}
    _change(graph, index, **changes)
    assert not _is_claimed(host, tmp_path, graph)


@pytest.mark.parametrize("name", _WITH_FILTERS)
def test_filters(name, host, tmp_path):
    """Two products with -128 overflow an int16; and filters that end early."""
    graph = _MAKERS[name]()
    index = graph.operators[0].inputs[1]
    filters = graph.tensors[index].data
    filters.reshape(-1)[-1] = -128
    assert not _is_claimed(host, tmp_path, graph)
    graph = _MAKERS[name]()
    _change(graph, index, data=filters.reshape(-1)[:-1])
    assert not _is_claimed(host, tmp_path, graph)


@pytest.mark.parametrize(
    "bias", [np.full(8, 2**31 - 1), np.full(8, -(2**31)), np.zeros(7), np.zeros(9), np.zeros(0)], ids=lambda b: len(b)
)
def test_biases(bias, host, tmp_path):
    graph = _convolution()
    _change(graph, graph.operators[0].inputs[2], data=bias.astype(np.int32), shape=bias.shape)
    assert not _is_claimed(host, tmp_path, graph)
    graph = _convolution()
    _change(graph, graph.operators[0].inputs[2], data=np.zeros(3, np.int32))
    assert not _is_claimed(host, tmp_path, graph)


@pytest.mark.parametrize("name", _WITH_CONSTANT)
def test_constants(name, host, tmp_path):
    index = _MAKERS[name]().operators[0].inputs[1]
    for changes in (
        {"shape": (5,), "data": _int8(5)},
        {"data": _int8(2)},
        {"shape": (1, 1, 1, 1, 6)},
        {"shape": (6, 1)},
        {"shape": (0,), "data": _int8(0)},
        {"scale": math.nan},
        {"zero_point": 200},
        {"type": "uint8"},
    ):
        graph = _MAKERS[name]()
        _change(graph, index, **changes)
        assert not _is_claimed(host, tmp_path, graph), changes


@pytest.mark.parametrize("name", ["add", "sub", "mul", "prelu", "values", "relu", "quantize", "conv", "dense"])
def test_factors_that_overflow(name, host, tmp_path):
    graph = _MAKERS[name]()
    _change(graph, graph.operators[0].output, scale=1e-12)
    assert not _is_claimed(host, tmp_path, graph)


def test_products_of_scales_that_are_denormal(host, tmp_path):
    """LiteRT computes with them, or takes them for zero."""
    graph = _arithmetic("MUL")()
    for index in graph.operators[0].inputs:
        _change(graph, index, scale=1e-20)
    _change(graph, graph.operators[0].output, scale=1e-38)
    assert not _is_claimed(host, tmp_path, graph)


@pytest.mark.parametrize("type", ["AVERAGE_POOL_2D", "MAX_POOL_2D"])
@pytest.mark.parametrize(
    "options", [{"stride_width": 0}, {"stride_height": -1}, {"filter_width": 0}, {"filter_height": 2**31 - 1}], ids=str
)
def test_windows(options, type, host, tmp_path):
    graph = _pool(type)
    graph.operators[0].options.update(options)
    assert not _is_claimed(host, tmp_path, graph)


@pytest.mark.parametrize(
    "margins", [[0, 1, 0, 0, 0, 0, 0, 0], [0, 0, -1, 0, 0, 0, 0, 0], [0, 0, 0, 2**31 - 1, 0, 0, 0, 0], [0] * 6]
)
def test_margins(margins, host, tmp_path):
    graph = _pad()
    _change(graph, graph.operators[0].inputs[1], data=np.array(margins, np.int32))
    assert not _is_claimed(host, tmp_path, graph)


def test_parts_of_other_scales(host, tmp_path):
    for changes in ({"scale": 0.051}, {"zero_point": 4}):
        graph = _concatenation()
        _change(graph, graph.inputs[1], **changes)
        assert not _is_claimed(host, tmp_path, graph)


def test_means_of_other_dimensions(host, tmp_path):
    graph = _mean()
    _change(graph, graph.operators[0].inputs[1], data=np.array([0, 3], np.int32))
    assert not _is_claimed(host, tmp_path, graph)


def test_slopes_that_are_computed(host, tmp_path):
    graph = Graph()
    x, slopes = (graph.input((1, 4, 4, 6), "int8", 0.05, 3) for _ in range(2))
    graph.with_constant("PRELU", x, slopes, scale=0.1, zero_point=1)
    assert not _is_claimed(host, tmp_path, graph)


def test_operands_of_two_constants(host, tmp_path):
    graph = _arithmetic("ADD")()
    operator = graph.operators[0]
    graph.operators[0] = Operator(operator.type, (operator.inputs[1],) * 2, operator.output, operator.options)
    assert not _is_claimed(host, tmp_path, graph)


def test_groups_of_different_sizes(host, tmp_path):
    graph = Graph()
    x = graph.input((1, 5, 5, 6), "int8", 0.05, 3)
    graph.conv(x, _int8(8, 3, 3, 2), np.zeros(8, np.int32), filter_scale=0.01, scale=0.5)
    assert not _is_claimed(host, tmp_path, graph)
