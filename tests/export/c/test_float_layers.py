"""Float operators in C against the runtime's oracle: tiny graphs, lowered, compiled into one library and run."""

from __future__ import annotations

import ctypes
import dataclasses
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import runtime_tests

from bopkit.export.c import memory, writing
from bopkit.export.c.graph import read_graph
from bopkit.export.c.lowering import lower
from bopkit.export.c.steps import Program

_ROOT = Path(__file__).parents[3]


models, oracle = runtime_tests.load("models", "oracle")
models._TYPE_CODES["float16"] = 1  # a copy of our own

_KERNELS = _ROOT / "export" / "c" / "kernels"
_TOLERANCE = 1e-5
_COMPILER = next((path for path in map(shutil.which, ("cc", "gcc", "clang")) if path), None)
_FLAGS = ("-std=c99", "-O1", "-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Wdouble-promotion", "-Werror")
_MAP = (1, 5, 6, 8)


@dataclasses.dataclass
class _Case:
    """A graph, its input, what it should answer, and the kernels that should compute it."""

    graph: Any
    feed: np.ndarray
    wanted: np.ndarray
    kernels: set[str]
    renamed: dict[str, str] = dataclasses.field(default_factory=dict)


_CASES: dict[str, Callable[[np.random.Generator], _Case]] = {}


def _floats(chance: np.random.Generator, *shape: int) -> np.ndarray:
    return chance.normal(0, 2, shape).astype(np.float32)


def _case(*kernels: str, shape: tuple[int, ...] = _MAP, wanted: Callable | None = None, **renamed: str) -> Callable:
    """Register a graph: its function gets the graph, its input and random numbers, and returns the output."""

    def register(build: Callable) -> Callable:
        def make(chance: np.random.Generator) -> _Case:
            graph, feed = models.Graph(), _floats(chance, *shape)
            graph.output(build(graph, graph.input(shape), chance))
            truth = oracle.evaluate(graph, [feed])[0] if wanted is None else wanted(feed)
            return _Case(graph, feed, truth, {f"bopkit_{each}" for each in kernels}, renamed)

        _CASES[build.__name__.strip("_")] = make
        return build

    return register


@_case("conv_float")
def _conv(graph, x, chance):
    return graph.conv(x, _floats(chance, 7, 3, 2, 8), _floats(chance, 7), stride=(2, 1), activation="RELU")


@_case("conv_float")
def _grouped_conv(graph, x, chance):
    return graph.conv(x, _floats(chance, 10, 3, 3, 4), _floats(chance, 10), dilation=(1, 2))


@_case("conv_float")
def _one_pixel_conv(graph, x, chance):
    return graph.conv(x, _floats(chance, 6, 1, 1, 4), _floats(chance, 6), stride=(2, 2))


@_case("depthwise_float")
def _depthwise(graph, x, chance):
    return graph.depthwise(x, _floats(chance, 3, 3, 16), _floats(chance, 16), stride=(2, 2), activation="RELU6")


@_case("conv_float")
def _dense(graph, x, chance):
    return graph.dense(graph.reshape(x, (1, -1)), _floats(chance, 5, 240), _floats(chance, 5))


def _with_int8_weights(graph, layer: str, axis: int, x: int, chance: np.random.Generator, shape: tuple[int, ...]):
    """A layer whose weights are a DEQUANTIZE of a constant int8 with a scale a channel."""
    stored = chance.integers(-127, 128, shape).astype(np.int8)
    scales = tuple(float(each) for each in np.float32(chance.uniform(0.001, 0.1, shape[axis])))
    index = graph.constant(stored[None] if layer == "depthwise" else stored, scales, axis=3 if axis else 0)
    weights = graph.dequantize_affine(index)
    real = stored.astype(np.float32) * np.float32(scales).reshape([-1 if i == axis else 1 for i in range(len(shape))])
    y = getattr(graph, layer)(x, real, _floats(chance, shape[axis]))
    operator = graph.operators[-1]
    graph.operators[-1] = dataclasses.replace(operator, inputs=(x, weights, *operator.inputs[2:]))
    return y


@_case("conv_float")
def _int8_conv(graph, x, chance):
    return _with_int8_weights(graph, "conv", 0, x, chance, (6, 3, 3, 8))


@_case("depthwise_float")
def _int8_depthwise(graph, x, chance):
    return _with_int8_weights(graph, "depthwise", 2, x, chance, (3, 3, 8))


@_case("conv_float")
def _int8_dense(graph, x, chance):
    return _with_int8_weights(graph, "dense", 0, graph.reshape(x, (1, 240)), chance, (6, 240))


@_case("add_float")
def _add_channels(graph, x, chance):
    return graph.binary("ADD", x, graph.constant(_floats(chance, 8)), "RELU_N1_TO_1")


@_case("subtract_float", "absolute_float")
def _subtract_from_constant(graph, x, chance):
    return graph.binary("SUB", graph.constant(_floats(chance, 1)), graph.unary("ABS", x))


@_case("multiply_float", "negate_float", "mean_float")
def _multiply_by_pixel(graph, x, chance):
    pixel = graph.mean(x, keep_dims=True)
    return graph.binary("MUL", graph.unary("NEG", x), pixel)


@_case("divide_float", wanted=lambda x: x / np.float32(3.7), MUL="DIV")
def _divide(graph, x, chance):
    return graph.binary("MUL", x, graph.constant(np.full(1, 3.7, np.float32)))


@_case("multiply_float", wanted=lambda x: x * np.float32([1.5, -0.125]).repeat(4))
def _float16_constant(graph, x, chance):
    stored = graph.constant(np.float16([1.5, -0.125]).repeat(4))
    return graph.binary("MUL", x, graph.dequantize_affine(stored))


@_case("maximum_float")
def _maximum(graph, x, chance):
    return graph.with_constant("MAXIMUM", x, graph.constant(_floats(chance, 8)))


@_case("prelu_float")
def _prelu(graph, x, chance):
    return graph.with_constant("PRELU", x, graph.constant(_floats(chance, 1, 1, 8)))


@_case("clamp_float", wanted=lambda x: np.clip(x, 0, 6))
def _relu6(graph, x, chance):
    return graph.unary("RELU6", x)


@_case("logistic_float")
def _logistic(graph, x, chance):
    return graph.unary("LOGISTIC", graph.binary("MUL", x, graph.constant(np.full(1, 9, np.float32))))


@_case("softmax_float")
def _softmax(graph, x, chance):
    return graph.softmax(graph.reshape(x, (10, 24)), 0.7)


@_case("max_pool_float")
def _max_pool(graph, x, chance):
    return graph.pool("MAX_POOL_2D", x, (3, 2), (2, 2), models.SAME, "RELU6")


@_case("average_pool_float")
def _average_pool(graph, x, chance):
    return graph.pool("AVERAGE_POOL_2D", x, (3, 3), (2, 1), models.SAME)


@_case("pad", "copy_rows")
def _pad_and_split(graph, x, chance):
    first, second = graph.split(graph.pad_around(x, [(0, 0), (1, 2), (0, 1), (3, 1)]), 2)
    return graph.concatenate(second, graph.relu(first), second)


@_case("int8_of_float", "float_of_int8")
def _through_int8(graph, x, chance):
    stored = graph.quantize_affine(graph.unary("NEG", x), 0.03125, -7)
    return graph.unary("NEG", graph.dequantize_affine(stored))


@_case("signs_of_float", "bconv_to_float")
def _binary_convolution(graph, x, chance):
    bits = chance.integers(0, 2, (5, 3, 3, 8)).astype(bool)
    scale = {"multiplier": _floats(chance, 5), "bias": _floats(chance, 5)}
    return graph.bconv(graph.quantize(x), bits, 8, **scale, activation="RELU")


@_case("signs_of_float", "float_of_bits", shape=(1, 3, 2, 11))
def _signs(graph, x, chance):
    return graph.dequantize(graph.quantize(x), 11)


def _pixels(chance: np.random.Generator) -> _Case:
    graph = models.Graph()
    feed = chance.integers(0, 256, _MAP).astype(np.uint8)
    x = graph.cast(graph.input(_MAP, "uint8"), "float32")
    graph.output(graph.binary("SUB", x, graph.constant(_floats(chance, 8))))
    return _Case(graph, feed, oracle.evaluate(graph, [feed])[0], {"bopkit_float_of_uint8"})


_CASES["pixels"] = _pixels


@dataclasses.dataclass
class _Built:
    library: ctypes.CDLL
    cases: dict[str, _Case]
    programs: dict[str, Program]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Built]:
    """All graphs in one library."""
    if _COMPILER is None:
        pytest.skip("no C compiler: cc, gcc or clang")
    folder = tmp_path_factory.mktemp("float")
    cases, programs = {}, {}
    for number, (name, make) in enumerate(_CASES.items()):
        case = make(np.random.default_rng(number))
        graph = read_graph(case.graph.flatbuffer(), Path(f"{name}.tflite"))
        operators = tuple(
            dataclasses.replace(each, type=case.renamed.get(each.type, each.type)) for each in graph.operators
        )
        program = lower(dataclasses.replace(graph, operators=operators), {})
        arena = memory.plan(program)
        about = writing.About(f"net_{name}", name, "floats", "floats", (), "0")
        (folder / f"net_{name}.h").write_text(writing.header(program, arena, about))
        (folder / f"net_{name}.c").write_text(writing.source(program, arena, about))
        cases[name], programs[name] = case, program
    sources = [*folder.glob("net_*.c"), *_KERNELS.glob("*.c")]
    library = folder / "networks.so"
    subprocess.run(
        [_COMPILER, *_FLAGS, "-shared", "-fPIC", f"-I{_KERNELS}", *map(str, sources), "-o", str(library)], check=True
    )
    yield _Built(ctypes.CDLL(str(library)), cases, programs)


@pytest.mark.parametrize("name", _CASES)
def test_answers_what_the_oracle_answers(built: _Built, name: str) -> None:
    case = built.cases[name]
    answer = np.full(case.wanted.shape, np.nan, np.float32)
    feed = np.ascontiguousarray(case.feed)
    getattr(built.library, f"net_{name}_run")(ctypes.c_void_p(feed.ctypes.data), ctypes.c_void_p(answer.ctypes.data))
    limit = _TOLERANCE * max(1e-30, float(np.abs(case.wanted).max()))
    np.testing.assert_allclose(answer, case.wanted, rtol=0, atol=limit)
    assert case.kernels <= {step.kernel for step in built.programs[name].steps}


def test_signs_of_denormal_numbers_are_positive(built: _Built) -> None:
    tiny = np.finfo(np.float32).tiny
    x = np.array([-0.0, -tiny / 2, -tiny, 0, tiny, -1, np.inf, -np.inf], np.float32)
    answer = np.zeros(1, np.uint8)
    kernel = built.library.bopkit_signs_of_float
    kernel.argtypes = [ctypes.c_uint32, ctypes.c_uint16, ctypes.c_void_p, ctypes.c_void_p]
    kernel(1, 8, x.ctypes.data, answer.ctypes.data)
    assert answer[0] == 0b10100100


def test_logistic_is_accurate(built: _Built) -> None:
    x = np.linspace(-80, 80, 20_001, dtype=np.float32)
    answer = np.zeros_like(x)
    kernel = built.library.bopkit_logistic_float
    kernel.argtypes = [ctypes.c_uint32, ctypes.c_void_p, ctypes.c_void_p]
    kernel(x.size, x.ctypes.data, answer.ctypes.data)
    np.testing.assert_allclose(answer, 1 / (1 + np.exp(-x.astype(np.float64))), rtol=1e-6)
