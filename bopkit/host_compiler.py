"""The C compiler of this host: `$CC`, what is on PATH, or clang as PyPI's ziglang brings it."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bopkit.errors import BopkitError

WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-pedantic")
_LIMIT_S = 600.0
_SUFFIXES = {"darwin": ".dylib", "win32": ".dll"}


def host_compiler() -> list[str]:
    """The command of the compiler; empty where there is none."""
    if os.environ.get("CC"):
        return shlex.split(os.environ["CC"])
    for name in ("cc", "gcc", "clang"):
        if shutil.which(name):
            return [name]
    if importlib.util.find_spec("ziglang") is not None:
        return [sys.executable, "-m", "ziglang", "cc"]
    return []


def compiler_version() -> str:
    """The compiler as it names itself, in one line; its command where it does not, empty without one."""
    command = host_compiler()
    if not command:
        return ""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        run = subprocess.run(
            [*command, "--version"], capture_output=True, text=True, errors="replace", timeout=_LIMIT_S, check=False
        )
        return (run.stdout.splitlines() or [command[0]])[0]
    return command[0]


def build_library(
    sources: Sequence[Path], folder: Path, name: str, options: Sequence[str] = ("-O2",), warn: bool = False
) -> Path:
    """Compile C files into a shared library of this host.

    Args:
        sources: The C files.
        folder: Where the library is written.
        name: Of the library, without a suffix.
        options: Of the compiler.
        warn: Whether a warning is an error.

    Raises:
        BopkitError: There is no compiler, or it refuses the files; the error says which line.
    """
    command = host_compiler()
    if not command:
        raise BopkitError("There is no C compiler on this machine.", "Install gcc or clang, or `pip install ziglang`.")
    library = folder / f"{name}{_SUFFIXES.get(sys.platform, '.so')}"
    strict = [*WARNINGS, "-Werror"] if warn else ["-std=c99", "-w"]
    strict += ["-ffp-contract=off"]  # exported float32 is rounded after each operation, as its runtime rounds it
    words = [*command, *strict, *options, "-shared", "-fPIC", *map(str, sources), "-o", str(library)]
    try:
        run = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=_LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BopkitError(f"The C compiler {command[0]} does not run: {error}.", "Name another in CC.") from error
    if run.returncode:
        lines = [line for line in run.stderr.splitlines() if "error" in line] or run.stderr.splitlines()
        reason = (lines or [f"it ended with code {run.returncode}"])[0].strip().rstrip(".")
        raise BopkitError(f"The C sources in {folder} do not compile: {reason}.", "Export the network again.")
    return library
