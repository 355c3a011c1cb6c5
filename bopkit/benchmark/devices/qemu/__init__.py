"""Microcontrollers that QEMU emulates: builds bare-metal programs, and counts instructions, stack, flash and RAM."""

from __future__ import annotations

from bopkit.benchmark.devices.qemu.boards import BOARDS, Board, board_named
from bopkit.benchmark.devices.qemu.network import NetworkMeasurement, measure_network
from bopkit.benchmark.devices.qemu.run import numbers, run_program
from bopkit.benchmark.devices.qemu.toolchain import Compiler, Program, build, find_compiler, find_compilers

__all__ = [
    "BOARDS",
    "Board",
    "Compiler",
    "NetworkMeasurement",
    "Program",
    "board_named",
    "build",
    "find_compiler",
    "find_compilers",
    "measure_network",
    "numbers",
    "run_program",
]
