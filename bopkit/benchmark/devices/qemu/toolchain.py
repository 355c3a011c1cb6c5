"""Compilers of bare-metal programs, and what is in the programs: GCC for ARM, or clang as PyPI's ziglang brings it."""

from __future__ import annotations

import functools
import importlib.util
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bopkit.benchmark.devices.qemu.boards import Board
from bopkit.benchmark.devices.qemu.elf import Symbol, read_elf
from bopkit.errors import BopkitError

FOLDER = Path(__file__).parent
"""Start-up code, measuring and headers of every program."""

STACK_BYTES = 256 << 10
"""Of the program; more ends in a fault."""

_OWN_SOURCES = ("startup.c", "measure.c")
_GCC = "arm-none-eabi-gcc"
_LIMIT_S = 600.0
# Unwind tables are for C++; sections of their own let the linker leave out what is not called.
_FLAGS = (
    "-std=c99",
    "-ffp-contract=off",
    "-ffunction-sections",
    "-fdata-sections",
    "-fno-unwind-tables",
    "-fno-asynchronous-unwind-tables",
)
_FLASH, _RAM = (".vectors", ".text", ".rodata", ".data"), (".data", ".bss")


@dataclass(frozen=True)
class Compiler:
    """A compiler that is installed.

    Attributes:
        name: `gcc` or `clang`.
        command: What starts it.
        flags: That it alone takes.
        libraries: That the linker gets.
    """

    name: str
    command: tuple[str, ...]
    flags: tuple[str, ...]
    libraries: tuple[str, ...]

    def options(self, board: Board, optimize: str) -> tuple[str, ...]:
        """What tells it the core and how to optimize."""
        if self.name == "gcc":
            return *board.gcc, optimize
        return *board.clang, optimize, "-Xclang", optimize  # ziglang makes -O2 of -O3

    @functools.cached_property
    def version(self) -> str:
        """As it names itself, in one line."""
        run = subprocess.run(
            [*self.command, "--version"], capture_output=True, text=True, timeout=_LIMIT_S, check=False
        )
        return (run.stdout.splitlines() or [self.name])[0]


@dataclass(frozen=True)
class Program:
    """A program.

    Attributes:
        elf: The file.
        compiler: What built it.
        flash_bytes: Code, constants and the first values of variables.
        ram_bytes: Variables, without the stack.
        symbols: Functions and variables; `source` is the name of the file they were compiled from, empty for libraries.
    """

    elf: Path
    compiler: Compiler
    flash_bytes: int
    ram_bytes: int
    symbols: tuple[Symbol, ...]

    def flash_bytes_of(self, sources: Sequence[str]) -> tuple[int, int]:
        """Bytes of code, and of constants and first values, that came from files of these names."""
        mine = [symbol for symbol in self.symbols if symbol.source in sources]
        code = sum(symbol.bytes for symbol in mine if symbol.section == ".text")
        return code, sum(symbol.bytes for symbol in mine if symbol.section in (".rodata", ".data"))

    def ram_bytes_of(self, sources: Sequence[str]) -> int:
        """Bytes of variables that came from files of these names."""
        return sum(each.bytes for each in self.symbols if each.source in sources and each.section in _RAM)


def find_compilers() -> list[Compiler]:
    """The compilers that are installed, the preferred one first."""
    # GCC first, as most firmware is built with it: neither takes fewer instructions for every kernel or on every core.
    found = []
    gcc = shutil.which(_GCC)
    if gcc is not None:
        found.append(Compiler("gcc", (gcc,), (), ("-lm",)))
    zig = importlib.util.find_spec("ziglang")
    if zig is not None and zig.origin is not None:
        # It has memcpy, expf and their like for every core, but the headers only for Linux; -fhosted lets it know what
        # memcpy does, so that reading a word through it is one instruction.
        headers = Path(zig.origin).parent / "lib" / "libc" / "include"
        flags = ["-fhosted", "-fomit-frame-pointer", "-g0", "-fno-sanitize=undefined"]
        for folder in ("generic-musl", "arm-linux-musl"):
            flags += ["-idirafter", str(headers / folder)]
        found.append(Compiler("clang", (sys.executable, "-m", "ziglang", "cc"), tuple(flags), ()))
    return found


def find_compiler(name: str = "") -> Compiler:
    """The preferred compiler, or the one of a name.

    Raises:
        BopkitError: It is not installed.
    """
    for compiler in find_compilers():
        if name in ("", compiler.name):
            return compiler
    raise BopkitError(
        "No compiler for Cortex-M is installed." if not name else f"{name} for Cortex-M is not installed.",
        "Install Debian's gcc-arm-none-eabi, or `pip install ziglang`.",
    )


def build(
    board: Board,
    sources: Sequence[Path],
    include_folders: Sequence[Path],
    defines: Mapping[str, object],
    output: Path,
    optimize: str = "-O3",
    compiler: Compiler | None = None,
) -> Program:
    """Compile and link a program of a board.

    Args:
        board: The board.
        sources: C files, with a `main`. Start-up code and `measure.h` come by themselves.
        include_folders: Where headers are looked for.
        defines: Macros.
        output: The program.
        optimize: Of GCC and clang.
        compiler: None for the preferred one.

    Raises:
        BopkitError: There is no compiler, or it refuses the sources; the error says which line.
    """
    compiler = compiler or find_compiler()
    target = compiler.options(board, optimize)
    includes = [f"-I{folder}" for folder in (*include_folders, FOLDER)]
    macros = [f"-D{name}={value}" for name, value in defines.items()]
    source_of: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        objects = []
        for number, source in enumerate([*sources, *(FOLDER / name for name in _OWN_SOURCES)]):
            built = Path(folder) / f"{number}.o"
            options = [*target, *_FLAGS, *compiler.flags, *includes, *macros]
            _run([*compiler.command, *options, "-c", str(source), "-o", str(built)], source.name, board)
            objects.append(str(built))
            source_of |= {each.name: source.name for each in read_elf(built).symbols if each.is_global}
        script = Path(folder) / "link.ld"
        script.write_text(_addresses(board) + (FOLDER / "link.ld").read_text())
        options = [*target, "-nostartfiles", "-Wl,--gc-sections", "-T", str(script)]
        _run([*compiler.command, *options, *objects, *compiler.libraries, "-o", str(output)], output.name, board)
    linked = read_elf(output)
    return Program(
        output,
        compiler,
        sum(linked.sections.get(name, 0) for name in _FLASH),
        sum(linked.sections.get(name, 0) for name in _RAM),
        tuple(
            each._replace(source=source_of.get(each.name, "")) if each.is_global else each for each in linked.symbols
        ),
    )


def _addresses(board: Board) -> str:
    values = {
        "vectors": board.vectors,
        "code": board.code,
        "code_bytes": board.code_bytes,
        "ram": board.ram,
        "ram_bytes": board.ram_bytes,
        "stack_bytes": STACK_BYTES,
    }
    return "".join(f"board_{name} = {value:#x};\n" for name, value in values.items())


def _run(command: Sequence[str], what: str, board: Board) -> None:
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BopkitError(f"{what} was not built for {board.core}: {error}.") from error
    if run.returncode == 0:
        return
    lines = [line.strip() for line in run.stderr.splitlines() if line.strip()]
    told = [line for line in lines if "error:" in line or "undefined" in line or "overflow" in line or "fit" in line]
    reason = (told or lines or [f"the compiler ended with code {run.returncode}"])[0].rstrip(".")
    hint = "Install Debian's libnewlib-arm-none-eabi." if "string.h" in reason or "math.h" in reason else ""
    raise BopkitError(f"{what} was not built for {board.core}: {reason}.", hint)
