"""What can be said of speed on ARM without an ARM machine: `python neon.py MODEL.tflite...`.

Counted: instructions that one inference executes, in the aarch64 library under qemu-user, of everything that the
delegate claims. Estimated: cycles of the inner loop for 128 products of signs, by llvm-mca's model of a processor, with
all data in the first-level cache; LLVM 14 describes a Cortex-A72 and a Cortex-A76 with one model, that of a Cortex-A57,
which has two vector pipelines as both have. No ARM time was measured: neither figure is one, and caches, branches,
memory and threads are in neither.

It needs qemu-user, a C compiler (for the plugin that counts) and llvm (for llvm-mca) of Debian, and the packages of the
tests: `apt-get install qemu-user gcc llvm`.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import case_file
import native
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers
from models import Graph, Operator, Tensor

ROOT = native.ROOT
PROCESSORS = {"cortex-a72": "neon", "cortex-a76": "neon_dot", "max": "neon_i8mm"}
"""Emulated processors, and the instruction set that each takes; `max` has all that the emulator knows."""
ESTIMATED = {cpu: isa for cpu, isa in PROCESSORS.items() if cpu != "max"}
"""Processors that llvm-mca has a model of."""

_TYPES = {0: "float32", 1: "float16", 2: "int32", 3: "uint8", 6: "bool", 9: "int8"}
_FIELDS = {
    "strideW": "stride_width",
    "strideH": "stride_height",
    "fusedActivationFunction": "activation",
    "dilationWFactor": "dilation_width",
    "dilationHFactor": "dilation_height",
    "filterWidth": "filter_width",
    "filterHeight": "filter_height",
    "keepDims": "keep_dims",
    "keepNumDims": "keep_num_dims",
    "padding": "padding",
}


def read_graph(path: Path) -> Graph:
    """A `.tflite` file as a graph of the tests."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes()))
    (subgraph,) = model.subgraphs
    graph = Graph()
    for tensor in subgraph.tensors:
        type, data = _TYPES[tensor.type], model.buffers[tensor.buffer].data
        shape = tuple(int(size) for size in (() if tensor.shape is None else tensor.shape))
        values = None if data is None else np.frombuffer(bytes(data), type).reshape(shape)
        quantization = tensor.quantization
        quantized: dict = {}
        if quantization is not None and quantization.scale is not None and len(quantization.scale) > 0:
            scales = tuple(float(each) for each in quantization.scale)
            quantized["scale"] = scales if len(scales) > 1 else scales[0]
            quantized["zero_point"] = int(quantization.zeroPoint[0]) if quantization.zeroPoint is not None else 0
            quantized["quantized_dimension"] = quantization.quantizedDimension
        graph.tensors.append(Tensor(shape, type, values, **quantized))
    names = {number: name for name, (number, _) in case_file._BUILTIN.items()}
    for operator in subgraph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        if code.customCode is not None:
            name = code.customCode.decode()
            packed = b"" if operator.customOptions is None else bytes(operator.customOptions)
            options = dict(flexbuffers.Loads(packed)) if packed else {}
        else:
            name = names[max(code.builtinCode, code.deprecatedBuiltinCode)]
            given = vars(operator.builtinOptions) if operator.builtinOptions is not None else {}
            options = {_FIELDS[field]: int(value) for field, value in given.items() if field in _FIELDS}
        inputs = tuple(int(index) for index in operator.inputs)
        graph.operators.append(Operator(name, inputs, int(operator.outputs[0]), options))
    graph.inputs = [int(index) for index in subgraph.inputs]
    graph.outputs = [int(index) for index in subgraph.outputs]
    return graph


def count_instructions(model: Path, cpu: str, folder: Path) -> int:
    """Instructions of one inference, without loading and preparing: two inferences less one."""
    graph = read_graph(model)
    feeds = np.random.default_rng(0).uniform(-1, 1, graph.tensors[graph.inputs[0]].shape).astype(np.float32)
    body = case_file.body(graph, [{graph.inputs[0]: feeds}])
    cases = folder / "cases"
    cases.write_bytes(case_file._blob(model.stem.encode()) + case_file._blob(body))
    plugin = folder / "insn.so"
    source = Path(__file__).parent / "insn_plugin.c"
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", str(source), "-o", str(plugin)], check=True)
    counts = []
    for repeat in (1, 2):
        command = ["qemu-aarch64", "-cpu", cpu, "-plugin", plugin, native.build("host-aarch64")]
        done = native.run([*command, "--compare", "no", "--repeat", repeat, cases], timeout=3600)
        if f" 1 claimed, 0 wrong, isa {PROCESSORS[cpu]} " not in done.stdout:
            sys.exit(f"Error: {model} did not run: {done.stdout}{done.stderr}")
        counts.append(int(re.findall(r"instructions: (\d+)", done.stderr)[-1]))
    return counts[1] - counts[0]


def inner_loops(folder: Path) -> dict[str, str]:
    """By instruction set, the assembly of the loop over words of the tile of two pixels by 16 channels."""
    assembly = folder / "kernels.s"
    flags = [
        "-std=c++17",
        "-O3",
        "-fno-exceptions",
        "-fno-rtti",
        "-ffp-contract=off",
        "-Iinclude",
        "-S",
        "-g0",
        "-Wno-unused-command-line-argument",
    ]
    command = [*native.zig("aarch64-linux-musl"), *flags, "src/kernels_neon.cc", "-o", str(assembly)]
    subprocess.run(command, cwd=ROOT, check=True)
    loops = {}
    for name, text in re.findall(r"^(_Z\S*binary_gemm\S*):(.*?)^\.Lfunc_end", assembly.read_text(), re.M | re.S):
        isa = "neon_dot" if "3dot" in name else "neon"
        blocks = re.split(r"^(\.LBB\w+):", text, flags=re.M)
        labels = blocks[1::2]
        bodies = [[line for line in block.splitlines() if re.match(r"\t\w", line)] for block in blocks[2::2]]
        for number, body in enumerate(bodies):
            counted = [place for place, line in enumerate(body) if re.match(r"\tcnt\b", line)]
            if len(counted) != 16:
                continue
            end = next(place for place in range(counted[-1], len(body)) if body[place].startswith("\tb."))
            loop = body[: end + 1]
            # It jumps back to its own begin, or to a block in front of it, which counts words.
            if not loop[-1].endswith(labels[number]):
                assert loop[-1].endswith(labels[number - 1])
                loop += bodies[number - 1]
            loops[isa] = "".join(f"{line}\n" for line in loop)
    return loops


def estimate(loop: str, cpu: str) -> float:
    """Cycles of one iteration, by llvm-mca."""
    command = ["llvm-mca", "-mtriple=aarch64", f"-mcpu={cpu}", "-mattr=+dotprod", "-iterations=1000"]
    command += ["--json", "--summary-view"]
    done = subprocess.run(command, input=loop, capture_output=True, text=True, check=True)
    summary = json.loads(done.stdout)["CodeRegions"][0]["SummaryView"]
    return summary["TotalCycles"] / summary["Iterations"]


def main() -> None:
    """Print both figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path)
    arguments = parser.parse_args()
    print("No ARM time was measured.")
    with tempfile.TemporaryDirectory() as folder:
        for model in arguments.models:
            for cpu, isa in PROCESSORS.items():
                count = count_instructions(model, cpu, Path(folder))
                label = f"{model.parent.name}/{model.stem}"
                print(f"{label}: {count / 1e6:.1f} million instructions an inference, {isa}, emulated {cpu}")
        for isa, loop in inner_loops(Path(folder)).items():
            products = 2 * len(re.findall(r"\bcnt\b", loop))  # of 128 signs; one carry of two is counted
            for cpu, least in ESTIMATED.items():
                if isa == "neon_dot" and least != isa:
                    continue
                cycles = estimate(loop, cpu)
                print(
                    f"{isa} on {cpu}, estimated by llvm-mca: {cycles:.2f} cycles an iteration of "
                    f"{len(loop.splitlines())} instructions, {cycles / products:.3f} for 128 products of signs"
                )


if __name__ == "__main__":
    main()
