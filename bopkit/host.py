"""Facts of this host and of this process, and what Linux's system files show of clocks and heat."""

from __future__ import annotations

import fnmatch
import glob
import os
import platform
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import psutil

from bopkit.errors import UsageError

_FIRMWARE_FLAGS = "/sys/devices/platform/soc/soc:firmware/get_throttled"
_GOVERNOR = "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
_TEMPERATURES = "/sys/class/thermal/thermal_zone*/temp"
_COOLERS = "/sys/class/thermal/cooling_device*/type"
_COOLER_STATES = "/sys/class/thermal/cooling_device*/cur_state"
_THROTTLE_COUNTS = "/sys/devices/system/cpu/cpu*/thermal_throttle/*_throttle_count"
_HIGHEST_CLOCKS = "/sys/devices/system/cpu/cpu*/cpufreq/scaling_max_freq"

SYSTEM_FILES = (
    _FIRMWARE_FLAGS,
    _GOVERNOR,
    _TEMPERATURES,
    _COOLERS,
    _COOLER_STATES,
    _THROTTLE_COUNTS,
    _HIGHEST_CLOCKS,
)
"""Patterns of the files that `governor`, `temperature_c` and `is_throttled` read."""

Files = Mapping[str, str]
"""What the files of `SYSTEM_FILES` held at one moment, by their paths; without those that cannot be read."""


def cpu_name() -> str:
    """The CPU's name as the vendor writes it, as far as the operating system tells.

    `bopkit_runtime.machine.cpu_name` is that of devices, where bopkit is not installed; it also names ARM cores.
    """
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


def usable_cores() -> int:
    """Number of logical cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_bytes() -> int:
    """Main memory of the host in bytes."""
    return int(psutil.virtual_memory().total)


def read_system_files() -> Files:
    """What they hold on this host now."""
    files = {}
    for path in (path for pattern in SYSTEM_FILES for path in glob.glob(pattern)):
        try:
            files[path] = Path(path).read_text(errors="replace").strip()
        except OSError:  # as zones of switched-off sensors
            continue
    return files


def governor(files: Files) -> str | None:
    """How the first core's clock is chosen, e.g. `performance` or `ondemand`."""
    return files.get(_GOVERNOR) or None


def temperature_c(files: Files) -> float | None:
    """The hottest thermal zone in degrees Celsius."""
    return max((number / 1000 for _, number in _numbers(files, _TEMPERATURES)), default=None)


def is_throttled(before: Files, after: Files) -> bool | None:
    """Whether a clock was lowered between two moments, for heat or power; None where Linux tells nothing of it.

    It looks at a Raspberry Pi's firmware, at the counters of x86 processors, at whether a core is being cooled by its
    clock, and at whether the highest clock that a core may reach went down.
    """
    told = [
        _firmware_limits(before, after),
        _higher(_THROTTLE_COUNTS, before, after),
        _cooling(before, after),
        _higher(_HIGHEST_CLOCKS, after, before),
    ]
    return None if set(told) == {None} else any(told)


# Bits of the firmware's flags: 1 clock capped, 2 throttled, 3 soft limit of temperature; 16 higher: so since the start.
_LIMITED_NOW = 0b1110
_LIMITED_SINCE = _LIMITED_NOW << 16


def _firmware_limits(before: Files, after: Files) -> bool | None:
    texts = [files.get(_FIRMWARE_FLAGS, "") for files in (before, after)]
    if not all(re.fullmatch(r"(0x)?[0-9a-fA-F]+", text) for text in texts):
        return None
    old, new = (int(text, 16) for text in texts)
    return bool((old | new) & _LIMITED_NOW or new & ~old & _LIMITED_SINCE)


def _higher(pattern: str, before: Files, after: Files) -> bool | None:
    """Whether any number of such a file is higher in `after`."""
    old, new = dict(_numbers(before, pattern)), dict(_numbers(after, pattern))
    both = old.keys() & new.keys()
    return any(new[path] > old[path] for path in both) if both else None


def _cooling(before: Files, after: Files) -> bool | None:
    """Whether something lowered a clock of the CPU for heat at either moment; fans cool too, and do not count."""
    kinds = {path.rpartition("/")[0]: text.lower() for path, text in _matching(before, _COOLERS)}
    coolers = {path for path, kind in kinds.items() if "cpufreq" in kind or kind.startswith("processor")}
    states = [
        state
        for files in (before, after)
        for path, state in _numbers(files, _COOLER_STATES)
        if path.rpartition("/")[0] in coolers
    ]
    return any(states) if states else None


def _matching(files: Files, pattern: str) -> Iterator[tuple[str, str]]:
    return ((path, text) for path, text in files.items() if fnmatch.fnmatch(path, pattern))


def _numbers(files: Files, pattern: str) -> Iterator[tuple[str, int]]:
    return ((path, int(text)) for path, text in _matching(files, pattern) if re.fullmatch(r"-?\d+", text))


def parse_cpu_mask(mask: str) -> frozenset[int]:
    """Numbers of the cores of a mask such as `taskset` takes: hexadecimal, bit 0 for core 0.

    Raises:
        UsageError: It is none.
    """
    if not re.fullmatch(r"(0x)?[0-9a-fA-F]{1,64}", mask) or not int(mask, 16):
        raise UsageError(
            f"{mask!r} is not a CPU mask.", "Write it as taskset does, in hexadecimal: f0 for cores 4 to 7."
        )
    bits = int(mask, 16)
    return frozenset(core for core in range(bits.bit_length()) if bits >> core & 1)


def pin_process(cores: Iterable[int]) -> None:
    """Let this process, and threads that it starts from now on, run on these cores only.

    Raises:
        UsageError: This host does not have them, or cannot pin.
    """
    wanted = sorted(cores)
    if not hasattr(os, "sched_setaffinity"):
        raise UsageError("Processes can be pinned on Linux only.", "Leave out --cpu-mask.")
    try:
        os.sched_setaffinity(0, wanted)
    except OSError as error:
        allowed = ", ".join(map(str, sorted(os.sched_getaffinity(0))))
        raise UsageError(
            f"No process can run on the cores of the CPU mask, {', '.join(map(str, wanted))}.",
            f"It may run on cores {allowed}.",
        ) from error
