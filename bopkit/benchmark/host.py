"""Facts of this host and of this process."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

import psutil


def cpu_name() -> str:
    """The CPU's name as the vendor writes it, as far as the operating system tells."""
    cpu_info = Path("/proc/cpuinfo")
    if cpu_info.is_file():
        for line in cpu_info.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Model"):  # x86; Raspberry Pi
                return value.strip()
    return platform.processor() or platform.machine()


def peak_memory_bytes() -> int:
    """Largest resident set of this process so far, in bytes: its heap, mapped files and shared libraries."""
    if sys.platform == "linux":
        # Not getrusage: there a new process starts with the peak of the one that started it.
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def logical_cores() -> int:
    """Number of logical cores of the host."""
    return os.cpu_count() or 1


def memory_bytes() -> int:
    """Main memory of the host in bytes."""
    return int(psutil.virtual_memory().total)
