"""What a test runs: a graph and its inputs; and how cases are drawn.

Every case is made from a seed, and no other code than `Source` draws numbers, so that the cases are the same with every
version of NumPy.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import zlib
from collections.abc import Callable

import numpy as np
from models import Graph


@dataclasses.dataclass(frozen=True)
class Case:
    """One graph and its inputs.

    Attributes:
        name: Of the test.
        graph: What runs.
        feeds: Its inputs.
        tolerance: Relative to the largest output; 0 where the bits must be the same.
        kernels: Which kernels the golden outputs come from: of LCE, `reference` or `optimized`; `litert`, the reference
            kernels of LiteRT; or none, empty.
        reason: Why not from reference kernels.
    """

    name: str
    graph: Graph
    feeds: list[np.ndarray]
    tolerance: float = 0
    kernels: str = "reference"
    reason: str = ""


class Source:
    """Numbers from a name: raw 64-bit draws, whose stream NumPy guarantees."""

    def __init__(self, name: str):
        self._bits = np.random.PCG64(zlib.crc32(name.encode()))

    def integers(self, low: int, high: int, shape: tuple[int, ...]) -> np.ndarray:
        """int64 from `low` to below `high`."""
        draws = np.asarray(self._bits.random_raw(math.prod(shape)), np.uint64) >> np.uint64(11)
        return low + (draws % np.uint64(high - low)).astype(np.int64).reshape(shape)

    def bits(self, *shape: int) -> np.ndarray:
        return self.integers(0, 2, shape).astype(bool)

    def floats(self, *shape: int, low: float = -1, high: float = 1) -> np.ndarray:
        """float32 with all 24 bits in use."""
        return (low + (high - low) * self.integers(0, 1 << 24, shape) / (1 << 24)).astype(np.float32)

    def choice(self, values):
        return values[int(self.integers(0, len(values), (1,))[0])]


def pairs(options: dict) -> set[tuple]:
    """What a case covers: every two of its options."""
    return set(itertools.combinations(options.items(), 2))


def cover(axes: dict[str, list], is_possible: Callable[[dict], bool], source: Source, tries: int) -> list[dict]:
    """Options in which every possible pair occurs: the best of some random tries, again and again."""
    tried: list[tuple[dict, int]] = []
    numbers: dict[tuple, int] = {}
    while len(tried) < tries:
        options = {name: source.choice(values) for name, values in axes.items()}
        if is_possible(options):
            met = [numbers.setdefault(pair, len(numbers)) for pair in pairs(options)]
            tried.append((options, sum(1 << pair for pair in met)))
    missing = (1 << len(numbers)) - 1
    chosen = []
    while missing:
        options, covered = max(tried, key=lambda each: bin(each[1] & missing).count("1"))
        chosen.append(options)
        missing &= ~covered
    return chosen


class Chain:
    """A graph whose constants come from one source."""

    def __init__(self, name: str):
        self.name, self.source, self.graph, self.feeds = name, Source(name), Graph(), []

    def input(self, *shape: int, integers: bool = False) -> int:
        values = self.source.integers(-9, 10, shape).astype(np.float32) if integers else self.source.floats(*shape)
        self.feeds.append(values)
        return self.graph.input(shape)

    def bconv(self, x: int, filters: int, size: int = 3, *, bits: bool = False, whole: bool = False, **options) -> int:
        """LceQuantize where `x` is no bit-packed tensor, then LceBconv2d; `whole`: integers come out."""
        channels = options.pop("channels", None) or self.graph.tensors[x].shape[-1]
        if self.graph.tensors[x].type != "int32":
            x = self.graph.quantize(x)
        products, draw = size * size * channels, self.source
        if bits:
            spread = 2 * math.isqrt(products)
            constants = {"thresholds": (products // 2 + draw.integers(-spread, spread, (filters,))).astype(np.int32)}
        elif whole:
            constants = {"multiplier": np.ones(filters, np.float32), "bias": np.zeros(filters, np.float32)}
        else:
            reach = 2 / math.sqrt(products)
            constants = {"multiplier": draw.floats(filters, low=-reach, high=reach), "bias": draw.floats(filters)}
        return self.graph.bconv(x, draw.bits(filters, size, size, channels), channels, **constants, **options)

    def constant(self, *shape: int) -> int:
        return self.graph.constant(self.source.floats(*shape))

    def per_channel(self, channels: int, low: float = -1, high: float = 1) -> int:
        return self.graph.constant(self.source.floats(channels, low=low, high=high))

    def case(self, *outputs: int, tolerance: float = 0) -> Case:
        return Case(self.name, self.graph.output(*outputs), self.feeds, tolerance)
