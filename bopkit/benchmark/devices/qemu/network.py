"""A network in C on an emulated board: its outputs, instructions, stack, flash and RAM."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bopkit.benchmark.devices.qemu.boards import Board
from bopkit.benchmark.devices.qemu.run import numbers, run_program
from bopkit.benchmark.devices.qemu.toolchain import FOLDER, Compiler, build
from bopkit.errors import BopkitError

_INPUTS, _OUTPUTS = "inputs.bin", "outputs.bin"  # as harness.c names them


@dataclass(frozen=True)
class NetworkMeasurement:
    """What a network takes on a board.

    Attributes:
        outputs: Of all pictures, one after the other.
        instructions: Of the first picture.
        instructions_min: Of the picture with the fewest.
        instructions_max: Of the picture with the most.
        stack_bytes: Of the first picture.
        code_bytes: Machine code of the network's own sources, without library functions that they call.
        constant_bytes: Weights and tables of the network's own sources.
        ram_bytes: Variables of the network's own sources and its arena, without stack, input and output.
        flash_bytes: Of the whole program: with start-up code, harness and libraries.
        compiler: As the compiler names itself.
    """

    outputs: bytes
    instructions: int
    instructions_min: int
    instructions_max: int
    stack_bytes: int
    code_bytes: int
    constant_bytes: int
    ram_bytes: int
    flash_bytes: int
    compiler: str


def measure_network(
    board: Board,
    sources: Sequence[Path],
    header: Path,
    function: str,
    inputs: bytes,
    input_bytes: int,
    output_bytes: int,
    arena_bytes: int | None = None,
    defines: dict[str, object] | None = None,
    optimize: str = "-O3",
    compiler: Compiler | None = None,
    timeout_s: float = 600.0,
) -> NetworkMeasurement:
    """Build a network for a board, and run it on pictures.

    Args:
        board: The board.
        sources: C files of the network, without a `main`.
        header: Declares the function.
        function: Takes input and output; with `arena_bytes` arena, input and output.
        inputs: Pictures, one after the other.
        input_bytes: Of one picture.
        output_bytes: Of one picture.
        arena_bytes: Size of the arena; None for a function without.
        defines: More macros.
        optimize: Of the compiler.
        compiler: None for the preferred one.
        timeout_s: Seconds after which the run is given up.

    Raises:
        BopkitError: A tool is missing, the network does not compile or does not run.
    """
    macros = {
        **(defines or {}),
        "NETWORK_HEADER": f'"{header.name}"',
        "NETWORK_RUN": function,
        "NETWORK_INPUT_BYTES": input_bytes,
        "NETWORK_OUTPUT_BYTES": output_bytes,
        **({} if arena_bytes is None else {"NETWORK_ARENA_BYTES": arena_bytes}),
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / _INPUTS).write_bytes(inputs)
        elf = folder / f"{header.stem}.elf"
        program = build(board, [*sources, FOLDER / "harness.c"], [header.parent], macros, elf, optimize, compiler)
        found = numbers(run_program(board, elf, folder, timeout_s))
        outputs = (folder / _OUTPUTS).read_bytes()
    if len(outputs) != len(inputs) // input_bytes * output_bytes:
        raise BopkitError(f"{elf.name} wrote {len(outputs)} bytes on {board.core}.", "Is the disk full?")
    names = [source.name for source in sources]
    code_bytes, constant_bytes = program.flash_bytes_of(names)
    return NetworkMeasurement(
        outputs,
        found["instructions"],
        found["instructions_min"],
        found["instructions_max"],
        found["stack_bytes"],
        code_bytes,
        constant_bytes,
        program.ram_bytes_of(names) + (arena_bytes or 0),
        program.flash_bytes,
        program.compiler.version,
    )
