"""The folder around the C files: kernels, self-test, build files and a README with the numbers of the network."""

from __future__ import annotations

import dataclasses
import re
import shutil
from pathlib import Path

import numpy as np

from bopkit import files
from bopkit.artifacts.c_sources import MANIFEST, CSources, Port
from bopkit.artifacts.card import ModelCard
from bopkit.export.c import writing
from bopkit.export.c.memory import Arena
from bopkit.export.c.steps import FLOAT, Program

_KERNELS = Path(__file__).parent / "kernels"
_GOLDEN_BYTES = 8192
_MOST_GOLDEN = 4


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a board was found to need.

    Attributes:
        core: Of the board.
        compiler: As it names itself.
        code_bytes: Machine code of the network and its kernels.
        stack_bytes: Stack of a run.
        instructions: Of a run.
    """

    core: str
    compiler: str
    code_bytes: int
    stack_bytes: int
    instructions: int


def golden_count(port: Port) -> int:
    """How many pictures the self-test holds: as many as are small enough, one at least."""
    return max(1, min(_MOST_GOLDEN, _GOLDEN_BYTES // port.size_bytes))


def describe(
    folder: Path, program: Program, arena: Arena, name: str, floor_bytes: int | None, card: ModelCard | None
) -> CSources:
    """What the manifest of a folder tells."""
    given, wanted = program.values[program.input], program.values[program.output]
    return CSources(
        folder=folder,
        name=name,
        input=Port(given.kind, given.shape[1:], program.input_scale, program.input_zero_point),
        output=Port(wanted.kind, wanted.shape[1:], program.output_scale, program.output_zero_point),
        sources=(f"{name}.c", *_used_kernels(program)),
        arena_bytes=arena.size_bytes,
        arena_lower_bound_bytes=arena.lower_bound_bytes,
        weight_bytes=program.weight_bytes,
        constant_bytes=program.constant_bytes,
        binary_macs=program.macs.binary,
        int8_macs=program.macs.int8,
        float_macs=program.macs.float,
        floor_bytes=floor_bytes,
        card=card,
    )


def write_sources(sources: CSources, program: Program, arena: Arena, about: writing.About) -> None:
    """Write the C files, kernels and manifest into the new folder `sources.folder`."""
    folder = sources.folder
    folder.mkdir()
    (folder / f"{about.name}.h").write_text(writing.header(program, arena, about))
    (folder / f"{about.name}.c").write_text(writing.source(program, arena, about))
    for kernel in (*sources.sources[1:], *_headers()):
        shutil.copyfile(_KERNELS / kernel, folder / kernel)
    (folder / MANIFEST).write_text(files.json_text(sources.manifest()) + "\n")


def write_surroundings(
    sources: CSources,
    program: Program,
    about: writing.About,
    inputs: np.ndarray,
    outputs: np.ndarray,
    measured: Measured | str,
) -> None:
    """Write self-test, build files and README.

    Args:
        sources: Whose folder it is.
        program: The network.
        about: What the files say of it.
        inputs: Stored inputs of the self-test.
        outputs: Stored outputs that belong to them.
        measured: What a board was found to need, or why that is not known.
    """
    folder, name = sources.folder, sources.name
    (folder / f"{name}_test.c").write_text(writing.test_source(program, about, inputs, outputs))
    (folder / "CMakeLists.txt").write_text(_cmake(sources))
    (folder / "library.properties").write_text(_arduino(sources, about))
    (folder / "zephyr").mkdir()
    (folder / "zephyr" / "module.yml").write_text(_zephyr_module(name))
    (folder / "zephyr" / "CMakeLists.txt").write_text(_zephyr_cmake(sources))
    (folder / "zephyr" / "Kconfig").write_text(_zephyr_kconfig(about))
    (folder / "README.md").write_text(_readme(sources, program, about, measured))


def _headers() -> list[str]:
    return sorted(path.name for path in _KERNELS.glob("*.h"))


def _used_kernels(program: Program) -> list[str]:
    """The files of the kernels that the program calls."""
    called = {step.kernel for step in program.steps}
    used = []
    for path in sorted(_KERNELS.glob("*.c")):
        defined = re.findall(r"^\w+ (bopkit_\w+)\(", path.read_text(), re.MULTILINE)
        if called & set(defined):
            used.append(path.name)
    return used


def _cmake(sources: CSources) -> str:
    listed = "\n  ".join(sources.sources)
    name = sources.name
    return f"""# A static library of the network; at the top level also its self-test, which needs printf.
#   cmake -B build && cmake --build build && ctest --test-dir build
cmake_minimum_required(VERSION 3.13)
project({name} C)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()

add_library({name} STATIC
  {listed})
target_include_directories({name} PUBLIC ${{CMAKE_CURRENT_SOURCE_DIR}})
target_compile_options({name} PRIVATE -std=c99 -ffp-contract=off -ffunction-sections -fdata-sections)

if(CMAKE_CURRENT_SOURCE_DIR STREQUAL CMAKE_SOURCE_DIR)
  enable_testing()
  add_executable({name}_test {name}_test.c)
  target_link_libraries({name}_test {name})
  add_test(NAME {name} COMMAND {name}_test)
endif()
"""


def _arduino(sources: CSources, about: writing.About) -> str:
    return f"""name={sources.name}
version=1.0.0
author=bopkit
maintainer=bopkit
sentence={_one_line(about.title)}.
paragraph=A binarized neural network in C, made by bopkit {about.version}.
category=Data Processing
url=https://arxiv.org/abs/1906.02107
architectures=*
includes={sources.name}.h
"""


def _zephyr_module(name: str) -> str:
    return f"name: {name}\nbuild:\n  cmake: zephyr\n  kconfig: zephyr/Kconfig\n"


def _zephyr_cmake(sources: CSources) -> str:
    listed = "\n    ".join(f"../{each}" for each in sources.sources)
    return f"""if(CONFIG_{sources.name.upper()})
  zephyr_include_directories(..)
  zephyr_library()
  zephyr_library_sources(
    {listed})
endif()
""".replace("  ../", "  ${CMAKE_CURRENT_SOURCE_DIR}/../")


def _zephyr_kconfig(about: writing.About) -> str:
    return f"""config {about.name.upper()}
\tbool "{_one_line(about.title).replace('"', "'")}"
\tdefault y
"""


def _readme(sources: CSources, program: Program, about: writing.About, measured: Measured | str) -> str:
    name, macro = sources.name, sources.name.upper()
    over = sources.arena_bytes / sources.arena_lower_bound_bytes if sources.arena_lower_bound_bytes else 1.0
    rows = [
        ("weights", f"{sources.weight_bytes:,} bytes"),
        ("thresholds and tables", f"{sources.constant_bytes:,} bytes"),
        ("arena", f"{sources.arena_bytes:,} bytes, {over:.2f} times the least that is possible"),
        ("input and output", f"{sources.input.size_bytes:,} and {sources.output.size_bytes:,} bytes, yours"),
        ("1-bit MACs", f"{sources.binary_macs:,}"),
        ("int8 MACs", f"{sources.int8_macs:,}"),
        ("float MACs", f"{sources.float_macs:,}"),
    ]
    note = ""
    if isinstance(measured, Measured):
        rows += [
            ("code", f"{measured.code_bytes:,} bytes on {measured.core}"),
            ("stack", f"{measured.stack_bytes:,} bytes on {measured.core}"),
            ("instructions of a run", f"{measured.instructions:,} on {measured.core}"),
        ]
        note = (
            f"Code, stack and instructions were counted on an emulated {measured.core}, compiled with -O3 by "
            f"{measured.compiler}. Instructions are not milliseconds."
        )
    else:
        note = f"Code, stack and instructions were not counted: {measured}"
    rounding = ""
    if any(value.kind == FLOAT for value in program.values):
        rounding = (
            "\nIt computes in float32: compile with `-ffp-contract=off`, as CMakeLists.txt does. Where products and\n"
            "sums are fused, other roundings can change a sign, and with it an answer.\n"
        )
    width = max(len(row[0]) for row in rows)
    table = "\n".join(f"| {row[0]:<{width}} | {row[1]} |" for row in rows)
    layers = "\n".join(f"- `{step.name}`: {step.description}" for step in program.steps)
    return f"""# {about.title}

Made by bopkit {about.version}. C99, no heap, no library but memcpy and memset.

    #include "{name}.h"

    static {name}_input_t input[{macro}_INPUT_ELEMENTS];
    static {name}_output_t output[{macro}_OUTPUT_ELEMENTS];
    {name}_run(input, output);

Input: {about.input_note}

Output: {about.output_note}

| what | how much |
|{"-" * (width + 2)}|---|
{table}

{note}

`{name}_run_in` takes an arena of yours, so that other code can use that memory between two runs.

Check it on your machine, or as a program of your board (`{name}_test()` returns 0):

    cc -std=c99 -O2 *.c -o {name}_test && ./{name}_test

The folder is an Arduino library, a Zephyr module and a CMake project. Compile with `-O3 -ffunction-sections` and link
with `-Wl,--gc-sections`: then only what is called takes flash.
{rounding}
Layers, as Keras names them:

{layers}
"""


def _one_line(text: str) -> str:
    return " ".join(text.split())
