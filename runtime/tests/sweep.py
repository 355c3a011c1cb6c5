"""The cases that the runtime is tested with: small graphs, inputs for them, and what LCE itself can run.

Each pair of options of a convolution meets in at least one case. Those of LiteRT's int8 operators are in `sweep_int8`,
those of weights that alone are int8 in `sweep_weights`.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable

import numpy as np
import sweep_int8
import sweep_weights
from case import Case, Chain, Source, cover
from models import ACTIVATIONS, SAME, VALID, Graph, pack, window, words_of

ODD_ZERO_PADDING = (
    "LCE's reference kernel takes zero padding with an even number of channels only, and its other kernels "
    "with a float output, no activation, and a filter that is not larger than the picture"
)
PACKED_ZERO_PADDING = (
    "LCE's reference kernel crashes: its zero padding reads a multiplier, and a packed output has none"
)


# Convolutions.

_AXES: dict[str, list] = {
    "output": ["float32", "int8", "bits"],
    "source": ["float32", "int32"],
    "channels": [1, 3, 31, 32, 33, 64, 96, 100, 128, 257],
    "filters": [1, 5, 31, 32, 33, 64, 65, 128, 130],
    "size": [(1, 1), (3, 3), (2, 3), (5, 1), (1, 4), (9, 9), (11, 7)],
    "stride": [(1, 1), (2, 2), (1, 2), (3, 1)],
    "dilation": [(1, 1), (2, 2), (1, 3)],
    "padding": ["valid", "zero", "one"],
    "activation": list(ACTIVATIONS),
    "batch": [1, 2, 3],
    "image": [(1, 1), (5, 7), (8, 8), (13, 4), (3, 20), (12, 11)],
    "constants": ["normal", "negative", "extreme"],
}
_MAX_PRODUCTS = 12_000_000


def _is_possible(options: dict) -> bool:
    """Whether the convolution exists, is small, and means something else than its twin without an option."""
    size, image, dilation = options["size"], options["image"], options["dilation"]
    if size == (1, 1) and dilation != (1, 1):
        return False
    if options["padding"] == "valid" and any((size[a] - 1) * dilation[a] + 1 > image[a] for a in (0, 1)):
        return False
    if options["output"] == "bits" and options["activation"] != "NONE":
        return False
    padding = VALID if options["padding"] == "valid" else SAME
    pixels = math.prod(window(image[a], size[a], options["stride"][a], dilation[a], padding)[0] for a in (0, 1))
    products = options["batch"] * pixels * math.prod(size) * options["channels"] * options["filters"]
    return products <= _MAX_PRODUCTS


def _cover() -> list[dict]:
    """Options of convolutions in which every possible pair occurs."""
    return cover(_AXES, _is_possible, Source("pairs"), tries=4000)


def _constants(source: Source, options: dict, products: int) -> dict[str, np.ndarray]:
    """Multipliers and biases, or thresholds, and the output's quantization, that leave results in a useful range."""
    count, kind = options["filters"], options["constants"]
    if options["output"] == "bits":
        spread = 2 * math.isqrt(products) + 2
        thresholds = products // 2 + source.integers(-spread, spread + 1, (count,))
        if kind == "negative":
            thresholds = source.integers(-3, products + 3, (count,))
        thresholds = thresholds.astype(np.int32)
        if kind == "extreme":
            thresholds[::3], thresholds[1::3] = -(1 << 31), (1 << 31) - 1
        return {"thresholds": thresholds}
    reach = math.sqrt(products)
    low, high = {"normal": (0.1, 2), "negative": (-2, 2), "extreme": (-3, 3)}[kind]
    multiplier = source.floats(count, low=low, high=high) / np.float32(reach)
    bias = source.floats(count, low=-1, high=1)
    if kind == "extreme":
        multiplier[::4] *= np.float32(1e-20)
        multiplier[1::4] = 0
        bias[2::4] *= np.float32(1e6)
    constants = {"multiplier": multiplier.astype(np.float32), "bias": bias.astype(np.float32)}
    if options["output"] == "int8":
        constants |= {"scale": source.choice([0.0125, 0.03, 0.25]), "zero_point": source.choice([-128, -7, 0, 64])}
        if kind == "normal":  # halves: multiples of a quarter of the scale
            constants["multiplier"] = source.integers(1, 8, (count,)).astype(np.float32) / np.float32(32)
            constants["bias"] = source.integers(-8, 8, (count,)).astype(np.float32) / np.float32(8)
            constants["scale"] = 0.25
    return constants


def _convolution(options: dict, groups: int = 1) -> Case:
    parts = [options["output"], "of", options["source"], f"c{options['channels']}", f"f{options['filters']}"]
    parts += ["k{}x{}".format(*options["size"]), "s{}x{}".format(*options["stride"])]
    parts += ["d{}x{}".format(*options["dilation"]), options["padding"], options["activation"].lower()]
    parts += [f"b{options['batch']}", "i{}x{}".format(*options["image"]), options["constants"]]
    name = "-".join(["bconv", *parts, *([f"g{groups}"] if groups > 1 else [])])
    source = Source(name)
    channels, shape = options["channels"], (options["batch"], *options["image"], options["channels"])
    graph = Graph()
    if options["source"] == "float32":
        feeds = [source.floats(*shape)]
        x = graph.quantize(graph.input(shape))
    else:
        feeds = [pack(source.bits(*shape))]
        x = graph.input(feeds[0].shape, "int32")
    products = math.prod(options["size"]) * channels // groups
    y = graph.bconv(
        x,
        source.bits(options["filters"], *options["size"], channels // groups),
        channels,
        **_constants(source, options, products),
        stride=options["stride"],
        dilation=options["dilation"],
        padding=VALID if options["padding"] == "valid" else SAME,
        pad_values=int(options["padding"] == "one"),
        activation=options["activation"],
    )
    return Case(name, graph.output(y), feeds, 0, *_kernels(options))


def _kernels(options: dict) -> tuple[str, str]:
    """Which kernels of LCE run the convolution, and why not the reference ones."""
    if options["padding"] != "zero":
        return "reference", ""
    if options["output"] == "bits":
        return "", PACKED_ZERO_PADDING
    if options["channels"] % 2 == 0:
        return "reference", ""
    reach = [(options["size"][axis] - 1) * options["dilation"][axis] + 1 for axis in (0, 1)]
    is_inside = all(reach[axis] <= options["image"][axis] for axis in (0, 1))
    is_plain = options["output"] == "float32" and options["activation"] == "NONE"
    return "optimized" if is_plain and is_inside else "", ODD_ZERO_PADDING


def _convolutions() -> list[Case]:
    return [_convolution(options) for options in _cover()]


_PLAIN = {
    "output": "float32",
    "source": "int32",
    "channels": 64,
    "filters": 64,
    "size": (3, 3),
    "stride": (1, 1),
    "dilation": (1, 1),
    "padding": "zero",
    "activation": "NONE",
    "batch": 1,
    "image": (8, 8),
    "constants": "negative",
}


def _grouped() -> list[Case]:
    """Groups: of whole words, in LCE's reference and in its indirect kernels."""
    cases = []
    for groups, channels, filters in [(2, 64, 2), (2, 64, 66), (2, 128, 64), (3, 96, 33), (4, 128, 128), (4, 256, 20)]:
        for output, padding in itertools.product(_AXES["output"], _AXES["padding"]):
            options = _PLAIN | {"channels": channels, "filters": filters, "output": output, "padding": padding}
            cases.append(_convolution(options | {"image": (5, 6), "batch": 2}, groups))
    return cases


def _shapes() -> list[Case]:
    """What tiles, tails and margins may get wrong: each size alone, on one plain convolution."""
    changes: list[dict] = [
        {"channels": count} for count in (1, 2, 3, 30, 33, 63, 65, 127, 160, 192, 224, 256, 320, 512, 1000)
    ]
    changes += [{"filters": count} for count in (2, 3, 7, 15, 16, 17, 47, 48, 49, 63, 79, 96, 127, 129)]
    changes += [{"filters": count, "output": "bits", "padding": "one"} for count in (2, 8, 16, 63, 95, 96, 97, 127)]
    changes += [{"filters": count, "output": "int8"} for count in (2, 15, 17, 63, 66)]
    changes += [{"image": image} for image in [(1, 7), (7, 1), (2, 2), (1, 64), (33, 3), (16, 16), (6, 6)]]
    changes += [{"size": size, "image": (4, 3)} for size in [(5, 5), (8, 8), (9, 9), (7, 11), (1, 9)]]
    changes += [{"size": size, "image": (4, 3), "padding": "one"} for size in [(5, 5), (9, 9), (7, 11)]]
    changes += [{"size": size, "image": (16, 12), "channels": 32, "filters": 40} for size in [(8, 8), (9, 8), (13, 5)]]
    changes += [{"size": (1, 1), "padding": "valid", "channels": count} for count in (64, 257, 2048)]
    changes += [{"stride": (5, 4), "size": (2, 2)}, {"stride": (4, 4), "size": (1, 1)}, {"dilation": (7, 5)}]
    changes += [{"dilation": (3, 2), "stride": (2, 3)}, {"batch": 5, "image": (3, 3)}]
    # A dense layer, as BinaryNet's: one pixel, many channels.
    changes += [{"size": (1, 1), "image": (1, 1), "channels": 4608, "filters": 100, "padding": "valid"}]
    changes += [{"size": (6, 6), "image": (6, 6), "channels": 256, "filters": 70, "padding": "valid", "output": "bits"}]
    # Sums beyond 16 bits.
    changes += [{"size": (9, 9), "image": (9, 9), "channels": 1024, "filters": 3, "padding": "valid"}]
    return [_convolution(_PLAIN | change) for change in changes]


def _saturated() -> list[Case]:
    """All products -1, and all +1: the sums that narrow accumulators do not hold."""
    cases = []
    for channels, size, padding, negative in itertools.product((96, 512, 4608), (1, 3), (SAME, VALID), (False, True)):
        name = (
            f"saturated-c{channels}-k{size}-{'valid' if padding == VALID else 'zero'}-{'minus' if negative else 'plus'}"
        )
        graph, shape = Graph(), (1, 4, 5, channels)
        x = graph.input((*shape[:3], words_of(channels)), "int32")
        filters = np.zeros((20, size, size, channels), bool)
        filters[1::2] = True
        multiplier, bias = np.ones(20, np.float32), np.zeros(20, np.float32)
        y = graph.bconv(x, filters, channels, multiplier, bias, padding=padding)
        cases.append(Case(name, graph.output(y), [pack(np.full(shape, negative))]))
    return cases


# The other operators of LCE.

_SPECIAL = np.array(
    [0.0, -0.0, np.nan, -np.nan, np.inf, -np.inf, 1e-45, -1e-45, -1e-38, -1.1754944e-38, 3.4e38, -3.4e38, -1, 1],
    np.float32,
)


def _quantizers() -> list[Case]:
    cases = []
    shapes: list[tuple[int, ...]] = [(1, 2, 3, count) for count in (1, 2, 31, 32, 33, 64, 95, 100, 128, 257)]
    shapes += [(3, 5, 7, 40), (2, 65), (1, 300), (4, 3, 33), (2, 1, 1, 1000)]
    for shape in shapes:
        label = "x".join(map(str, shape))
        source = Source(f"quantize-{label}")
        graph, values = Graph(), source.floats(*shape)
        special = source.bits(*shape)
        values[special] = _SPECIAL[source.integers(0, len(_SPECIAL), shape)[special]]
        cases.append(Case(f"quantize-float32-{label}", graph.output(graph.quantize(graph.input(shape))), [values]))
        graph = Graph()
        x = graph.input(shape, "bool")
        cases.append(Case(f"quantize-bool-{label}", graph.output(graph.quantize(x)), [source.bits(*shape)]))
        for zero_point in (-128, -1, 0, 5, 127):
            graph = Graph()
            x = graph.input(shape, "int8", scale=0.1, zero_point=zero_point)
            feed = source.integers(-128, 128, shape).astype(np.int8)
            feed[..., 0] = zero_point
            cases.append(Case(f"quantize-int8-z{zero_point}-{label}", graph.output(graph.quantize(x)), [feed]))
    return [case for number, case in enumerate(cases) if number % 7 < 2 or number % 3 == 0]


def _dequantizers() -> list[Case]:
    cases = []
    shapes: list[tuple[int, ...]] = [(1, 2, 3, count) for count in (1, 31, 32, 33, 64, 100, 257)]
    for shape in [*shapes, (2, 65), (3, 4, 5, 70)]:
        label = "x".join(map(str, shape))
        source = Source(f"dequantize-{label}")
        feeds = [pack(source.bits(*shape))]
        for type in ("float32", "bool"):
            graph = Graph()
            x = graph.input(feeds[0].shape, "int32")
            cases.append(Case(f"dequantize-{type}-{label}", graph.output(graph.dequantize(x, shape[-1], type)), feeds))
    for scale, zero_point in [
        (1.0, 0),
        (0.5, 3),
        (0.4, -5),
        (0.0078125, 0),
        (0.02, 100),
        (0.02, -128),
        (0.003, 0),
        (7.0, 1),
    ]:
        graph = Graph()
        source = Source(f"dequantize-{scale}-{zero_point}")
        feeds = [pack(source.bits(2, 3, 2, 45))]
        x = graph.input(feeds[0].shape, "int32")
        y = graph.dequantize(x, 45, "int8", scale, zero_point)
        cases.append(Case(f"dequantize-int8-s{scale}-z{zero_point}", graph.output(y), feeds))
    return cases


def _pools() -> list[Case]:
    cases = []
    images = [(1, 1), (5, 7), (8, 8), (13, 4)]
    sizes = [(2, 2), (3, 3), (1, 3), (4, 2), (7, 7)]
    strides = [(1, 1), (2, 2), (3, 1), (2, 5)]
    channels = [1, 32, 33, 100, 256]
    for number, (image, size, stride, padding) in enumerate(itertools.product(images, sizes, strides, (SAME, VALID))):
        if padding == VALID and (size[0] > image[0] or size[1] > image[1]):
            continue
        if number * 7 % 11 > 4:
            continue
        count, batch = channels[number % 5], 1 + number % 3
        name = "bmaxpool-i{}x{}-k{}x{}-s{}x{}-{}-c{}-b{}".format(
            *image, *size, *stride, "valid" if padding == VALID else "same", count, batch
        )
        source = Source(name)
        # Three of four are negative: the greatest sign of a window is not always +1.
        feeds = [pack(source.bits(batch, *image, count) | source.bits(batch, *image, count))]
        graph = Graph()
        x = graph.input(feeds[0].shape, "int32")
        cases.append(Case(name, graph.output(graph.bmaxpool(x, size, stride, padding)), feeds))
    return cases


# Chains.


def _residual() -> Case:
    """Two blocks of Bi-Real Net, the second with half the resolution and twice the channels."""
    chain = Chain("chain-residual")
    graph, x = chain.graph, chain.input(2, 8, 8, 64, integers=True)
    y = graph.binary("ADD", chain.bconv(x, 64), x)
    y = graph.binary("ADD", chain.bconv(y, 64), y)
    down = chain.bconv(y, 128, stride=(2, 2))
    return chain.case(graph.binary("ADD", chain.bconv(down, 128), down))


def _residual_swapped() -> Case:
    """The sum's operands the other way round, and a constant added between."""
    chain = Chain("chain-residual-swapped")
    graph, x = chain.graph, chain.input(1, 7, 5, 40)
    y = graph.binary("ADD", x, chain.bconv(x, 40), "RELU")
    y = graph.binary("ADD", chain.per_channel(40), y)
    return chain.case(graph.binary("ADD", y, chain.bconv(y, 40, pad_values=1)))


def _real_residual(exact: bool) -> Case:
    """Bi-Real Net's step: a shortcut of average pool and 1x1 convolution; exact with small integers."""
    chain = Chain(f"chain-shortcut-{'integers' if exact else 'floats'}")
    graph, draw, x = chain.graph, chain.source, chain.input(1, 8, 8, 32, integers=exact)
    y = chain.bconv(x, 48, stride=(2, 2), whole=exact)
    pooled = graph.pool("AVERAGE_POOL_2D", x, (2, 2), (2, 2))
    weights = draw.integers(-3, 4, (48, 1, 1, 32)).astype(np.float32) if exact else draw.floats(48, 1, 1, 32)
    bias = draw.integers(-5, 6, (48,)).astype(np.float32) if exact else draw.floats(48)
    shortcut = graph.conv(pooled, weights, bias, padding=VALID)
    total = graph.binary("ADD", y, shortcut)
    if not exact:
        return chain.case(total, tolerance=1e-5)
    return chain.case(total, chain.bconv(total, 33))


def _large_stem(pool: str, padding: int) -> Case:
    """A network's first layers, whose map is so large that the pool takes it row by row; exact with small integers."""
    chain = Chain(f"chain-large-stem-{pool.lower().replace('_pool_2d', '')}-{'valid' if padding == VALID else 'same'}")
    graph, draw, x = chain.graph, chain.source, chain.input(2, 91, 94, 5, integers=True)
    weights = draw.integers(-3, 4, (40, 3, 3, 5)).astype(np.float32)
    y = graph.conv(x, weights, draw.integers(-5, 6, (40,)).astype(np.float32), padding=padding)
    # LiteRT multiplies by 1 / count: exact for averages of 1, 2 and 4.
    size, stride = ((3, 3), (2, 2)) if pool == "MAX_POOL_2D" else ((2, 2), (1, 3))
    y = graph.pool(pool, graph.relu(y), size, stride, padding)
    y = graph.binary("SUB", y, chain.per_channel(40, 0, 9))
    return chain.case(chain.bconv(y, 12, stride=(4, 4)), y)


def _relu_quantize() -> Case:
    chain = Chain("chain-relu-quantize")
    x = chain.input(1, 9, 6, 34)
    y = chain.graph.relu(chain.bconv(x, 70))
    y = chain.graph.binary("SUB", y, chain.per_channel(70, 0, 1))
    return chain.case(chain.bconv(y, 12), y)


def _pooled_bits() -> Case:
    """BinaryNet's block, float between the convolutions."""
    chain = Chain("chain-bmaxpool")
    graph, x = chain.graph, chain.input(2, 9, 8, 66)
    y = graph.bmaxpool(graph.quantize(chain.bconv(x, 100)), (2, 2), (2, 2))
    y = graph.bmaxpool(graph.quantize(chain.bconv(y, 64, channels=100, pad_values=1)), (3, 3), (2, 2), SAME)
    return chain.case(chain.bconv(y, 10, channels=64))


def _packed() -> Case:
    """Bit-packed from layer to layer."""
    chain = Chain("chain-packed")
    x = chain.input(1, 6, 7, 50)
    y = chain.bconv(x, 90, bits=True, pad_values=1)
    y = chain.bconv(y, 64, bits=True, padding=VALID, channels=90)
    y = chain.bconv(y, 33, 1, bits=True, padding=VALID, channels=64)
    return chain.case(chain.bconv(y, 17, 1, padding=VALID, channels=33), y)


def _two_consumers() -> Case:
    """A value that two operators read and the user too, and bits that two convolutions read."""
    chain = Chain("chain-two-consumers")
    graph, x = chain.graph, chain.input(1, 5, 5, 32)
    y = chain.bconv(x, 64)
    packed = graph.quantize(y)
    left = chain.bconv(packed, 20, channels=64)
    right = chain.bconv(packed, 20, 1, channels=64)
    return chain.case(y, graph.binary("ADD", left, right), packed, graph.relu(y))


def _per_channel(order: str) -> Case:
    """Batch normalization that no converter folded."""
    chain = Chain(f"chain-per-channel-{order}")
    graph, y = chain.graph, chain.bconv(chain.input(2, 4, 4, 36), 45)
    for each in order.split("-"):
        y = graph.binary(each.upper(), y, chain.per_channel(45))
    return chain.case(graph.quantize(y), y)


def _constant_first() -> Case:
    chain = Chain("chain-constant-first")
    graph, y = chain.graph, chain.bconv(chain.input(1, 4, 5, 64), 31)
    y = graph.binary("SUB", chain.per_channel(31), y)
    y = graph.binary("MUL", chain.per_channel(31), y, "RELU6")
    return chain.case(y, graph.quantize(y))


def _scalar() -> Case:
    chain = Chain("chain-scalar")
    graph, y = chain.graph, chain.bconv(chain.input(1, 4, 5, 64), 34)
    y = graph.binary("MUL", y, chain.per_channel(1))
    y = graph.binary("ADD", y, graph.constant(chain.source.floats(1, 1, 1, 34)), "RELU_N1_TO_1")
    y = graph.binary("ADD", y, graph.constant(chain.source.floats(1, 4, 5, 34)))
    return chain.case(y, graph.quantize(y))


def _two_inputs() -> Case:
    """Broadcasts of a picture's mask along channels, which no epilogue holds."""
    chain = Chain("chain-two-inputs")
    graph, x, mask = chain.graph, chain.input(1, 6, 6, 32), chain.input(1, 6, 6, 1)
    y = graph.binary("MUL", chain.bconv(x, 40), mask)
    return chain.case(chain.bconv(y, 8))


def _activations() -> list[Case]:
    cases = []
    for activation, pads in itertools.product(ACTIVATIONS, (0, 1)):
        chain = Chain(f"chain-activation-{activation.lower()}-{pads}")
        graph, x = chain.graph, chain.input(1, 5, 6, 32)
        y = chain.bconv(x, 32, activation=activation, pad_values=pads)
        z = graph.binary("ADD", y, x, activation)
        cases.append(chain.case(graph.quantize(z), z))
    return cases


def _max_pool(padding: int) -> Case:
    """XNOR-Net's and BinaryNet's order: a float pool, then signs, then a dense layer."""
    chain = Chain(f"chain-max-pool-{'valid' if padding == VALID else 'same'}")
    graph = chain.graph
    y = graph.pool("MAX_POOL_2D", chain.bconv(chain.input(1, 7, 7, 64), 96), (3, 3), (2, 2), padding)
    _, height, width, channels = graph.tensors[y].shape
    y = graph.reshape(y, (-1, 1, 1, height * width * channels))
    y = chain.bconv(y, 40, 1, bits=True, padding=VALID)
    y = chain.bconv(y, 10, 1, padding=VALID, channels=40)
    return chain.case(graph.reshape(y, (1, 10)))


def _reshaped_bits() -> Case:
    """Bits that are reshaped: whole words, so that the order stays."""
    chain = Chain("chain-reshaped-bits")
    graph = chain.graph
    y = graph.quantize(chain.bconv(chain.input(2, 3, 4, 34), 64))
    y = graph.reshape(y, (2, 1, 1, 3 * 4 * 2))
    return chain.case(chain.bconv(y, 20, 1, padding=VALID, channels=3 * 4 * 64))


def _head(exact: bool) -> Case:
    """The end of Bi-Real Net: mean and dense layer; exact with small integers and a power of two of pixels."""
    chain = Chain(f"chain-head-{'integers' if exact else 'floats'}")
    graph, draw = chain.graph, chain.source
    y = chain.bconv(chain.input(2, 4, 4, 64), 72, whole=exact, pad_values=1)
    mean = graph.mean(y)
    weights = draw.integers(-3, 4, (10, 72)).astype(np.float32) if exact else draw.floats(10, 72)
    bias = draw.integers(-5, 6, (10,)).astype(np.float32) if exact else draw.floats(10)
    return chain.case(graph.dense(mean, weights, bias), mean, tolerance=0 if exact else 1e-5)


def _stem(exact: bool) -> Case:
    """The beginning of a network: a float convolution of a picture, then signs."""
    chain = Chain(f"chain-stem-{'integers' if exact else 'floats'}")
    graph, draw, x = chain.graph, chain.source, chain.input(1, 13, 12, 3, integers=exact)
    weights = draw.integers(-3, 4, (64, 5, 5, 3)).astype(np.float32) if exact else draw.floats(64, 5, 5, 3)
    bias = draw.integers(-5, 6, (64,)).astype(np.float32) if exact else draw.floats(64)
    y = graph.conv(x, weights, bias, stride=(2, 2), activation="RELU" if exact else "NONE")
    if not exact:
        return chain.case(y, tolerance=1e-5)
    y = graph.binary("SUB", graph.pool("MAX_POOL_2D", y, (3, 3), (2, 2), SAME), chain.per_channel(64, 0.5, 20.5))
    return chain.case(chain.bconv(y, 30), y)


def _float_between(exact: bool) -> Case:
    """All float operators between two binary layers; exact with small integers."""
    chain = Chain(f"chain-between-{'integers' if exact else 'floats'}")
    graph, draw = chain.graph, chain.source
    y = chain.bconv(chain.input(2, 8, 8, 32), 32, whole=True)
    weights = draw.integers(-2, 3, (24, 3, 3, 32)).astype(np.float32) if exact else draw.floats(24, 3, 3, 32)
    bias = draw.integers(-5, 6, (24,)).astype(np.float32) if exact else draw.floats(24)
    y = graph.conv(y, weights, bias, dilation=(2, 1), activation="RELU")
    y = graph.pool("AVERAGE_POOL_2D", y, (2, 2), (2, 2) if exact else (1, 1), VALID if exact else SAME)
    units = draw.integers(-2, 3, (40, 24)).astype(np.float32) if exact else draw.floats(40, 24)
    y = graph.dense(graph.mean(y), units, None, "RELU")
    if not exact:
        return chain.case(y, tolerance=1e-5)
    y = graph.reshape(y, (2, 1, 1, 40))
    return chain.case(chain.bconv(graph.binary("SUB", y, chain.per_channel(40, 0.5, 99.5)), 16, 1), y)


def _averages() -> Case:
    """A pool over a margin, whose windows have 4, 6 and 9 pixels, and one of 3x3 with strides."""
    chain = Chain("chain-averages")
    graph, y = chain.graph, chain.bconv(chain.input(1, 9, 9, 32), 20)
    same = graph.pool("AVERAGE_POOL_2D", y, (3, 3), (1, 1), SAME)
    valid = graph.pool("AVERAGE_POOL_2D", y, (3, 2), (2, 3), VALID, "RELU")
    return chain.case(same, valid, graph.mean(y, keep_dims=True), tolerance=1e-5)


def _dequantized() -> Case:
    chain = Chain("chain-dequantize")
    graph, x = chain.graph, chain.input(1, 4, 6, 70)
    y = graph.dequantize(graph.quantize(chain.bconv(x, 70)), 70)
    packed = chain.bconv(graph.binary("ADD", y, x), 40, bits=True, pad_values=1)
    return chain.case(graph.dequantize(packed, 40), graph.dequantize(packed, 40, "int8", 0.5, 1))


def _quantized() -> Case:
    """int8 from end to end."""
    chain = Chain("chain-int8")
    graph, draw = chain.graph, chain.source
    chain.feeds.append(draw.integers(-128, 128, (2, 6, 5, 48)).astype(np.int8))
    x = graph.quantize(graph.input((2, 6, 5, 48), "int8", scale=0.05, zero_point=-9))
    y = chain.bconv(x, 52, channels=48, scale=0.04, zero_point=11, pad_values=1, activation="RELU")
    return chain.case(chain.bconv(graph.quantize(y), 20, channels=52, scale=0.06, zero_point=-3), y)


def _same_operand() -> Case:
    """A value added to itself, and two convolutions added to each other and subtracted from each other."""
    chain = Chain("chain-same-operand")
    graph, x = chain.graph, chain.input(1, 5, 4, 32)
    a, b = chain.bconv(x, 32), chain.bconv(x, 32, 1)
    total = graph.binary("ADD", a, b)
    return chain.case(
        chain.bconv(graph.binary("ADD", total, total), 16), graph.binary("SUB", b, a), graph.binary("MUL", b, b)
    )


def _islands() -> Case:
    """Operators between that LiteRT runs itself, so that the runtime runs three parts; values go into two of them."""
    chain = Chain("chain-islands")
    graph, x = chain.graph, chain.input(2, 6, 6, 32)
    y = chain.bconv(x, 32)
    left = graph.unary("NEG", y)
    z = graph.binary("ADD", chain.bconv(left, 32), y)
    right = graph.unary("ABS", graph.binary("MUL", z, left))
    right = graph.binary("SUB", right, chain.per_channel(32, 0, 1))
    return chain.case(chain.bconv(right, 20), graph.binary("ADD", right, y))


def _gated() -> Case:
    """Channels scaled by their own mean; exact, as it is a sum of integers over a power of two."""
    chain = Chain("chain-gated")
    graph = chain.graph
    y = chain.bconv(chain.input(2, 4, 8, 32), 36, whole=True)
    y = graph.binary("MUL", y, graph.mean(y, keep_dims=True))
    return chain.case(chain.bconv(y, 16), y)


def _flattened() -> Case:
    """A dense layer on a flattened float value; exact with integers."""
    chain = Chain("chain-flattened")
    graph, draw = chain.graph, chain.source
    y = graph.pool("MAX_POOL_2D", chain.bconv(chain.input(2, 6, 6, 32), 20, whole=True), (2, 2), (2, 2))
    y = graph.reshape(y, (2, 180))
    weights, bias = (draw.integers(-3, 4, shape).astype(np.float32) for shape in ((30, 180), (30,)))
    return chain.case(graph.dense(y, weights, bias))


def _dense_blocks() -> Case:
    """BinaryDenseNet: every convolution adds channels behind those that it sees, and takes signs of its own."""
    chain = Chain("chain-dense-blocks")
    graph, x = chain.graph, chain.input(2, 6, 5, 34)
    for block in range(3):
        y = graph.binary("SUB", x, chain.per_channel(34 + 20 * block))
        x = graph.concatenate(x, chain.bconv(y, 20))
    y = graph.binary("ADD", graph.binary("MUL", x, chain.per_channel(94)), chain.per_channel(94))
    return chain.case(graph.relu(graph.pool("MAX_POOL_2D", y, (2, 2), (2, 2))), x)


def _parts() -> Case:
    """Concatenations of the same value twice, of an output, of one in another, and of odd numbers of channels."""
    chain = Chain("chain-parts")
    graph, x = chain.graph, chain.input(1, 5, 7, 33)
    a, b, c = (chain.bconv(x, filters, pad_values=1) for filters in (5, 70, 1))
    inner = graph.concatenate(a, c)
    outer = graph.concatenate(inner, b, inner, a)
    return chain.case(chain.bconv(outer, 20, pad_values=1), b, graph.relu(outer), graph.concatenate(inner, x))


def _halves(strides: tuple[int, int]) -> Case:
    """ReActNet-A: two convolutions side by side, and one slope for each channel of both."""
    chain = Chain("chain-halves-{}x{}".format(*strides))
    graph, x = chain.graph, chain.input(2, 6, 6, 32)
    signs = graph.quantize(graph.binary("ADD", x, chain.per_channel(32)))
    parts = [graph.binary("ADD", chain.bconv(signs, 32, 1, channels=32), x) for _ in range(2)]
    y = graph.with_constant("PRELU", graph.concatenate(*parts), chain.constant(1, 1, 64))
    z = chain.bconv(graph.binary("ADD", y, chain.per_channel(64)), 64, stride=strides)
    pooled = graph.pool("MAX_POOL_2D", y, (2, 2), strides, SAME if strides == (1, 1) else VALID)
    return chain.case(graph.binary("ADD", z, pooled), y)


def _shifted_slopes() -> Case:
    """ReActNet's block twice: shifts in front of signs and around the slope, and a shortcut."""
    chain = Chain("chain-shifted-slopes")
    graph, x = chain.graph, chain.input(2, 5, 6, 40)
    for _ in range(2):
        y = chain.bconv(graph.binary("ADD", x, chain.per_channel(40)), 40)
        y = graph.binary("ADD", graph.binary("ADD", y, x), chain.per_channel(40))
        x = graph.binary("ADD", graph.with_constant("PRELU", y, chain.constant(1, 1, 40)), chain.per_channel(40))
    least = graph.with_constant("MAXIMUM", x, graph.constant(np.float32(-0.5)))
    return chain.case(chain.bconv(least, 24), x, graph.with_constant("PRELU", x, chain.constant(1)))


def _groups(exact: bool) -> Case:
    """MeliusNet's stem: convolutions in groups; one part is an output too."""
    chain = Chain(f"chain-groups-{'integers' if exact else 'floats'}")
    graph, draw, x = chain.graph, chain.source, chain.input(2, 9, 8, 20, integers=exact)
    parts = graph.split(graph.relu(x), 5)
    made = []
    for part in parts:
        weights = draw.integers(-3, 4, (7, 3, 3, 4)).astype(np.float32) if exact else draw.floats(7, 3, 3, 4)
        made.append(graph.conv(part, weights, np.zeros(7, np.float32)))
    y = graph.concatenate(*made)
    if not exact:
        return chain.case(y, parts[2], tolerance=1e-5)
    shifted = graph.binary("SUB", y, chain.per_channel(35, 0.5, 9.5))
    return chain.case(chain.bconv(shifted, 30, pad_values=1), y, parts[2], parts[4])


def _improvements(kind: str) -> Case:
    """MeliusNet: the last channels of all are improved; in place, unless somebody reads them later."""
    chain = Chain(f"chain-improvements-{kind}")
    graph, x = chain.graph, chain.input(1, 6, 7, 64)
    kept = []
    for _ in range(3):
        new = chain.bconv(graph.binary("SUB", x, chain.per_channel(graph.tensors[x].shape[-1])), 32)
        x = graph.concatenate(x, new)
        channels = graph.tensors[x].shape[-1]
        kept.append({"features": x, "part": new}.get(kind, -1))
        y = chain.bconv(graph.binary("SUB", x, chain.per_channel(channels)), 32)
        y = graph.with_constant("MAXIMUM", y, graph.constant(np.float32(-3e38)))
        padded = graph.pad(y, channels - 32, 0)
        x = graph.binary("ADD", *((padded, x) if kind == "swapped" else (x, padded)))
    y = chain.bconv(x, 16)
    return chain.case(y, *(graph.relu(each) for each in kept if each >= 0), *([x] if kind == "output" else []))


def _improved_by(kind: str) -> Case:
    """An improvement that reads other pixels or channels of what it improves, or of another size; and a late reader."""
    chain = Chain(f"chain-improved-by-{kind}")
    graph, batch = chain.graph, 2 if kind == "mean" else 1
    size, channels = ((52, 64), 48) if kind.startswith("before") else ((9, 8), 32)
    x = chain.input(batch, *size, channels)
    features, before = graph.relu(chain.bconv(x, channels)), 0
    outputs = []
    if kind == "pool":
        improvement = graph.pool("AVERAGE_POOL_2D", features, (3, 3), (1, 1), SAME)
    elif kind == "depthwise":
        improvement = graph.depthwise(features, chain.source.floats(3, 3, channels), chain.source.floats(channels))
    elif kind == "convolution":
        before = 16
        improvement = graph.conv(features, chain.source.floats(16, 3, 3, channels), chain.source.floats(16))
    elif kind == "part":
        before = 8
        improvement = graph.with_constant("MAXIMUM", graph.split(features, 2)[0], chain.per_channel(16))
    elif kind == "mean":
        improvement = graph.relu(graph.mean(features, keep_dims=True))
    elif kind == "groups":  # convolutions that run together are of the features as they were
        groups = [graph.conv(features, chain.source.floats(16, 3, 3, 32), chain.source.floats(16)) for _ in range(2)]
        improvement = graph.conv(x, chain.source.floats(16, 1, 1, channels), chain.source.floats(16))
    elif kind == "early-sum":  # a convolution that a later operand could join is of the features as they were
        early = graph.conv(features, chain.source.floats(32, 3, 3, 32), chain.source.floats(32))
        improvement = graph.conv(x, chain.source.floats(16, 1, 1, channels), chain.source.floats(16))
    else:  # a large value that a pool takes over is of the features as they were
        before = 32
        large = graph.conv(features, chain.source.floats(48, 1, 1, channels), chain.source.floats(48))
        if kind == "before-map":
            large = graph.with_constant("MAXIMUM", features, chain.per_channel(channels))
        improvement = graph.conv(x, chain.source.floats(16, 1, 1, channels), chain.source.floats(16))
    padded = graph.pad(improvement, before, channels - before - graph.tensors[improvement].shape[-1])
    outputs.append(graph.relu(graph.binary("ADD", features, padded)))
    if kind.startswith("before"):
        outputs.append(graph.pool("MAX_POOL_2D", large, (2, 2), (2, 2)))
    if kind == "early-sum":
        outputs.append(graph.binary("ADD", early, graph.unary("LOGISTIC", x)))
    if kind == "groups":
        outputs.append(graph.concatenate(*groups))
    case = chain.case(*outputs, tolerance=1e-5)
    return dataclasses.replace(case, kernels="", reason="float operators, whose sums LCE adds in another order")


def _padded() -> Case:
    """ResNet-20's shortcut, of which the other channels are zero; a margin on both sides; and one that is an output."""
    chain = Chain("chain-padded")
    graph, x = chain.graph, chain.input(2, 8, 6, 16)
    y = chain.bconv(x, 36, stride=(2, 2))
    pixels = graph.pool("AVERAGE_POOL_2D", x, (1, 1), (2, 2))
    y = graph.binary("ADD", y, graph.pad(pixels, 0, 20))
    wide = graph.pad(y, 3, 5)
    return chain.case(chain.bconv(wide, 20), wide, graph.pad(chain.bconv(y, 8), 7, 0))


def _gates(exact: bool) -> Case:
    """Real-to-Binary's block: a factor a channel from the input's means, a slope and a shortcut."""
    chain = Chain(f"chain-gates-{'integers' if exact else 'floats'}")
    graph, draw, x = chain.graph, chain.source, chain.input(1, 4, 8, 32, integers=exact)
    for block in range(2):
        scaled = graph.binary("MUL", x, graph.constant(np.full(32, 2 if exact else 0.3, np.float32)))
        normalised = graph.binary("ADD", scaled, graph.constant(np.full(32, 1 if exact else 0.1, np.float32)))
        y = chain.bconv(normalised, 32, whole=exact)
        gate = graph.mean(normalised, keep_dims=block == 1)
        if not exact:
            gate = graph.unary("LOGISTIC", graph.dense(gate, draw.floats(32, 32), None, "RELU"))
        y = graph.binary("MUL", *((y, gate) if block == 0 else (gate, y)))
        y = graph.with_constant("PRELU", y, graph.constant(np.full((1, 1, 32), 0.25, np.float32)))
        x = graph.binary("ADD", y, x)
    return chain.case(x, tolerance=0 if exact else 1e-5)


def _blurred(channels: int, padding: int) -> Case:
    """QuickNet's transition: maxima, a blur of each channel, a real convolution; exact with small integers."""
    chain = Chain(f"chain-blurred-c{channels}-{'valid' if padding == VALID else 'same'}")
    graph, draw, x = chain.graph, chain.source, chain.input(2, 10, 9, channels, integers=True)
    y = graph.pool("MAX_POOL_2D", graph.relu(x), (2, 2), (1, 1))
    weights = draw.integers(-3, 4, (3, 3, channels)).astype(np.float32)
    bias = draw.integers(-5, 6, (channels,)).astype(np.float32)
    y = graph.depthwise(y, weights, bias, stride=(2, 2), padding=padding, activation="RELU")
    y = graph.depthwise(y, weights[:2], bias, dilation=(2, 1))
    y = graph.binary("SUB", y, chain.per_channel(channels, 0.5, 9.5))
    return chain.case(chain.bconv(y, 12, pad_values=1), y)


def _dying_operand(kind: str) -> Case:
    """A sum that may lie where its operand lies, if nothing reads that later or as patches; exact with integers."""
    chain = Chain(f"chain-dying-operand-{kind}")
    graph, draw = chain.graph, chain.source
    x = graph.relu(chain.bconv(chain.input(2, 7, 6, 64, integers=True), 64, whole=True))
    weights = draw.integers(-2, 3, (64, 3, 3, 64)).astype(np.float32)
    if kind == "convolution":
        made = graph.conv(x, weights, np.zeros(64, np.float32))
    elif kind == "depthwise":
        made = graph.depthwise(x, weights[0], np.zeros(64, np.float32))
    elif kind == "pool":
        made = graph.pool("MAX_POOL_2D", x, (3, 3), (1, 1), SAME)
    elif kind == "map":
        made = graph.binary("MUL", x, chain.constant(1, 7, 6, 64))
    else:
        made = chain.bconv(x, 64, whole=True)
    other = graph.relu(chain.bconv(x, 64, whole=True)) if kind == "two" else x
    shared = graph.split(x, 2)[1] if kind == "view" else graph.reshape(x, (2, 1, 1, -1)) if kind == "reshaped" else x
    total = graph.binary("ADD", made, x)
    if kind == "two":
        total = graph.binary("MUL", other, total)
    outputs = [graph.binary("ADD", chain.bconv(total, 64, whole=True), total)]
    if kind in ("read-later", "view"):
        outputs.append(graph.pool("MAX_POOL_2D", shared, (2, 2), (2, 2)))
    if kind in ("output", "reshaped"):
        outputs.append(shared)
    if kind == "joined":
        outputs.append(chain.bconv(graph.concatenate(total, made), 8))
    return chain.case(*outputs)


def _several_filters(count: int) -> Case:
    """Depthwise convolutions with so many filters a channel; exact with small integers."""
    chain = Chain(f"chain-several-filters-{count}")
    graph, draw, x = chain.graph, chain.source, chain.input(2, 9, 7, 5, integers=True)
    for channels in (5, 5 * count):
        weights = draw.integers(-3, 4, (3, 3, channels * count)).astype(np.float32)
        bias = draw.integers(-5, 6, (channels * count,)).astype(np.float32)
        x = graph.depthwise(x, weights, bias, activation="RELU")
    y = graph.binary("SUB", x, chain.per_channel(5 * count**2, 0.5, 99.5))
    return chain.case(chain.bconv(y, 12, pad_values=1), y)


def _probabilities() -> Case:
    chain = Chain("chain-probabilities")
    graph, x = chain.graph, chain.input(2, 4, 4, 32)
    y = graph.mean(chain.bconv(x, 100))
    return chain.case(graph.softmax(y), graph.softmax(graph.unary("LOGISTIC", y), 2.0), tolerance=1e-5)


_MOST_VALUES = 6000


class _Wild(Chain):
    """A graph of random operators on random earlier values, all of them exact."""

    def __init__(self, name: str):
        super().__init__(name)
        channels = self.source.choice([8, 32, 40, 64])
        shape = (self.source.choice([1, 2]), self.source.choice([4, 6, 7]), self.source.choice([4, 5, 8]), channels)
        self._channels = {}
        """Of bit-packed values."""
        self._values = [self.input(*shape)]
        steps = [self._bconv] * 5 + [self._quantize] * 2 + [self._sum] * 4 + [self._constant] * 3
        steps += [self._relu, self._max_pool, self._bmaxpool, self._dequantize, self._flatten, self._foreign]
        while len(self.graph.operators) < 14:
            made = self.source.choice(steps)()
            if made is not None:
                self._values.append(made)

    def finished(self) -> Case:
        used = {index for operator in self.graph.operators for index in operator.inputs}
        rest = [index for index in self._values[1:] if index not in used or self.source.choice([False] * 5 + [True])]
        return self.case(*rest)

    def _pick(self, type: str) -> int | None:
        """Most often a value that nothing reads yet: chains, not bundles."""
        of_type = [index for index in self._values if self.graph.tensors[index].type == type]
        read = {index for operator in self.graph.operators for index in operator.inputs}
        unread = [index for index in of_type if index not in read]
        if unread and self.source.choice([True, True, True, False]):
            return self.source.choice(unread)
        return self.source.choice(of_type[-4:]) if of_type else None

    def _shape(self, x: int) -> tuple[int, ...]:
        return self.graph.tensors[x].shape

    def _quantize(self) -> int | None:
        x = self._pick(self.source.choice(["float32", "float32", "int8"]))
        if x is None:
            return None
        y = self.graph.quantize(x)
        self._channels[y] = self._shape(x)[-1]
        return y

    def _bconv(self) -> int | None:
        x = self._pick("int32")
        if x is None:
            return self._quantize()
        channels, same = self._channels[x], self._shape(x)[1:3]
        size = self.source.choice([1, 1, 3, 3, 2])
        output = self.source.choice(["float32", "float32", "float32", "bits", "int8"])
        options = {"padding": SAME, "pad_values": int(channels % 2 or output == "bits" or self.source.choice([0, 1]))}
        if min(same) >= size and self.source.choice([False, False, True]):
            options = {"padding": VALID}
        if max(same) > 2 and self.source.choice([False, False, True]):
            options["stride"] = (2, 2)
        filters = channels if self.source.choice([True, True, False]) else self.source.choice([16, 33, 70])
        if output == "int8":
            options |= {"scale": 0.05, "zero_point": self.source.choice([-3, 0, 20])}
        y = self.bconv(x, filters, size, bits=output == "bits", channels=channels, **options)
        if output == "bits":
            self._channels[y] = filters
        return y

    def _sum(self) -> int | None:
        """Two values of one shape."""
        a = self._pick("float32")
        equal = [
            i for i in self._values if self._shape(i) == self._shape(a) and self.graph.tensors[i].type == "float32"
        ]
        b = self.source.choice(equal)
        type = self.source.choice(["ADD", "ADD", "ADD", "SUB", "MUL"])
        activation = self.source.choice(["NONE", "NONE", *ACTIVATIONS])
        return self.graph.binary(type, *self.source.choice([(a, b), (b, a)]), activation)

    def _constant(self) -> int | None:
        x = self._pick("float32")
        shape = self._shape(x)
        constant = self.source.choice([(shape[-1],), (shape[-1],), (1, 1, 1, shape[-1]), (1,), (), (1, *shape[1:])])
        c = self.graph.constant(self.source.floats(*constant, low=-1.5, high=1.5).reshape(constant))
        type = self.source.choice(["ADD", "SUB", "MUL"])
        return self.graph.binary(type, *self.source.choice([(x, c), (x, c), (c, x)]), self.source.choice(ACTIVATIONS))

    def _relu(self) -> int | None:
        return self.graph.relu(self._pick("float32"))

    def _foreign(self) -> int | None:
        return self.graph.unary(self.source.choice(["ABS", "NEG"]), self._pick("float32"))

    def _max_pool(self) -> int | None:
        x = self._pick("float32")
        padding = VALID if min(self._shape(x)[1:3]) >= 2 else SAME
        return self.graph.pool("MAX_POOL_2D", x, (2, 2), self.source.choice([(1, 1), (2, 2)]), padding)

    def _bmaxpool(self) -> int | None:
        x = self._pick("int32")
        if x is None:
            return None
        y = self.graph.bmaxpool(x, self.source.choice([(2, 2), (3, 2)]), self.source.choice([(1, 1), (2, 2)]), SAME)
        self._channels[y] = self._channels[x]
        return y

    def _dequantize(self) -> int | None:
        x = self._pick("int32")
        return None if x is None else self.graph.dequantize(x, self._channels[x])

    def _flatten(self) -> int | None:
        x = self._pick("float32")
        batch, *sizes = self._shape(x)
        if math.prod(sizes) > _MOST_VALUES // 4:
            return None
        return self.graph.reshape(x, self.source.choice([(batch, 1, 1, -1), (batch, 1, math.prod(sizes[:2]), -1)]))


class _WildChannels(_Wild):
    """One whose operators move channels too: what shares memory in one way must not in another."""

    def _sum(self) -> int | None:
        """A sum, or one of these; a margin often meets a value that has its channels."""
        steps = [self._concatenate] * 3 + [self._improve] * 3 + [self._part, self._slope, self._margin]
        made = self.source.choice(steps)
        return made() if self.source.choice([True, True, False]) else super()._sum()

    def _images(self, like: int) -> list[int]:
        """Images as large as one."""
        shape = self._shape(like)
        return [
            i
            for i in self._values
            if self.graph.tensors[i].type == "float32" and len(self._shape(i)) == 4 and self._shape(i)[:3] == shape[:3]
        ]

    def _concatenate(self) -> int | None:
        x = self._pick("float32")
        others = self._images(x)
        parts = [x, self.source.choice(others), *([self.source.choice(others)] if self.source.choice([0, 1]) else [])]
        if sum(math.prod(self._shape(each)) for each in parts) > 2 * _MOST_VALUES:
            return None
        return self.graph.concatenate(*parts)

    def _part(self) -> int | None:
        x = self._pick("float32")
        if self._shape(x)[-1] % 2:
            return None
        first, second = self.graph.split(x, 2)
        self._values.append(second)
        return first

    def _slope(self) -> int | None:
        x = self._pick("float32")
        slopes = self.graph.constant(self.source.floats(1, 1, self._shape(x)[-1], low=-0.5, high=1.5))
        return self.graph.with_constant(self.source.choice(["PRELU", "MAXIMUM"]), x, slopes)

    def _margin(self) -> int | None:
        x = self._pick("float32")
        return self.graph.pad(x, *self.source.choice([(0, 8), (5, 0), (3, 2)]))

    def _improve(self) -> int | None:
        """A convolution's result added to the last channels of a value, as MeliusNet does."""
        x = self._pick("float32")
        channels = self._shape(x)[-1]
        if channels < 16 or math.prod(self._shape(x)) > 2 * _MOST_VALUES:
            return None
        y = self.bconv(x, 8, pad_values=1)
        if self.source.choice([True, False]):
            self._values.append(y)
        return self.graph.binary("ADD", x, self.graph.pad(y, channels - 8, 0))


def _two_threads() -> Case:
    """Large enough that threads share it."""
    chain = Chain("chain-large")
    graph, x = chain.graph, chain.input(1, 28, 28, 64)
    y = graph.binary("ADD", chain.bconv(x, 64), x)
    return chain.case(chain.bconv(y, 100), graph.bmaxpool(graph.quantize(y), (2, 2), (2, 2)))


def _chains() -> list[Case]:
    makers: list[Callable[[], Case]] = [_residual, _residual_swapped, _relu_quantize, _pooled_bits, _packed]
    makers += [_two_consumers, _constant_first, _scalar, _two_inputs, _reshaped_bits, _averages, _dequantized]
    makers += [_quantized, _two_threads, _same_operand, _islands, _gated, _flattened]
    cases = [make() for make in makers]
    cases += [_per_channel(order) for order in ("mul", "add", "sub", "mul-add", "add-mul", "sub-mul-add")]
    cases += [make(exact) for make in (_real_residual, _head, _stem, _float_between) for exact in (True, False)]
    cases += [_large_stem(pool, padding) for pool in ("MAX_POOL_2D", "AVERAGE_POOL_2D") for padding in (VALID, SAME)]
    cases += [*_activations(), _max_pool(VALID), _max_pool(SAME)]
    cases += [_dense_blocks(), _parts(), _halves((1, 1)), _halves((2, 2)), _shifted_slopes(), _padded()]
    cases += [_improvements(kind) for kind in ("in-place", "swapped", "features", "part", "output")]
    kinds = (
        "pool",
        "depthwise",
        "convolution",
        "part",
        "mean",
        "groups",
        "early-sum",
        "before-convolution",
        "before-map",
    )
    cases += [_improved_by(kind) for kind in kinds]
    cases += [make(exact) for make in (_groups, _gates) for exact in (True, False)]
    cases += [_blurred(channels, padding) for channels in (8, 35, 70) for padding in (VALID, SAME)]
    kinds = ("last", "two", "read-later", "output", "view", "reshaped", "joined", "map")
    cases += [_dying_operand(kind) for kind in (*kinds, "convolution", "depthwise", "pool")]
    return [*cases, _several_filters(2), _several_filters(7), _probabilities()]


def all_cases() -> list[Case]:
    """Every case, by name unique."""
    cases = [*_convolutions(), *_grouped(), *_shapes(), *_saturated(), *_quantizers(), *_dequantizers(), *_pools()]
    cases += [*_chains(), *(_Wild(f"wild-{number}").finished() for number in range(60))]
    cases += [_WildChannels(f"wild-channels-{number}").finished() for number in range(60)]
    cases += [*sweep_int8.all_cases(), *sweep_weights.all_cases()]
    assert len({case.name for case in cases}) == len(cases)
    return cases


CASES = all_cases()
