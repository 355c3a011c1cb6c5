"""Runs programs on emulated boards, where the clock advances with the instructions."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from bopkit.benchmark.devices.qemu.boards import Board
from bopkit.errors import BopkitError

_QEMU = "qemu-system-arm"
_ERROR = "error: "  # begins the line of a program that failed; see semihosting.h


def qemu_command() -> str:
    """Where QEMU is.

    Raises:
        BopkitError: It is not installed.
    """
    qemu = shutil.which(_QEMU)
    if qemu is None:
        raise BopkitError(
            f"{_QEMU} is not installed.", "Install Debian's package qemu-system-arm: `apt-get install qemu-system-arm`."
        )
    return qemu


def qemu_version() -> str:
    """As QEMU names itself, without what follows.

    Raises:
        BopkitError: It is not installed.
    """
    command = [qemu_command(), "--version"]
    run = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60, check=False)
    found = re.search(r"version (\S+)", run.stdout)
    return found[1] if found else "unknown"


def run_program(board: Board, elf: Path, folder: Path, timeout_s: float = 600.0) -> str:
    """Run a program until it ends.

    Args:
        board: The board.
        elf: What `toolchain.build` built for it.
        folder: Where the program reads and writes its files.
        timeout_s: Seconds after which it is given up.

    Returns:
        What it printed.

    Raises:
        BopkitError: QEMU is not installed, or the program failed or did not end.
    """
    command = [qemu_command(), "-M", board.machine, "-kernel", str(elf.absolute())]
    command += ["-display", "none", "-serial", "none", "-monitor", "none"]
    command += ["-icount", "shift=0"]  # 1 ns an instruction, however fast the host is
    command += ["-chardev", "stdio,id=out,signal=off"]
    command += ["-semihosting-config", "enable=on,target=native,chardev=out"]
    try:
        run = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BopkitError(f"{elf.name} did not end on {board.core} within {timeout_s:g} s.") from error
    except OSError as error:
        raise BopkitError(f"{_QEMU} does not start: {error}.") from error
    if run.returncode != 0:
        lines = [line.strip() for line in (run.stdout + run.stderr).splitlines() if line.strip()]
        told = [line.removeprefix(_ERROR) for line in lines if line.startswith(_ERROR)]
        reason = (told or lines or [f"{_QEMU} ended with code {run.returncode}"])[0].rstrip(".")
        raise BopkitError(f"{elf.name} failed on {board.core}: {reason}.")
    return run.stdout


def numbers(output: str) -> dict[str, int]:
    """The lines of a name and a number that a program printed."""
    pairs = [line.split() for line in output.splitlines()]
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}
