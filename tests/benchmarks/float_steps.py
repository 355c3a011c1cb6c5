"""Float layers of the catalogue's shapes, each alone: the native runtime against LiteRT with XNNPACK.

    python tests/benchmarks/float_steps.py [LAYER ...] [--runs 200] [--isa NAME]

One thread, in one process and taking turns as in native_runtime.py. The runtime claims a file only for its binary
operators, so that its files have one more: the signs of a single pixel, which cost next to nothing. Both times have
LiteRT's and Python's part of a call, a few microseconds. `times` above 1: the runtime is faster. LAYER is part of a
name.
"""

import argparse
import sys
import time
from pathlib import Path

import bopkit_runtime
import numpy as np
from native_runtime import interleaved_ms

from bopkit.host import cpu_name

sys.path.insert(0, str(Path(__file__).parents[2] / "runtime" / "tests"))
from models import SAME, VALID, Graph

RNG = np.random.default_rng(0)


def floats(*shape):
    return RNG.uniform(-1, 1, shape).astype(np.float32)


def conv(size, channels, filters, kernel, stride=1, activation="NONE", padding=SAME):
    def build(graph):
        x = graph.input((1, size, size, channels))
        weights, bias = floats(filters, kernel, kernel, channels), floats(filters)
        return graph.conv(x, weights, bias, stride=(stride, stride), activation=activation, padding=padding)

    return f"conv {kernel}x{kernel}/{stride} {channels}->{filters} at {size}", build


def grouped(size, channels, filters, groups, stride=1):
    def build(graph):
        parts = graph.split(graph.input((1, size, size, channels)), groups)
        shape = filters // groups, 3, 3, channels // groups
        made = [graph.conv(part, floats(*shape), floats(shape[0]), stride=(stride, stride)) for part in parts]
        return graph.concatenate(*made)

    return f"conv 3x3/{stride} {channels}->{filters} in {groups} groups at {size}", build


def depthwise(size, channels, stride):
    def build(graph):
        x = graph.input((1, size, size, channels))
        return graph.depthwise(x, floats(3, 3, channels), floats(channels), stride=(stride, stride))

    return f"depthwise 3x3/{stride} {channels} at {size}", build


def dense(inputs, units):
    def build(graph):
        return graph.dense(graph.input((1, inputs)), floats(units, inputs), floats(units))

    return f"dense {inputs}->{units}", build


def pool(kind, size, channels, window, stride, padding=VALID):
    def build(graph):
        x = graph.input((1, size, size, channels))
        return graph.pool(f"{kind.upper()}_POOL_2D", x, (window, window), (stride, stride), padding)

    return f"{kind} pool {window}x{window}/{stride} {channels} at {size}", build


def elementwise(name, size, channels, apply):
    def build(graph):
        return apply(graph, graph.input((1, size, size, channels)))

    return f"{name} {channels} at {size}", build


def batch_norm(graph, x):
    channels = graph.tensors[x].shape[-1]
    scaled = graph.binary("MUL", x, graph.constant(floats(channels)))
    return graph.binary("ADD", scaled, graph.constant(floats(channels)))


def with_constant(type):
    return lambda graph, x: graph.with_constant(type, x, graph.constant(floats(1, 1, graph.tensors[x].shape[-1])))


def add(graph, x):
    return graph.binary("ADD", x, graph.input(graph.tensors[x].shape))


def gate(graph, x):
    return graph.binary("MUL", x, graph.input((1, 1, 1, graph.tensors[x].shape[-1])))


def concatenation(channels):
    def apply(graph, x):
        return graph.concatenate(x, graph.input((*graph.tensors[x].shape[:-1], channels)))

    return apply


LAYERS = [
    *(conv(224, 3, filters, kernel, 2) for filters, kernel in ((64, 7), (8, 3), (16, 3), (32, 3), (64, 3))),
    *(conv(227, 3, filters, 11, 4, padding=VALID) for filters in (64, 96)),
    *(grouped(112, *shape) for shape in ((32, 32, 4), (32, 64, 8))),
    *(depthwise(*shape, 2) for shape in ((112, 8), (112, 16), (56, 64), (28, 128), (14, 256))),
    *(conv(*shape, 1) for shape in ((56, 16, 64), (56, 128, 32), (28, 64, 128), (14, 128, 256), (7, 256, 512))),
    *(conv(*shape, 3) for shape in ((56, 64, 64), (14, 64, 32))),
    *(dense(*shape) for shape in ((512, 1000), (2048, 1000), (4096, 1000), (64, 8), (64, 4))),
    *(pool("average", *shape, 2, 2) for shape in ((56, 64), (28, 128), (14, 256))),
    *(pool("max", *shape) for shape in ((112, 64, 3, 2), (112, 64, 3, 2, SAME), (56, 64, 2, 1), (28, 128, 2, 2))),
    *(elementwise("add", *shape, add) for shape in ((56, 64), (28, 128), (14, 256), (7, 512))),
    *(elementwise("batch norm", *shape, batch_norm) for shape in ((224, 3), (112, 8), (56, 64), (14, 256))),
    *(elementwise("prelu", *shape, with_constant("PRELU")) for shape in ((56, 64), (14, 256))),
    *(elementwise("maximum", *shape, with_constant("MAXIMUM")) for shape in ((56, 64), (14, 256))),
    *(elementwise("relu", *shape, Graph.relu) for shape in ((1, 1), (112, 8), (56, 64), (14, 256))),
    *(elementwise("gate", *shape, gate) for shape in ((56, 64), (14, 256))),
    *(elementwise("concatenation with 32 of", *shape, concatenation(32)) for shape in ((56, 64), (14, 256))),
    *(elementwise("mean", *shape, Graph.mean) for shape in ((56, 64), (14, 256), (7, 512))),
    *(elementwise("logistic", *shape, lambda graph, x: graph.unary("LOGISTIC", x)) for shape in ((1, 64), (1, 512))),
    *(elementwise("softmax", *shape, Graph.softmax) for shape in ((1, 1000),)),
]


def runner(build, delegate):
    """A call of the layer, with a delegate or, for None, with XNNPACK, and the number of operators it claimed."""
    from ai_edge_litert.interpreter import Interpreter

    graph = Graph()
    outputs = [build(graph)]
    if delegate is not None:
        outputs.append(graph.quantize(graph.input((1, 1, 1, 32))))
    flatbuffer = graph.output(*outputs).flatbuffer()
    delegates = [] if delegate is None else [delegate]
    interpreter = Interpreter(model_content=flatbuffer, num_threads=1, experimental_delegates=delegates)
    interpreter.allocate_tensors()
    for details in interpreter.get_input_details():
        interpreter.set_tensor(details["index"], floats(*details["shape"]))
    return lambda _: interpreter.invoke()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("layers", nargs="*", default=[""])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--isa", default=bopkit_runtime.isas()[0])
    arguments = parser.parse_args()
    print(f"{cpu_name()}, {arguments.isa}, least microseconds of {arguments.runs}")
    print(f"{'layer':44}{'runtime':>10}{'XNNPACK':>10}{'times':>8}")
    for name, build in LAYERS:
        if not any(part in name for part in arguments.layers):
            continue
        delegate = bopkit_runtime.load_delegate(num_threads=1, isa=arguments.isa)
        runners = {"ours": runner(build, delegate), "theirs": runner(build, None)}
        samples = interleaved_ms(runners, None, arguments.runs, time.thread_time_ns)
        ours, theirs = (1000 * min(samples[each]) for each in ("ours", "theirs"))
        print(f"{name:44}{ours:10.1f}{theirs:10.1f}{theirs / ours:8.2f}", flush=True)


if __name__ == "__main__":
    main()
