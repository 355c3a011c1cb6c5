"""Instructions that ARM's CMSIS-NN takes for the int8 twin of a network's layers, on an emulated Cortex-M.

    python tests/benchmarks/cmsis_nn_peer.py --cmsis-nn CHECKOUT [--board cortex-m4] [--layers LAYERS.json]

LAYERS.json is a list of objects with the fields of `Layer`. Weights are random. Each compiler that is installed builds
CMSIS-NN with -O3, and the one that takes fewer instructions counts, layer by layer, so that the peer is at its best. A
checkout is what `git clone https://github.com/ARM-software/CMSIS-NN` makes; nothing of it is part of bopkit.
"""

import argparse
import dataclasses
import json
import struct
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bopkit.benchmark.devices.qemu import Board, Compiler, board_named, build, find_compilers, run_program

KINDS = ("conv", "depthwise", "dense", "maxpool", "avgpool", "add", "softmax")
"""As cmsis_nn_peer.c numbers them."""

_FOLDERS = ("BasicMath", "Convolution", "FullyConnected", "NNSupport", "Pooling", "Softmax", "Transpose")
_OTHER_TYPES = ("_f16", "_f32", "_flt", "_s4", "_u8", "_lstm", "_svdf", "_batch_matmul", "_transpose_conv")
_CHANNELS_STAY = ("maxpool", "avgpool", "add", "softmax")


@dataclass(frozen=True)
class Layer:
    """A layer.

    Attributes:
        kind: One of `KINDS`.
        height: Of the input.
        width: Of the input.
        channels: Of the input.
        filters: Channels of the output; 0 for those of the input.
        kernel: Height and width of the window, or one number for both.
        stride: In both directions.
        padding: `same` or `valid`.
    """

    kind: str
    height: int
    width: int
    channels: int
    filters: int = 0
    kernel: int | Sequence[int] = 1
    stride: int = 1
    padding: str = "same"

    @property
    def window(self) -> tuple[int, int]:
        """Height and width of the window."""
        if isinstance(self.kernel, int):
            return self.kernel, self.kernel
        height, width = self.kernel
        return height, width

    @property
    def output(self) -> tuple[int, int, int]:
        """Height, width and channels of the output."""
        channels = self.filters or self.channels
        if self.kind == "dense":
            return 1, 1, channels
        if self.kind in ("add", "softmax"):
            return self.height, self.width, channels
        covered = [0, 0] if self.padding == "same" else [size - 1 for size in self.window]
        height, width = (
            -(-(size - less) // self.stride) for size, less in zip((self.height, self.width), covered, strict=True)
        )
        return height, width, channels

    @property
    def macs(self) -> int:
        """Multiplications of weights and inputs."""
        height, width, channels = self.output
        outputs = height * width * channels
        if self.kind == "dense":
            return outputs * self.height * self.width * self.channels
        if self.kind == "conv":
            return outputs * self.window[0] * self.window[1] * self.channels
        return outputs * self.window[0] * self.window[1] if self.kind == "depthwise" else 0

    def packed(self) -> bytes:
        """As cmsis_nn_peer.c reads it."""
        height, width, channels = self.output
        pads = [0, 0]
        if self.padding == "same":
            sizes = zip((height, width), self.window, (self.height, self.width), strict=True)
            pads = [max((after - 1) * self.stride + kernel - before, 0) // 2 for after, kernel, before in sizes]
        numbers = (self.height, self.width, self.channels, *self.window, self.stride, *pads, height, width, channels)
        return struct.pack("<12i", KINDS.index(self.kind), *numbers)

    def __str__(self) -> str:
        shape = f"{self.height}x{self.width}x{self.channels}"
        window = "x".join(str(size) for size in self.window)
        text = f"{self.kind} {shape}" + (f" -> {self.output[2]}" if self.kind not in _CHANNELS_STAY else "")
        if self.kind in ("add", "softmax", "dense"):
            return text
        return f"{text}, {window} {self.padding}" + (f" / {self.stride}" if self.stride != 1 else "")


LAYERS = (
    Layer("conv", 32, 32, 3, 32, 3),
    Layer("conv", 32, 32, 32, 32, 3),
    Layer("conv", 16, 16, 32, 64, 3),
    Layer("conv", 16, 16, 64, 64, 3),
    Layer("conv", 8, 8, 64, 128, 3),
    Layer("conv", 8, 8, 128, 128, 3),
    Layer("conv", 16, 16, 64, 64, 1),
    Layer("depthwise", 16, 16, 64, 64, 3),
    Layer("maxpool", 32, 32, 32, 0, 2, 1),
    Layer("maxpool", 32, 32, 32, 0, 2, 2),
    Layer("avgpool", 8, 8, 128, 0, 8, 8),
    Layer("add", 16, 16, 64),
    Layer("dense", 1, 1, 128, 10),
    Layer("softmax", 1, 1, 10),
)
"""Those of small networks for CIFAR-10."""


@dataclass(frozen=True)
class Count:
    """What a layer takes.

    Attributes:
        instructions: Of one call.
        buffer_bytes: What the call needs beside input, output and weights.
        checksum: Of the output, which depends on no compiler and no board.
        compiler: What built it.
    """

    instructions: int
    buffer_bytes: int
    checksum: int
    compiler: str


def sources(checkout: Path) -> list[Path]:
    """The int8 functions of CMSIS-NN and what they call.

    Raises:
        SystemExit: It is no checkout.
    """
    found = [
        path
        for folder in _FOLDERS
        for path in sorted((checkout / "Source" / f"{folder}Functions").glob("*.c"))
        if not any(part in path.name for part in _OTHER_TYPES) and ("_s16" not in path.stem or "_s8" in path.stem)
    ]
    if not found:
        raise SystemExit(f"{checkout} is no checkout of CMSIS-NN.")
    return found


def counts_of(layers: Sequence[Layer], checkout: Path, board: Board, compiler: Compiler) -> list[Count]:
    """What the layers take with one compiler."""
    here = Path(__file__).parent
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "layers.bin").write_bytes(b"".join(layer.packed() for layer in layers))
        files = [here / "cmsis_nn_peer.c", *sources(checkout)]
        program = build(board, files, [checkout / "Include"], {}, folder / "peer.elf", compiler=compiler)
        lines = [line.split() for line in run_program(board, program.elf, folder).splitlines()]
    return [Count(*(int(word) for word in words), compiler.name) for label, *words in lines if label == "layer"]


def best_counts(layers: Sequence[Layer], checkout: Path, board: Board) -> list[Count]:
    """What each layer takes with the compiler that is best for it.

    Raises:
        SystemExit: Compilers disagree on the outputs.
    """
    tables = [counts_of(layers, checkout, board, compiler) for compiler in find_compilers()]
    best = []
    for layer, rows in zip(layers, zip(*tables, strict=True), strict=True):
        if len({row.checksum for row in rows}) > 1:
            raise SystemExit(f"{layer}: compilers differ in the outputs.")
        best.append(min(rows, key=lambda row: row.instructions))
    return best


def peer_instructions(layers: Sequence[Layer], checkout: Path, board: Board) -> list[int]:
    """Instructions of each layer, with the compiler that is best for it."""
    return [count.instructions for count in best_counts(layers, checkout, board)]


def main() -> None:
    """Print a row a layer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cmsis-nn", type=Path, required=True, metavar="CHECKOUT", help="of ARM-software/CMSIS-NN")
    parser.add_argument("--board", default="cortex-m4", help="cortex-m3, cortex-m4, cortex-m7, cortex-m33, cortex-m55")
    parser.add_argument("--layers", type=Path, help="JSON file; without it layers of small networks for CIFAR-10")
    parser.add_argument("--json", action="store_true", help="print JSON rather than a table")
    arguments = parser.parse_args()
    layers: Sequence[Layer] = LAYERS
    if arguments.layers:
        layers = [Layer(**fields) for fields in json.loads(arguments.layers.read_text())]
    counts = best_counts(layers, arguments.cmsis_nn, board_named(arguments.board))
    if arguments.json:
        rows = zip(layers, counts, strict=True)
        print(json.dumps([{"layer": str(layer), "macs": layer.macs, **dataclasses.asdict(row)} for layer, row in rows]))
        return
    print(f"{'layer':40}{'MACs':>12}{'instructions':>14}{'a MAC':>8}{'buffer bytes':>14}  compiler")
    for layer, count in zip(layers, counts, strict=True):
        each = f"{count.instructions / layer.macs:.3f}" if layer.macs else "-"
        print(
            f"{layer!s:40}{layer.macs:12,}{count.instructions:14,}{each:>8}{count.buffer_bytes:14,}  {count.compiler}"
        )


if __name__ == "__main__":
    main()
