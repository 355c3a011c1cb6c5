"""Small graphs in C against the runtime's oracle, bit for bit: all cases that the native runtime is tested with.

A program runs them all, each network in memory blocks of exactly its sizes, without and with sanitizers.
"""

from __future__ import annotations

import copy
import dataclasses
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import runtime_tests

from bopkit.export.c import memory, writing
from bopkit.export.c.errors import NotCoveredError
from bopkit.export.c.graph import read_graph
from bopkit.export.c.lowering import lower
from bopkit.export.c.steps import FLOAT, Program
from bopkit.host_compiler import WARNINGS, host_compiler

models, oracle, sweep, sweep_int8 = runtime_tests.load("models", "oracle", "sweep", "sweep_int8")

KERNELS = Path(__file__).parents[3] / "export" / "c" / "kernels"
CASES_A_FILE = 60
SANITIZERS = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
MODES = {"O0": ("-O0",), "O3": ("-O3",), "sanitized": ("-O1", *SANITIZERS)}

pytestmark = pytest.mark.skipif(not host_compiler(), reason="there is no C compiler")


@dataclasses.dataclass
class Network:
    """A graph of one input and one output, in C, with what is given and what is wanted."""

    title: str
    name: str
    program: Program
    given: np.ndarray
    wanted: np.ndarray


def networks_of(case: Any) -> list[tuple[str, Any, np.ndarray]]:
    """Graphs of one input, one picture and one output that is no bits, of a case of the runtime: with its input."""
    if len(case.feeds) != 1 or case.graph.tensors[case.graph.inputs[0]].type == "bool":
        return []
    graph, (feed,) = copy.deepcopy(case.graph), case.feeds
    if len(feed) > 1:
        if any(each.type == "RESHAPE" for each in graph.operators):
            return []
        batch = len(feed)
        graph.tensors = [
            dataclasses.replace(each, shape=(1, *each.shape[1:]))
            if each.data is None and each.shape[0] == batch
            else each
            for each in graph.tensors
        ]
        feed = feed[:1]
    if graph.tensors[graph.inputs[0]].type == "int32":
        feed = take_numbers(graph, feed)
    found = []
    for number, output in enumerate(graph.outputs):
        if graph.tensors[output].type == "bool":
            continue
        alone = copy.deepcopy(graph)
        if alone.tensors[output].type == "int32":
            output = alone.dequantize(output, channels_of(alone, output), "int8", scale=1.0)
        alone.outputs = [output]
        found.append((f"{case.name}_{number}", alone, feed))
    return found


def take_numbers(graph: Any, words: np.ndarray) -> np.ndarray:
    """Let a graph that takes bits take int8 numbers, whose signs they are; the numbers for some bits."""
    (bits,) = graph.inputs
    channels = channels_read(graph, bits) or 32 * words.shape[-1]
    graph.inputs = []
    numbers = graph.input((*words.shape[:-1], channels), "int8", scale=1.0)
    signs = graph.quantize(numbers)
    operator = graph.operators.pop()
    graph.operators.insert(0, dataclasses.replace(operator, output=bits))
    assert graph.tensors[signs].shape == graph.tensors[bits].shape
    return np.where(models.unpack(words, channels), -1, 1).astype(np.int8)


def channels_read(graph: Any, bits: int) -> int:
    """How many channels the operators that read bits take; 0 where none of them tells."""
    for operator in graph.operators:
        if bits in operator.inputs:
            if operator.type == "LceBconv2d":
                return operator.options["channels_in"]
            if operator.type == "LceDequantize":
                return graph.tensors[operator.output].shape[-1]
            found = channels_read(graph, operator.output)
            if found:
                return found
    return 0


def channels_of(graph: Any, bits: int) -> int:
    """How many channels a tensor of bits has."""
    operator = next(each for each in graph.operators if each.output == bits)
    if operator.type == "LceBconv2d":
        return graph.tensors[operator.inputs[1]].shape[0]
    if operator.type == "LceQuantize":
        return graph.tensors[operator.inputs[0]].shape[-1]
    before = operator.inputs[0]
    is_computed = any(each.output == before for each in graph.operators)
    if is_computed and graph.tensors[before].shape[-1] == graph.tensors[bits].shape[-1]:
        return channels_of(graph, before)
    return 32 * graph.tensors[bits].shape[-1]


def lowered(cases: list[Any]) -> tuple[list[Network], dict[str, str]]:
    """The cases in C, and why the others are refused, by name."""
    networks: list[Network] = []
    refused: dict[str, str] = {}
    for case in cases:
        for name, graph, feed in networks_of(case):
            try:
                program = lower(read_graph(graph.flatbuffer(), Path(name)), {})
            except NotCoveredError as error:
                refused[name] = error.message
                continue
            wanted = oracle.evaluate(graph, [feed])[0]
            networks.append(Network(name, f"net_{len(networks)}", program, stored(program, feed), wanted))
    return networks, refused


def stored(program: Program, feed: np.ndarray) -> np.ndarray:
    """What the C network takes: the first QUANTIZE of a float input is the caller's."""
    if feed.dtype != np.float32 or program.values[program.input].kind == FLOAT:
        return feed
    scaled = (feed / np.float32(program.input_scale)).astype(np.float64)
    rounded = np.copysign(np.floor(np.abs(scaled) + 0.5), scaled) + program.input_zero_point
    return np.clip(np.nan_to_num(rounded), -128, 127).astype(np.int8)


def build(networks: list[Network], folder: Path, options: tuple[str, ...]) -> Path:
    """A program that runs all networks."""
    files, table = [], []
    for begin in range(0, len(networks), CASES_A_FILE):
        parts = ['#include <stddef.h>\n#include "bopkit_kernels.h"\n']
        for network in networks[begin : begin + CASES_A_FILE]:
            about = writing.About(network.name, network.name, "", "", (), "")
            arena = memory.plan(network.program)
            header = writing.header(network.program, arena, about)
            source = writing.source(network.program, arena, about).replace("checksum_of", f"{network.name}_crc")
            source = with_own_names(source, network)
            parts += [header, source.replace(f'#include "{network.name}.h"\n', "")]
            sizes = max(arena.size_bytes, 4), network.given.nbytes, wanted_stored(network).nbytes
            table.append((network.name, *sizes))
        files.append(folder / f"networks_{begin}.c")
        files[-1].write_text("\n".join(parts))
    files.append(folder / "main.c")
    files[-1].write_text(main_source(table))
    program = folder / "sweep"
    command = [*host_compiler(), *WARNINGS, "-Werror", *options, f"-I{KERNELS}"]
    subprocess.run([*command, *map(str, files), *map(str, KERNELS.glob("*.c")), "-o", str(program)], check=True)
    return program


def with_own_names(source: str, network: Network) -> str:
    """Source whose static constants bear the network's name, so that several networks fit into one file."""
    known = set()
    for step in network.program.steps:
        known |= {f"{step.identifier}_{array.name}" for array in step.arrays}
        known |= {f"{step.identifier}_{struct.name}" if struct.name else step.identifier for struct in step.structs}
    return re.sub(r"\w+", lambda word: f"{network.name}_{word[0]}" if word[0] in known else word[0], source)


def main_source(table: list[tuple[str, int, int, int]]) -> str:
    declared = "\n".join(f"void {name}_run_in(void *, const void *, void *);" for name, *_ in table)
    rows = "\n".join(f"    {{(run *){name}_run_in, {a}, {i}, {o}}}," for name, a, i, o in table)
    return f"""#include <stdio.h>
#include <stdlib.h>
typedef void run(void *, const void *, void *);
{declared}
static const struct {{ run *function; size_t arena, input, output; }} networks[] = {{
{rows}
}};
int main(void) {{
    for (size_t i = 0; i < sizeof networks / sizeof networks[0]; i++) {{
        void *arena = malloc(networks[i].arena), *input = malloc(networks[i].input);
        void *output = malloc(networks[i].output);
        if (fread(input, 1, networks[i].input, stdin) != networks[i].input) return 3;
        networks[i].function(arena, input, output);
        if (fwrite(output, 1, networks[i].output, stdout) != networks[i].output) return 4;
        free(arena), free(input), free(output);
    }}
    return 0;
}}
"""


def wanted_stored(network: Network) -> np.ndarray:
    """What the C network answers where it answers what is wanted: the last DEQUANTIZE is the caller's."""
    program, wanted = network.program, network.wanted
    if program.values[program.output].kind == FLOAT or wanted.dtype != np.float32:
        return wanted
    return np.rint(wanted / np.float32(program.output_scale) + program.output_zero_point).astype(np.int8)


def differences(networks: list[Network], program: Path) -> list[str]:
    """The titles of networks that answer otherwise."""
    inputs = b"".join(np.ascontiguousarray(each.given).tobytes() for each in networks)
    run = subprocess.run([program], input=inputs, capture_output=True, check=False)
    assert run.returncode == 0, run.stderr.decode()[-2000:]
    wrong, at = [], 0
    for network in networks:
        wanted = wanted_stored(network)
        found = np.frombuffer(run.stdout, wanted.dtype, wanted.size, at).reshape(wanted.shape)
        at += wanted.nbytes
        if wanted.dtype == np.float32:
            size = np.abs(wanted[np.isfinite(wanted)]).max(initial=1)
            same = np.allclose(found, wanted, rtol=0, atol=1e-5 * size, equal_nan=True)
        else:
            same = np.array_equal(found, wanted)
        if not same:
            wrong.append(network.title)
    return wrong


def check(cases: list[Any], mode: str, folder: Path, most_refused: float) -> None:
    if mode == "sanitized" and host_compiler()[0] == sys.executable:
        pytest.skip("ziglang has no sanitizers")
    networks, refused = lowered(cases)
    assert len(refused) <= most_refused * len(networks)
    assert not differences(networks, build(networks, folder, MODES[mode]))


def test_a_few_cases(tmp_path: Path) -> None:
    check(sweep.CASES[5::24], "O0", tmp_path, 0.15)


@pytest.mark.integration
def test_some_cases_under_sanitizers(tmp_path: Path) -> None:
    check(sweep.CASES[11::16], "sanitized", tmp_path, 0.15)


@pytest.mark.release
@pytest.mark.parametrize("mode", ["O3", "sanitized"])
@pytest.mark.parametrize("begin", range(4))
def test_all_cases(mode: str, begin: int, tmp_path: Path) -> None:
    check(sweep.CASES[begin::4], mode, tmp_path, 0.15)


@pytest.mark.integration
@pytest.mark.skipif(importlib.util.find_spec("ziglang") is None, reason="ziglang is not installed")
@pytest.mark.parametrize(
    ("target", "is_taken"),
    [
        ("x86_64-linux-musl", True),
        ("thumb-freestanding-eabi", True),
        ("riscv32-freestanding", True),
        ("powerpc-linux-musl", False),
    ],
)
def test_kernels_compile_for_little_endian_processors(target: str, is_taken: bool, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ziglang", "cc", "-target", target, *WARNINGS, "-Werror", f"-I{KERNELS}"]
    for kernel in sorted(KERNELS.glob("*.c")):
        words = [*command, "-O2", "-c", str(kernel), "-o", str(tmp_path / "kernel.o")]
        run = subprocess.run(words, capture_output=True, text=True, check=False)
        assert (run.returncode == 0) is is_taken, run.stderr
        assert is_taken or "little-endian" in run.stderr
