"""Instructions of exported C on an emulated Cortex-M, layer by layer, and those of CMSIS-NN's int8 twin.

    python tests/benchmarks/microcontroller.py [NETWORK ...] [--board cortex-m4] [--cmsis-nn CHECKOUT] [--steps]

A network is a name of the catalogue, untrained, or a .h5 file whose card names its dataset. The twin has an int8 layer
of the same shape in the place of every layer; what it fuses (batch norm, sign, ReLU) costs it nothing. Both are built
by each compiler that is installed, and for each layer the one with fewer instructions counts. Instructions are not
milliseconds. A checkout is what `git clone https://github.com/ARM-software/CMSIS-NN` makes.
"""

import argparse
import dataclasses
import math
import tempfile
from pathlib import Path

import numpy as np
from cmsis_nn_peer import Layer, best_counts
from zoo_runtime import scatter

from bopkit import ExportOptions, export_model, init_model
from bopkit.artifacts.c_sources import read_c_sources
from bopkit.benchmark.devices.qemu import board_named, find_compilers, measure_network
from bopkit.export.c import memory, writing
from bopkit.export.c.graph import read_graph
from bopkit.export.c.lowering import lower

BINARY = ("bopkit_bconv", "bopkit_max_pool_bits", "bopkit_signs")
POOLS = {"bopkit_max_pool_bits": "maxpool", "bopkit_max_pool_int8": "maxpool", "bopkit_average_pool_int8": "avgpool"}


@dataclasses.dataclass(frozen=True)
class Exported:
    """A network in C, and the steps that it was written from."""

    name: str
    folder: Path
    program: object
    arena: object


def export(name, folder):
    """Export a network of the catalogue, untrained, or a file of the user's."""
    options = {}
    model_file = Path(name)
    if not model_file.is_file():
        model_file = init_model(name, folder / f"{name}.h5")
        scatter(model_file)
        options = {"calibrate": "digits", "preprocess_fn": "resize:-1..1"}
    options = ExportOptions(savedmodel=False, c=True, c_name="network", pictures=8, max_drop=100, **options)
    report = export_model(model_file, folder / "out", options)
    flatbuffer = Path(report.artifacts[0].path)
    program = lower(read_graph(flatbuffer.read_bytes(), flatbuffer), {})
    return Exported(name, Path(report.c.path), program, memory.plan(program))


def step_counts(exported, board, compiler):
    """Instructions of each step: of programs that end after it, less those that end before it."""
    sources = read_c_sources(exported.folder)
    about = writing.About("network", "", "", "", (), "")
    stored = np.random.default_rng(0).integers(-128, 128, sources.input.size_bytes).astype(np.int8)
    totals = [0]
    for count in range(1, len(exported.program.steps) + 1):
        program = dataclasses.replace(exported.program, steps=exported.program.steps[:count])
        source = exported.folder / "network.c"
        source.write_text(writing.source(program, exported.arena, about))
        sizes = sources.input.size_bytes, sources.output.size_bytes
        found = measure_network(
            board, sources.paths, sources.header, "network_run", stored.tobytes(), *sizes, compiler=compiler
        )
        totals.append(found.instructions)
    return np.diff(totals).tolist(), found


def twin_of(step):
    """The peer's layer of a step; None where it has none."""
    fields = {}
    for struct in step.structs:
        fields |= struct.fields if struct.name in ("", "window") else {}
    window = fields.get("window", fields)
    if step.kernel in POOLS:
        channels = int(step.arguments[1]) * (8 if "bits" in step.kernel else 1)
        return _windowed(POOLS[step.kernel], window, channels, 0)
    if step.kernel.startswith(("bopkit_bconv", "bopkit_conv", "bopkit_depthwise")):
        channels = fields.get("channels") or fields["group_channels"] * fields["groups"]
        filters = fields.get("filters", channels)
        if window["input_height"] == window["input_width"] == window["kernel_height"] == 1:
            return Layer("dense", 1, 1, channels, filters)
        return _windowed("depthwise" if "depthwise" in step.kernel else "conv", window, channels, filters)
    if step.kernel == "bopkit_mean_int8":
        size = math.isqrt(fields["pixels"])
        return Layer("avgpool", size, size, fields["channels"], 0, size, size)
    if step.kernel in ("bopkit_weighted_sum_int8", "bopkit_add_int8"):
        return Layer("add", 1, fields["elements"], 1)
    return Layer("softmax", 1, 1, int(step.arguments[1])) if step.kernel == "bopkit_softmax_int8" else None


def _windowed(kind, window, channels, filters):
    kernel = window["kernel_height"], window["kernel_width"]
    stride = window["stride_height"]
    height, width = window["input_height"], window["input_width"]
    padding = "same" if window["output_height"] == -(-height // stride) else "valid"
    return Layer(kind, height, width, channels, filters, kernel, stride, padding)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=["bopnet_64k", "resnet20"])
    parser.add_argument("--board", default="cortex-m4", help="cortex-m3, cortex-m4, cortex-m7, cortex-m33, cortex-m55")
    parser.add_argument("--cmsis-nn", type=Path, metavar="CHECKOUT", help="of ARM-software/CMSIS-NN")
    parser.add_argument("--steps", action="store_true", help="print a row a layer")
    arguments = parser.parse_args()
    board = board_named(arguments.board)
    for name in arguments.networks:
        with tempfile.TemporaryDirectory() as folder:
            exported = export(name, Path(folder))
            counted = [step_counts(exported, board, compiler) for compiler in find_compilers()]
        steps = exported.program.steps
        ours = [min(counts) for counts in zip(*(counts for counts, _ in counted), strict=True)]
        twins = [twin_of(step) for step in steps]
        theirs = [0] * len(steps)
        if arguments.cmsis_nn:
            known = [twin for twin in twins if twin is not None]
            found = iter(best_counts(known, arguments.cmsis_nn, board))
            theirs = [next(found).instructions if twin is not None else 0 for twin in twins]
        print(f"{name} on an emulated {board.core}")
        print(f"{'part':34}{'MACs':>12}{'ours':>13}{'CMSIS-NN':>13}{'times':>7}")
        if arguments.steps:
            for step, own, other in zip(steps, ours, theirs, strict=True):
                print_row(f"{step.name[:14]} {step.kernel.removeprefix('bopkit_')}", macs_of(step), own, other)
        is_binary = [step.kernel.startswith(BINARY) for step in steps]
        for part, chosen in (
            ("binary", is_binary),
            ("int8", [not each for each in is_binary]),
            ("whole", [True] * len(steps)),
        ):
            picked = [index for index, each in enumerate(chosen) if each]
            macs = sum(macs_of(steps[index]) for index in picked)
            print_row(part, macs, sum(ours[index] for index in picked), sum(theirs[index] for index in picked))
        _, last = min(counted, key=lambda each: sum(each[0]))
        print(f"flash {last.code_bytes:,} bytes of code, {last.constant_bytes:,} of constants;", end=" ")
        print(f"RAM {exported.arena.size_bytes:,} of arena, {last.stack_bytes:,} of stack\n", flush=True)


def macs_of(step):
    return step.macs.binary + step.macs.int8 + step.macs.float


def print_row(part, macs, own, other):
    times = f"{other / own:.2f}" if own and other else "-"
    print(f"{part[:33]:34}{macs:>12,}{own:>13,}{f'{other:,}' if other else '-':>13}{times:>7}")


if __name__ == "__main__":
    main()
