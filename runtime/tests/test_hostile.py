"""Files that lie: what the library must refuse, and odd ones that it must not. Each runs in the host, without LiteRT.

LiteRT looks at less than one hopes: shapes of computed tensors come from the file, and the delegate sees them before
any operator has computed its own.
"""

import copy
import dataclasses

import case_file
import native
import numpy as np
import oracle
import pytest
from models import Graph, Operator, Tensor

RANDOM = np.random.default_rng(3)


@pytest.fixture(scope="session")
def host():
    return native.build_checked("host")


def _floats(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


def _bconv(graph, x, channels, filters, size=(3, 3), **options):
    kernel = RANDOM.random((filters, *size, channels)) < 0.5
    return graph.bconv(x, kernel, channels, _floats(filters), _floats(filters), **options)


def _swap(graph, number, **changes):
    """Change a tensor."""
    graph.tensors[number] = dataclasses.replace(graph.tensors[number], **changes)


def _run(host, tmp_path, graph, feeds, runs=None):
    body = case_file.body(graph, runs or [dict(zip(graph.inputs, feeds))])
    name = b"case"
    (tmp_path / "cases").write_bytes(b"".join(map(case_file._blob, (name, body))))
    return native.run([host, tmp_path / "cases"])


def _residual():
    """A network of one layer, and its inputs."""
    graph = Graph()
    x = graph.input((1, 4, 4, 20))
    y = graph.binary("ADD", _bconv(graph, graph.quantize(x), 20, 20), x)
    z = graph.binary("MUL", y, graph.constant(_floats(20)))
    return graph.output(graph.quantize(z)), [_floats(1, 4, 4, 20)]


def _fewer_channels_in_the_file():
    """Arithmetic believes the file, which says 8 channels, and has 8 constants; the convolution has 20."""
    graph = Graph()
    x = graph.input((1, 4, 4, 20))
    y = _bconv(graph, graph.quantize(x), 20, 20)
    z = graph.binary("MUL", y, graph.constant(_floats(20)))
    _swap(graph, graph.operators[-1].inputs[1], shape=(8,), data=_floats(8))
    _swap(graph, y, shape=(1, 4, 4, 8))
    _swap(graph, z, shape=(1, 4, 4, 8))
    return graph.output(graph.quantize(z)), [_floats(1, 4, 4, 20)]


def _written_twice():
    graph, feeds = _residual()
    graph.operators.append(graph.operators[-1])
    return graph, feeds


def _written_constant():
    graph, feeds = _residual()
    _swap(graph, graph.outputs[0], data=np.zeros((1, 4, 4, 1), np.int32))
    return graph, feeds


def _far_dilation():
    """A border of 2^28 cells on each side."""
    graph = Graph()
    x = graph.input((1, 1, 1, 64))
    y = _bconv(graph, graph.quantize(x), 64, 1, (129, 129), dilation=(16384, 16384))
    return graph.output(y), [_floats(1, 1, 1, 64)]


def _zero_point():
    graph = Graph()
    x = graph.input((1, 2, 3, 2), "int32")
    return graph.output(graph.dequantize(x, 40, "int8", 1.0, 2**31 - 1)), [np.zeros((1, 2, 3, 2), np.int32)]


def _channels(count):
    graph = Graph()
    x = graph.input((1, 2, 3, 2), "int32")
    y = graph.dequantize(x, 40)
    _swap(graph, y, shape=(1, 2, 3, count))
    return graph.output(y), [np.zeros((1, 2, 3, 2), np.int32)]


def _many_channels():
    return _channels(2**31 - 1)


def _negative_channels():
    return _channels(-(2**31))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_fewer_channels_in_the_file, "joins constants of another number of channels"),
        (_written_twice, "written twice"),
        (_written_constant, "other inputs or outputs"),
        (_far_dilation, "no memory"),
        (_zero_point, "without a scale"),
        (_many_channels, "channels out of range"),
        (_negative_channels, "channels out of range"),
    ],
)
def test_lies_are_refused(make, message, host, tmp_path):
    done = _run(host, tmp_path, *make())
    assert done.returncode == 1 and message in done.stdout, done


def _dequantized(graph, tensor):
    """The graph with a float16 constant and a DEQUANTIZE in place of a float32 constant."""
    made = copy.deepcopy(graph)
    half = made.tensors[tensor].data.astype(np.float16)
    made.tensors[tensor] = Tensor(half.shape, "float32")
    made.tensors.append(Tensor(half.shape, "float16", half))
    made.operators.insert(0, Operator("DEQUANTIZE", (len(made.tensors) - 1,), tensor, {}))
    return made


@pytest.mark.parametrize("position", [0, 1])
def test_constants_of_another_partition(position, host, tmp_path):
    """LiteRT puts operators that wait for nothing into the first partition; these constants are read in the second."""
    graph = Graph()
    x = graph.input((1, 4, 4, 8))
    y = graph.unary("ABS", _bconv(graph, graph.quantize(x), 8, 8))
    first, second = (graph.constant(_floats(8).astype(np.float16).astype(np.float32)) for _ in range(2))
    y = graph.binary("ADD", graph.binary("MUL", y, first), second)
    graph.output(_bconv(graph, graph.quantize(y), 8, 8))
    feeds = [_floats(1, 4, 4, 8)]
    probe = copy.copy(graph)
    probe.outputs = [*graph.outputs, *(o.output for o in graph.operators if o.type == "ABS")]
    values = dict(zip([*graph.inputs, *probe.outputs], [*feeds, *oracle.evaluate(probe, feeds)]))
    done = _run(host, tmp_path, _dequantized(graph, (first, second)[position]), feeds, [values])
    assert done.returncode == 0, done
