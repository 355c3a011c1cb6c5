"""The cases of LiteRT's int8 operators: each alone, with every pair of its options, and in chains with LCE's operators.

The runtime claims nothing in a graph without operators of LCE, so that each graph ends in the signs of a result. The
golden outputs are those of the graph without them.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from case import Case, Chain, Source, cover
from models import ACTIVATIONS, SAME, VALID, Graph, window

_ZERO_POINTS = [-128, -1, 0, 5, 127]
_CHANNELS = [1, 3, 4, 5, 16, 31, 64, 65, 130]
_MAX_PRODUCTS = 1_500_000


_LETTERS = {"channels": "c", "filters": "f", "inputs": "c", "units": "f", "size": "k", "stride": "s", "dilation": "d"}
_LETTERS |= {"batch": "b", "image": "i", "zero": "z", "second_zero": "y", "out_zero": "o", "ratio": "r"}
_LETTERS |= {"fineness": "n", "keeps": "keeps", "multiplier": "m"}


def _label(options: dict) -> str:
    """Of a case: its options in order."""

    def text(value) -> str:
        return "x".join(map(str, value)) if isinstance(value, tuple) else str(value).lower().replace(" ", "-")

    return "-".join(_LETTERS.get(name, "") + text(value) for name, value in options.items())


def _scale(source: Source, low: float = 0.004, high: float = 0.1) -> float:
    """A float32, as the file holds it."""
    return float(source.floats(1, low=low, high=high)[0])


def _values(source: Source, *shape: int) -> np.ndarray:
    return source.integers(-128, 128, shape).astype(np.int8)


def _case(name: str, graph: Graph, feeds: list[np.ndarray], *outputs: int, kernels: str = "litert", reason="") -> Case:
    """A graph that ends in the signs of its first output."""
    return Case(name, graph.output(*outputs, graph.quantize(outputs[0])), feeds, 0, kernels, reason)


# Products: convolutions, and dense layers.

_SCALES = ["tensor", "channel", "above", "fine", "bias", "weights"]
"""Scales and values of the products: one scale of the filters; one a channel; small sums with factors above one, and
with such below one that many results lie halfway; large biases; or filters and inputs at their limits."""

_WINDOWS: dict[str, list] = {
    "size": [(1, 1), (3, 3), (2, 3), (7, 7)],
    "stride": [(1, 1), (2, 2), (1, 2), (3, 1)],
    "dilation": [(1, 1), (2, 2), (1, 3)],
    "padding": ["same", "valid"],
    "activation": list(ACTIVATIONS),
    "batch": [1, 2],
    "image": [(1, 1), (3, 3), (5, 7), (8, 8), (2, 13)],
    "zero": _ZERO_POINTS,
    "out_zero": [-128, -3, 0, 127],
    "scales": _SCALES,
}


def _fits(options: dict) -> bool:
    """Whether a window lies in the image, and is not the same as one without dilation."""
    size, image, dilation = options["size"], options["image"], options["dilation"]
    if size == (1, 1) and dilation != (1, 1):
        return False
    return options["padding"] == "same" or all((size[a] - 1) * dilation[a] < image[a] for a in (0, 1))


def _positions(options: dict) -> int:
    padding = SAME if options["padding"] == "same" else VALID
    return options["batch"] * math.prod(
        window(options["image"][a], options["size"][a], options["stride"][a], options["dilation"][a], padding)[0]
        for a in (0, 1)
    )


def _weigh(source: Source, options: dict, in_scale: float, shape: tuple[int, ...], axis: int, products: int) -> dict:
    """Filters, bias and scales that leave results in a useful range.

    Args:
        source: Of the numbers.
        options: With the keys `scales` and `out_zero`.
        in_scale: Of the input.
        shape: Of the filters.
        axis: Of their channels.
        products: In one sum.
    """
    kind, count = options["scales"], shape[axis]
    filters = source.integers(-127, 128, shape)
    bias = source.integers(-3000, 3000, (count,))
    filter_scale: float | tuple[float, ...] = _scale(source, 0.001, 0.02)
    reach = 74 * 73 * math.sqrt(products)  # of a sum of random numbers
    unit = in_scale * (filter_scale if isinstance(filter_scale, float) else 0.01)
    if kind == "channel":
        filter_scale = tuple(float(each) for each in source.floats(count, low=0.0005, high=0.02))
        unit = in_scale * 0.01
    elif kind in ("above", "fine"):
        filters, bias = source.integers(-1, 2, shape), source.integers(-9, 10, (count,))
        reach = 48 / source.choice([1.0, 1.9, 4.0, 30.0] if kind == "above" else [0.4, 0.23, 0.11, 0.03])
    elif kind == "bias":
        most = (1 << 31) - 1 - products * 127 * 255
        bias = np.where(source.bits(count), most, -most) >> source.integers(1, 5, (count,))
        reach = 2.0**30
    elif kind == "weights":
        filters = np.where(source.bits(*shape), 127, -127)
        filters[(0,) * len(shape)] = 127
        reach = 127 * 200 * products
    return {
        "filters": filters.astype(np.int8),
        "bias": bias.astype(np.int32),
        "filter_scale": filter_scale,
        "scale": float(np.float32(unit * reach / 48)),
        "zero_point": options["out_zero"],
    }


def _input(source: Source, options: dict, graph: Graph, shape: tuple[int, ...]) -> tuple[int, np.ndarray]:
    """An input whose values suit the kind of scales."""
    x = graph.input(shape, "int8", scale=_scale(source), zero_point=options["zero"])
    values = _values(source, *shape)
    if options["scales"] in ("above", "fine"):
        values = np.clip(options["zero"] + source.integers(-2, 3, shape), -128, 127).astype(np.int8)
    elif options["scales"] == "weights":
        values = np.where(source.bits(*shape), 127, -128).astype(np.int8)
    return x, values


def _window_options(options: dict) -> dict:
    padding = SAME if options["padding"] == "same" else VALID
    return {"padding": padding} | {name: options[name] for name in ("stride", "dilation", "activation")}


def _convolution(options: dict, groups: int = 1) -> Case:
    name = f"int8-conv-{_label(options)}" + (f"-groups{groups}" if groups > 1 else "")
    source, graph = Source(name), Graph()
    channels = options["channels"] // groups
    x, feed = _input(source, options, graph, (options["batch"], *options["image"], options["channels"]))
    shape = (options["filters"], *options["size"], channels)
    weights = _weigh(source, options, graph.tensors[x].scale, shape, 0, math.prod(shape[1:]))
    return _case(name, graph, [feed], graph.conv(x, **weights, **_window_options(options)))


_PLAIN = {
    "channels": 16,
    "filters": 24,
    "size": (3, 3),
    "stride": (1, 1),
    "dilation": (1, 1),
    "padding": "same",
    "activation": "NONE",
    "batch": 1,
    "image": (6, 5),
    "zero": -3,
    "out_zero": 4,
    "scales": "channel",
}


def _convolutions() -> list[Case]:
    axes = {"channels": _CHANNELS, "filters": _CHANNELS} | _WINDOWS

    def is_possible(options: dict) -> bool:
        products = _positions(options) * math.prod(options["size"]) * options["channels"] * options["filters"]
        return _fits(options) and products <= _MAX_PRODUCTS

    cases = [_convolution(options) for options in cover(axes, is_possible, Source("int8-convolutions"), tries=2000)]
    changes: list[dict] = [{"channels": count} for count in (2, 7, 8, 15, 17, 32, 33, 63, 100, 128, 257)]
    changes += [{"filters": count} for count in (2, 7, 8, 15, 17, 32, 33, 47, 48, 63, 66, 96, 128)]
    changes += [{"size": (1, 1), "image": (1, 1), "channels": 1000, "filters": 40, "padding": "valid"}]
    changes += [{"size": (9, 9), "image": (9, 9), "channels": 96, "filters": 5, "scales": "weights"}]
    cases += [_convolution(_PLAIN | change) for change in changes]
    for groups, channels, filters in [(2, 6, 4), (3, 9, 15), (4, 64, 32), (2, 64, 130), (16, 16, 16), (8, 8, 24)]:
        changed = _PLAIN | {"channels": channels, "filters": filters, "activation": "RELU6"}
        for padding, scales in itertools.product(("same", "valid"), ("tensor", "channel")):
            cases.append(_convolution(changed | {"padding": padding, "scales": scales}, groups))
    return cases


def _depthwise() -> list[Case]:
    axes = {"channels": _CHANNELS, "multiplier": [1, 1, 1, 2, 3]} | _WINDOWS

    def is_possible(options: dict) -> bool:
        work = _positions(options) * math.prod(options["size"]) * options["channels"] * options["multiplier"]
        return _fits(options) and work <= _MAX_PRODUCTS

    cases = []
    for options in cover(axes, is_possible, Source("int8-depthwise"), tries=1500):
        name = f"int8-depthwise-{_label(options)}"
        source, graph = Source(name), Graph()
        x, feed = _input(source, options, graph, (options["batch"], *options["image"], options["channels"]))
        shape = (*options["size"], options["channels"] * options["multiplier"])
        weights = _weigh(source, options, graph.tensors[x].scale, shape, 2, math.prod(shape[:2]))
        cases.append(_case(name, graph, [feed], graph.depthwise(x, **weights, **_window_options(options))))
    return cases


def _dense() -> list[Case]:
    axes = {"inputs": [1, 3, 16, 31, 64, 100, 257, 1000], "units": [1, 2, 5, 16, 31, 64, 65, 130]}
    axes |= {"activation": list(ACTIVATIONS), "batch": [1, 2, 7], "bias": ["some", "none"], "zero": _ZERO_POINTS}
    axes |= {"out_zero": [-128, -3, 0, 127], "scales": _SCALES}
    cases = []
    for options in cover(axes, lambda options: True, Source("int8-dense"), tries=1000):
        name = f"int8-dense-{_label(options)}"
        source, graph = Source(name), Graph()
        x, feed = _input(source, options, graph, (options["batch"], options["inputs"]))
        shape = options["units"], options["inputs"]
        weights = _weigh(source, options, graph.tensors[x].scale, shape, 0, options["inputs"])
        filters, bias = weights.pop("filters"), weights.pop("bias")
        bias = bias if options["bias"] == "some" else None
        cases.append(_case(name, graph, [feed], graph.dense(x, filters, bias, options["activation"], **weights)))
    return cases


# Windows, sums and single values.


def _pools() -> list[Case]:
    axes = {"kind": ["average", "max"], "channels": _CHANNELS}
    axes |= {name: _WINDOWS[name] for name in ("stride", "padding", "activation", "batch", "image", "zero")}
    axes |= {"size": [(1, 1), (2, 2), (3, 3), (2, 3), (7, 7)]}
    cases = []
    for options in cover(axes, lambda options: _fits(options | {"dilation": (1, 1)}), Source("int8-pools"), tries=1000):
        name = f"int8-pool-{_label(options)}"
        source, graph = Source(name), Graph()
        shape = (options["batch"], *options["image"], options["channels"])
        x = graph.input(shape, "int8", scale=_scale(source), zero_point=options["zero"])
        padding = SAME if options["padding"] == "same" else VALID
        type = {"average": "AVERAGE_POOL_2D", "max": "MAX_POOL_2D"}[options["kind"]]
        y = graph.pool(type, x, options["size"], options["stride"], padding, options["activation"])
        cases.append(_case(name, graph, [_values(source, *shape)], y))
    return cases


def _means() -> list[Case]:
    axes = {"channels": _CHANNELS, "image": [(1, 1), (3, 3), (2, 3), (7, 7), (8, 8), (16, 5)], "batch": [1, 3]}
    axes |= {"keeps": [0, 1], "zero": _ZERO_POINTS, "out_zero": [-128, -3, 0, 127]}
    axes |= {"ratio": [0.02, 0.6, 1.0, 1.7, 16.0]}
    cases = []
    for options in cover(axes, lambda options: True, Source("int8-means"), tries=600):
        name = f"int8-mean-{_label(options)}"
        source, graph = Source(name), Graph()
        shape = (options["batch"], *options["image"], options["channels"])
        scale = _scale(source)
        x = graph.input(shape, "int8", scale=scale, zero_point=options["zero"])
        out_scale = float(np.float32(scale / options["ratio"]))
        y = graph.mean(x, bool(options["keeps"]), scale=out_scale, zero_point=options["out_zero"])
        cases.append(_case(name, graph, [_values(source, *shape)], y))
    return cases


def _arithmetic() -> list[Case]:
    axes = {"type": ["ADD", "SUB", "MUL"], "channels": _CHANNELS, "activation": list(ACTIVATIONS)}
    axes |= {"operands": ["values", "itself", "vector", "scalar", "first", "gate", "swapped gate", "image", "rank2"]}
    axes |= {"zero": _ZERO_POINTS, "second_zero": [-128, -7, 0, 127], "out_zero": [-128, -3, 0, 127]}
    axes |= {"ratio": [0.01, 0.7, 1.0, 90.0], "fineness": [0.05, 1.0, 4.0], "batch": [1, 2]}
    cases = []
    for options in cover(axes, lambda options: True, Source("int8-arithmetic"), tries=2500):
        name = f"int8-{_label(options)}"
        source, graph, kind = Source(name), Graph(), options["operands"]
        shape = (options["batch"], 4, 5, options["channels"])
        if kind == "rank2":
            shape = (options["batch"], options["channels"])
        first = {"scale": _scale(source), "zero_point": options["zero"]}
        second = {"scale": float(np.float32(first["scale"] * options["ratio"])), "zero_point": options["second_zero"]}
        x, feeds = graph.input(shape, "int8", **first), [_values(source, *shape)]
        if kind == "itself":
            y, second = x, first
        elif kind in ("vector", "first", "scalar"):
            y = graph.constant(_values(source, 1 if kind == "scalar" else shape[-1]), **second)
        else:
            image = {"gate": (1, 1), "swapped gate": (1, 1), "values": (4, 5), "image": (4, 5), "rank2": ()}[kind]
            other = (options["batch"], *image, 1 if kind == "image" else shape[-1])
            y = graph.input(other, "int8", **second)
            feeds.append(_values(source, *other))
        # Sums reach 255 of the coarser scale, and products 65025 of the scales' product.
        both = first["scale"], second["scale"]
        reach = math.prod(both) * 6000 if options["type"] == "MUL" else max(both)
        out_scale = float(np.float32(reach * 2 / options["fineness"]))
        operands = (y, x) if kind in ("first", "swapped gate") else (x, y)
        quantization = {"scale": out_scale, "zero_point": options["out_zero"]}
        result = graph.binary(options["type"], *operands, options["activation"], **quantization)
        cases.append(_case(name, graph, feeds, result))
    return cases


def _slopes() -> list[Case]:
    """PRELU, and the activations that are operators of their own."""
    axes = {"type": ["PRELU", "PRELU-scalar", "RELU", "RELU6", "RELU_N1_TO_1"], "channels": _CHANNELS}
    axes |= {"zero": _ZERO_POINTS, "out_zero": [-128, -3, 0, 127], "ratio": [0.1, 0.8, 1.0, 3.3], "batch": [1, 2]}
    cases = []
    for options in cover(axes, lambda options: True, Source("int8-slopes"), tries=800):
        name = f"int8-{_label(options)}"
        source, graph = Source(name), Graph()
        shape, scale = (options["batch"], 3, 5, options["channels"]), _scale(source)
        x = graph.input(shape, "int8", scale=scale, zero_point=options["zero"])
        quantization = {"scale": float(np.float32(scale / options["ratio"])), "zero_point": options["out_zero"]}
        if options["type"].startswith("PRELU"):
            values = _values(source, 1, 1, 1 if options["type"] == "PRELU-scalar" else shape[-1])
            slopes = graph.constant(values, _scale(source), source.choice([-128, -9, 0, 127]))
            y = graph.with_constant("PRELU", x, slopes, **quantization)
        else:
            y = graph.unary(options["type"], x, **quantization)
        cases.append(_case(name, graph, [_values(source, *shape)], y))
    return cases


def _requantizers() -> list[Case]:
    """QUANTIZE and DEQUANTIZE, of float32, int8 and uint8, and CAST of uint8."""
    axes = {"type": ["float32", "int8", "uint8", "dequantize", "dequantize-uint8"], "channels": _CHANNELS}
    axes |= {"zero": _ZERO_POINTS, "out_zero": [-128, -3, 0, 127], "ratio": [0.02, 0.8, 1.0, 5.5], "batch": [1, 2]}
    cases = []
    for options in cover(axes, lambda options: True, Source("int8-requantizers"), tries=800):
        name = f"int8-quantize-{_label(options)}"
        source, graph, kind = Source(name), Graph(), options["type"]
        shape, scale = (options["batch"], 3, 5, options["channels"]), _scale(source)
        out_scale = float(np.float32(scale / options["ratio"]))
        in_type = {"float32": "float32", "int8": "int8", "dequantize": "int8"}.get(kind, "uint8")
        feed, zero_point = _values(source, *shape), options["zero"]
        if in_type == "float32":
            # Beyond the range of int8, and exact halves of a step.
            feed = source.floats(*shape, low=-200, high=200) * np.float32(out_scale)
            halves = source.bits(*shape)
            feed[halves] = (source.integers(-260, 261, shape)[halves] / 2).astype(np.float32) * np.float32(out_scale)
            x = graph.input(shape)
        else:
            if in_type == "uint8":
                feed, zero_point = feed.view(np.uint8), zero_point + 128
            x = graph.input(shape, in_type, scale=scale, zero_point=zero_point)
        y = graph.dequantize_affine(x) if "dequantize" in kind else None
        y = graph.quantize_affine(x, out_scale, options["out_zero"]) if y is None else y
        cases.append(_case(name, graph, [feed], y))
    reason = "the reference kernel of ai-edge-litert 2.3 narrows to int32 before it clamps; later ones do not"
    extremes = np.array([np.inf, -np.inf, 3.4e38, -3.4e38, 1e12, -1e12, 0.0, -0.0, 1e-45], np.float32)
    graph = Graph()
    y = graph.quantize_affine(graph.input((1, 9)), 0.1, 3)
    cases.append(_case("int8-quantize-extremes", graph, [extremes[None]], y, kernels="", reason=reason))
    graph, source = Graph(), Source("int8-cast")
    y = graph.cast(graph.input((2, 3, 4, 5), "uint8"), "float32")
    cases.append(_case("int8-cast", graph, [source.integers(0, 256, (2, 3, 4, 5)).astype(np.uint8)], y))
    return cases


def _moves() -> list[Case]:
    """CONCATENATION, PAD and RESHAPE, which keep scale and zero point."""
    cases = []
    for zero, channels in itertools.product((-128, 0, 17, 127), (1, 3, 16, 65)):
        source, shape = Source(f"int8-moves-{zero}-{channels}"), (2, 3, 5, channels)
        quantization = {"scale": _scale(source), "zero_point": zero}
        graph = Graph()
        parts = [graph.input((*shape[:3], each), "int8", **quantization) for each in (channels, 4, channels + 1)]
        feeds = [_values(source, *graph.tensors[part].shape) for part in parts]
        y = graph.concatenate(*parts, parts[0])
        cases.append(_case(f"int8-concatenation-z{zero}-c{channels}", graph, feeds, y))
        for label, margins in {
            "image": [(0, 0), (1, 2), (3, 0), (0, 0)],
            "channels": [(0, 0), (0, 0), (0, 0), (2, 5)],
            "all": [(0, 0), (1, 1), (1, 1), (0, 3)],
        }.items():
            graph = Graph()
            y = graph.pad_around(graph.input(shape, "int8", **quantization), margins)
            cases.append(_case(f"int8-pad-{label}-z{zero}-c{channels}", graph, [_values(source, *shape)], y))
        graph = Graph()
        y = graph.reshape(graph.input(shape, "int8", **quantization), (2, -1))
        cases.append(_case(f"int8-reshape-z{zero}-c{channels}", graph, [_values(source, *shape)], y))
    return cases


# Chains.

OPTIMIZED_IN_LCE = (
    "LCE's interpreter has no reference kernels of LiteRT's operators, and its optimized ones differ here"
)


class _Chain(Chain):
    """One of int8 values."""

    def int8_input(self, *shape: int, scale: float = 0.05, zero_point: int = -7) -> int:
        self.feeds.append(_values(self.source, *shape))
        return self.graph.input(shape, "int8", scale=scale, zero_point=zero_point)

    def conv(
        self, x: int, filters: int, size: int = 3, *, zero_point: int = 3, kind: str = "channel", **options
    ) -> int:
        channels = self.graph.tensors[x].shape[-1]
        shape, drawn = (filters, size, size, channels), {"scales": kind, "out_zero": zero_point}
        weights = _weigh(self.source, drawn, self.graph.tensors[x].scale, shape, 0, math.prod(shape[1:]))
        return self.graph.conv(x, **weights, **options)

    def depthwise(self, x: int, *, zero_point: int = -5, **options) -> int:
        shape, drawn = (3, 3, self.graph.tensors[x].shape[-1]), {"scales": "channel", "out_zero": zero_point}
        weights = _weigh(self.source, drawn, self.graph.tensors[x].scale, shape, 2, 9)
        return self.graph.depthwise(x, **weights, **options)

    def dense(self, x: int, units: int, **options) -> int:
        shape, drawn = (units, self.graph.tensors[x].shape[-1]), {"scales": "channel", "out_zero": 11}
        weights = _weigh(self.source, drawn, self.graph.tensors[x].scale, shape, 0, shape[1])
        return self.graph.dense(x, weights.pop("filters"), weights.pop("bias"), **weights, **options)

    def sum(self, a: int, b: int, activation: str = "NONE", *, type: str = "ADD", zero_point: int = -2) -> int:
        scale = float(np.float32(1.6 * max(self.graph.tensors[each].scale for each in (a, b))))
        return self.graph.binary(type, a, b, activation, scale=scale, zero_point=zero_point)

    def finished(self, *outputs: int, kernels: str = "") -> Case:
        reason = "" if kernels else OPTIMIZED_IN_LCE
        return Case(self.name, self.graph.output(*outputs), self.feeds, 0, kernels, reason)


def _stem() -> Case:
    """A real layer before binary ones: quantized from float32 and back."""
    chain = _Chain("int8-chain-stem")
    graph, x = chain.graph, chain.input(2, 9, 8, 3)
    y = chain.conv(graph.quantize_affine(x, 0.008, -1), 32, stride=(2, 2), activation="RELU", zero_point=-128)
    y = graph.pool("MAX_POOL_2D", y, (3, 3), (1, 1), SAME)
    y = graph.dequantize_affine(y)
    z = graph.binary("ADD", chain.bconv(y, 32), y)
    last = chain.conv(graph.quantize_affine(chain.bconv(z, 20), 0.02, 9), 10, 1)
    return chain.finished(graph.dequantize_affine(last), z)


def _large_stem(is_scaled: bool) -> Case:
    """A map so large that the pool takes it row by row: the largest sum is the largest result, unless it is scaled."""
    chain = _Chain(f"int8-chain-large-stem-{'scaled' if is_scaled else 'plain'}")
    graph, x = chain.graph, chain.int8_input(1, 40, 52, 3)
    y = graph.dequantize_affine(chain.conv(x, 66, zero_point=-20))
    if is_scaled:
        y = graph.binary("ADD", graph.binary("MUL", y, chain.per_channel(66)), chain.per_channel(66))
    y = graph.pool("MAX_POOL_2D", graph.relu(y), (3, 3), (2, 2), SAME)
    return chain.finished(chain.bconv(graph.binary("SUB", y, chain.per_channel(66, 0, 1)), 8, stride=(4, 4)), y)


def _same_quantization(others: str) -> Case:
    """int8 as float32 and back, in which it does not change, while others read the float32."""
    chain = _Chain(f"int8-chain-same-quantization-{others}")
    graph, x = chain.graph, chain.int8_input(2, 5, 6, 7)
    y = chain.conv(x, 40)
    tensor, z = graph.tensors[y], graph.dequantize_affine(y)
    signs = [graph.quantize(z)] if others == "signs" else []
    back = graph.quantize_affine(z, tensor.scale, tensor.zero_point)
    read = {"output": [z], "relu": [graph.relu(z)], "signs": signs}[others]
    return chain.finished(chain.bconv(back, 9), back, *read)


def _signs() -> Case:
    """Signs of an int8 convolution, of its pool, and of a sum, without float32 between."""
    chain = _Chain("int8-chain-signs")
    graph, x = chain.graph, chain.int8_input(1, 8, 7, 20)
    y = chain.conv(x, 40, zero_point=-20)
    a = chain.bconv(y, 40, scale=0.05, zero_point=12, pad_values=1)
    pooled = graph.pool("MAX_POOL_2D", y, (2, 2), (2, 2))
    b = chain.bconv(pooled, 33, bits=True, pad_values=1)
    total = chain.sum(a, y, "RELU")
    return chain.finished(
        chain.bconv(total, 24, pad_values=1),
        b,
        total,
        chain.bconv(b, 8, channels=33, pad_values=1),
        kernels="reference",
    )


def _signs_alone(scales: str, activation: str, zero_point: int, kind: str) -> Case:
    """Signs of products, of which nothing else is wanted: sums are compared, and many are at the border."""
    name = f"int8-chain-signs-alone-{kind}-{scales}-{activation.lower()}-o{zero_point}"
    source, graph = Source(name), Graph()
    options = _PLAIN | {"scales": scales, "out_zero": zero_point, "activation": activation}
    shapes = {"conv": (2, 9, 10, 6), "depthwise": (2, 5, 6, 70), "dense": (6, 54)}
    x, feed = _input(source, options, graph, shapes[kind])
    filters = {"conv": (70, 3, 3, 6), "depthwise": (3, 3, 70), "dense": (70, 54)}[kind]
    axis, products = (2, 9) if kind == "depthwise" else (0, 54)
    weights = _weigh(source, options, graph.tensors[x].scale, filters, axis, products)
    if kind == "dense":
        y = graph.dense(x, weights.pop("filters"), weights.pop("bias"), activation, **weights)
    else:
        y = (graph.conv if kind == "conv" else graph.depthwise)(x, **weights, activation=activation)
    return Case(name, graph.output(graph.quantize(y)), [feed], 0, "", OPTIMIZED_IN_LCE)


def _signs_of_halves() -> Case:
    """A dense layer is rescaled in double precision, which rounds halves away from zero."""
    source, graph = Source("int8-chain-signs-of-halves"), Graph()
    x, feed = graph.input((7, 40), "int8", scale=0.05), source.integers(-3, 4, (7, 40)).astype(np.int8)
    weights, bias = source.integers(-1, 2, (80, 40)).astype(np.int8), source.integers(-2, 3, (80,)).astype(np.int32)
    y = graph.dense(x, weights, bias, filter_scale=float(np.float32(0.01)), scale=float(np.float32(0.002)))
    return Case("int8-chain-signs-of-halves", graph.output(graph.quantize(y)), [feed], 0, "", OPTIMIZED_IN_LCE)


def _signs_of_large_biases() -> Case:
    """A factor so small that all results are zero, whatever the bias."""
    source, graph = Source("int8-chain-signs-of-large-biases"), Graph()
    x, feed = graph.input((1, 5, 5, 6), "int8", scale=1e-4, zero_point=3), _values(source, 1, 5, 5, 6)
    filters = source.integers(-127, 128, (70, 3, 3, 6)).astype(np.int8)
    bias = np.where(source.bits(70), 2 * 10**9, -2 * 10**9).astype(np.int32)
    y = graph.conv(x, filters, bias, filter_scale=1e-9, scale=1e3)
    return Case("int8-chain-signs-of-large-biases", graph.output(graph.quantize(y)), [feed], 0, "", OPTIMIZED_IN_LCE)


def _residual() -> Case:
    """Two blocks, int8 from end to end; the second with half the resolution."""
    chain = _Chain("int8-chain-residual")
    graph, x = chain.graph, chain.int8_input(2, 8, 6, 32)
    y = chain.sum(chain.bconv(x, 32, scale=0.04, zero_point=-3), x)
    down = graph.pool("AVERAGE_POOL_2D", y, (2, 2), (2, 2))
    z = chain.bconv(y, 48, stride=(2, 2), scale=0.05, zero_point=5)
    return chain.finished(chain.sum(z, chain.conv(down, 48, 1, padding=VALID)), y)


def _bottleneck() -> Case:
    """MobileNet's block: three convolutions and a sum; then signs."""
    chain = _Chain("int8-chain-bottleneck")
    graph, x = chain.graph, chain.int8_input(1, 7, 6, 16)
    y = chain.conv(x, 48, 1, activation="RELU6", zero_point=-128)
    y = chain.depthwise(y, activation="RELU6", zero_point=-128)
    y = chain.sum(chain.conv(y, 16, 1), x)
    return chain.finished(graph.dequantize_affine(y), chain.bconv(y, 12, pad_values=1))


def _dense_block() -> Case:
    """Channels that are joined; all parts have one scale."""
    chain = _Chain("int8-chain-dense-block")
    graph, x = chain.graph, chain.int8_input(1, 5, 6, 24, scale=0.05, zero_point=2)
    for _ in range(2):
        y = chain.bconv(x, 12, scale=0.05, zero_point=2, pad_values=1)
        x = graph.concatenate(x, y)
    return chain.finished(chain.conv(x, 16, 1), graph.quantize(x))


def _slopes_and_margins() -> Case:
    """PRELU and an explicit margin before a convolution with strides."""
    chain = _Chain("int8-chain-slopes")
    graph, x = chain.graph, chain.int8_input(1, 8, 8, 10)
    slopes = graph.constant(_values(chain.source, 1, 1, 10), 0.006, 0)
    y = graph.with_constant("PRELU", x, slopes, scale=0.06, zero_point=-1)
    y = chain.conv(graph.pad_around(y, [(0, 0), (0, 1), (0, 1), (0, 0)]), 34, stride=(2, 2), padding=VALID)
    y = graph.quantize_affine(y, float(np.float32(graph.tensors[y].scale * 1.3)), -8)
    return chain.finished(
        chain.bconv(graph.unary("RELU", y, scale=0.9, zero_point=-128), 16, pad_values=1), y, kernels="reference"
    )


def _head() -> Case:
    """The end of a network: mean and dense layer of int8."""
    chain = _Chain("int8-chain-head")
    graph, x = chain.graph, chain.input(2, 4, 5, 40)
    y = chain.bconv(x, 36, scale=0.05, zero_point=1, pad_values=1)
    mean = graph.mean(y, scale=0.03, zero_point=-4)
    scores = chain.dense(mean, 10)
    return chain.finished(graph.dequantize_affine(scores), mean)


def _gate() -> Case:
    """Channels scaled by what their means say."""
    chain = _Chain("int8-chain-gate")
    graph, x = chain.graph, chain.int8_input(2, 6, 4, 32)
    y = chain.bconv(x, 32, scale=0.05, zero_point=1, pad_values=1)
    gate = chain.conv(graph.mean(x, True, scale=0.01, zero_point=0), 32, 1, activation="RELU")
    scale = float(np.float32(graph.tensors[gate].scale * 3))
    y = graph.binary("MUL", y, gate, scale=scale, zero_point=-6)
    return chain.finished(chain.bconv(chain.sum(y, x, type="SUB"), 16), y)


def _bytes() -> Case:
    """Pictures of uint8, as float32 and as int8."""
    chain = _Chain("int8-chain-bytes")
    graph, shape = chain.graph, (1, 8, 9, 3)
    chain.feeds.append(chain.source.integers(0, 256, shape).astype(np.uint8))
    x = graph.input(shape, "uint8", scale=1 / 128, zero_point=128)
    y = chain.conv(graph.quantize_affine(x, 1 / 128, 0), 33)
    centred = graph.binary("SUB", graph.cast(x, "float32"), graph.constant(np.float32(127.5)))
    return chain.finished(chain.bconv(y, 9, pad_values=1), chain.bconv(centred, 8, pad_values=1), kernels="reference")


def _islands() -> Case:
    """An operator between that LiteRT runs itself, and values that go around it."""
    chain = _Chain("int8-chain-islands")
    graph, x = chain.graph, chain.int8_input(2, 6, 5, 32)
    y = chain.conv(x, 32)
    island = graph.quantize_affine(graph.unary("ABS", graph.dequantize_affine(y)), 0.3, -30)
    z = chain.sum(chain.bconv(island, 32, scale=0.05, zero_point=2, pad_values=1), y)
    return chain.finished(graph.quantize(z), graph.dequantize_affine(z))


class _Wild(_Chain):
    """A graph of random operators on random earlier values of float32, int8 and bits, all of them exact."""

    def __init__(self, name: str):
        super().__init__(name)
        draw = self.source
        self._channels: dict[int, int] = {}
        """Of bit-packed values."""
        shape = draw.choice([1, 2]), draw.choice([4, 6, 7]), draw.choice([4, 5, 8]), draw.choice([8, 20, 32])
        self._values = [self.int8_input(*shape)]
        steps = [self._conv] * 3 + [self._bconv] * 4 + [self._arithmetic] * 5 + [self._constant] * 2 + [self._pool] * 2
        steps += [self._depthwise, self._slope, self._margin, self._join, self._requantize, self._to_float]
        steps += [self._to_int8, self._foreign, self._flatten]
        while len(self.graph.operators) < 14:
            made = draw.choice(steps)()
            if made is not None:
                self._values.append(made)
        if not any(operator.type == "LceBconv2d" for operator in self.graph.operators):
            self._values.append(self.bconv(self._values[0], 8, pad_values=1))

    def case_of_all(self) -> Case:
        """What nothing reads is an output, and some of the rest."""
        read = {index for operator in self.graph.operators for index in operator.inputs}
        outputs = [x for x in self._values[1:] if x not in read or self.source.choice([False] * 5 + [True])]
        return self.finished(*outputs)

    def _pick(self, *types: str) -> int | None:
        """Most often one of the last values."""
        found = [x for x in self._values if self.graph.tensors[x].type in types and len(self._shape(x)) == 4]
        return self.source.choice(found[-3:]) if found else None

    def _shape(self, x: int) -> tuple[int, ...]:
        return self.graph.tensors[x].shape

    def _quantization(self, x: int) -> dict:
        """Of a result about as large as a value."""
        scale = self.graph.tensors[x].scale * self.source.choice([0.7, 1.0, 1.0, 1.8])
        return {"scale": float(np.float32(scale)), "zero_point": self.source.choice([-128, -9, 0, 30])}

    def _window(self, x: int, size: int) -> dict:
        draw, small = self.source, min(self._shape(x)[1:3]) < size
        return {
            "padding": SAME if small else draw.choice([SAME, SAME, VALID]),
            "stride": draw.choice([(1, 1), (1, 1), (2, 2)]),
        }

    def _conv(self) -> int:
        x, size = self._pick("int8"), self.source.choice([1, 1, 3])
        same = self._shape(x)[-1]
        kind, zero_point = self.source.choice(["tensor", "channel", "fine"]), self.source.choice([-128, 0, 7])
        filters = self.source.choice([same, same, 12, 33])
        activation = self.source.choice(ACTIVATIONS)
        return self.conv(
            x, filters, size, kind=kind, zero_point=zero_point, activation=activation, **self._window(x, size)
        )

    def _depthwise(self) -> int:
        x = self._pick("int8")
        return self.depthwise(x, activation=self.source.choice(ACTIVATIONS), **self._window(x, 3))

    def _bconv(self) -> int:
        x = self._pick("int8", "int8", "float32", "int32")
        channels, output = (
            self._channels.get(x, self._shape(x)[-1]),
            self.source.choice(["int8", "int8", "float32", "bits"]),
        )
        options = {"scale": 0.04, "zero_point": self.source.choice([-3, 0, 20])} if output == "int8" else {}
        filters = self.source.choice([channels, channels, 16, 33])
        y = self.bconv(x, filters, bits=output == "bits", channels=channels, pad_values=1, **options)
        if output == "bits":
            self._channels[y] = filters
        return y

    def _arithmetic(self) -> int:
        """Two values of one shape, or a value and its means."""
        a, type = self._pick("int8"), self.source.choice(["ADD", "ADD", "SUB", "MUL"])
        equal = [x for x in self._values if self._shape(x) == self._shape(a) and self.graph.tensors[x].type == "int8"]
        b = self.source.choice(equal)
        if self.source.choice([True] + [False] * 4):
            b = self.graph.mean(a, True, **self._quantization(a))
        activation = self.source.choice(["NONE", "NONE", *ACTIVATIONS])
        return self.graph.binary(type, *self.source.choice([(a, b), (b, a)]), activation, **self._quantization(a))

    def _constant(self) -> int:
        x = self._pick("int8")
        constant = self.graph.constant(_values(self.source, self.source.choice([1, self._shape(x)[-1]])), 0.03, 4)
        type, operands = self.source.choice(["ADD", "SUB", "MUL"]), self.source.choice([(x, constant), (constant, x)])
        return self.graph.binary(type, *operands, self.source.choice(ACTIVATIONS), **self._quantization(x))

    def _pool(self) -> int:
        x, type = self._pick("int8"), self.source.choice(["MAX_POOL_2D", "AVERAGE_POOL_2D"])
        options = self._window(x, 2)
        return self.graph.pool(type, x, (2, 2), options["stride"], options["padding"], self.source.choice(ACTIVATIONS))

    def _slope(self) -> int:
        x, type = self._pick("int8"), self.source.choice(["PRELU", "RELU", "RELU6", "RELU_N1_TO_1"])
        if type != "PRELU":
            return self.graph.unary(type, x, **self._quantization(x))
        slopes = self.graph.constant(_values(self.source, 1, 1, self._shape(x)[-1]), 0.01, -2)
        return self.graph.with_constant("PRELU", x, slopes, **self._quantization(x))

    def _margin(self) -> int:
        margins = self.source.choice([[(0, 0), (1, 1), (1, 1), (0, 0)], [(0, 0), (0, 1), (0, 0), (0, 4)]])
        return self.graph.pad_around(self._pick("int8"), margins)

    def _join(self) -> int:
        """Values of one scale: one twice, or with its pool."""
        x = self._pick("int8")
        return self.graph.concatenate(x, self.graph.pool("MAX_POOL_2D", x, (3, 3), (1, 1), SAME), x)

    def _requantize(self) -> int:
        x = self._pick("int8")
        return self.graph.quantize_affine(x, **self._quantization(x))

    def _to_float(self) -> int:
        return self.graph.dequantize_affine(self._pick("int8"))

    def _to_int8(self) -> int | None:
        x = self._pick("float32")
        return None if x is None else self.graph.quantize_affine(x, 0.05, self.source.choice([-128, 0, 11]))

    def _foreign(self) -> int | None:
        x = self._pick("float32")
        return None if x is None else self.graph.unary("ABS", x)

    def _flatten(self) -> int | None:
        x = self._pick("int8")
        batch, *sizes = self._shape(x)
        return None if math.prod(sizes) > 1500 else self.graph.reshape(x, (batch, 1, 1, -1))


def _chains() -> list[Case]:
    makers = [_stem, _signs, _residual, _bottleneck, _dense_block, _slopes_and_margins, _head, _gate, _bytes, _islands]
    cases = [*(make() for make in makers), *(_large_stem(is_scaled) for is_scaled in (False, True))]
    kinds = ("conv", "depthwise", "dense")
    alone = itertools.product(_SCALES, ("NONE", "RELU6", "RELU_N1_TO_1"), (-128, -3, 127), kinds)
    cases += [*(_signs_alone(*each) for each in alone), _signs_of_halves(), _signs_of_large_biases()]
    cases += [_same_quantization(others) for others in ("output", "relu", "signs")]
    return [*cases, *(_Wild(f"int8-wild-{number}").case_of_all() for number in range(60))]


def all_cases() -> list[Case]:
    """Every case, by name unique."""
    operators = [*_convolutions(), *_depthwise(), *_dense(), *_pools(), *_means(), *_arithmetic(), *_slopes()]
    return [*operators, *_requantizers(), *_moves(), *_chains()]
