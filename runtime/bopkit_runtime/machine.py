"""Facts of this machine and this process, read from files of Linux; None where they cannot be read."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

_CPU_INFO = Path("/proc/cpuinfo")
_BOARD = Path("/proc/device-tree/model")
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
_ZONES = Path("/sys/class/thermal")
_CPUS = Path("/sys/devices/system/cpu")
_FIRMWARE_FLAGS = Path("/sys/devices/platform/soc/soc:firmware/get_throttled")

# ARM's own cores by the part number that Linux shows in place of a name.
_ARM_CORES = {
    "0xc07": "Cortex-A7",
    "0xc0f": "Cortex-A15",
    "0xd03": "Cortex-A53",
    "0xd04": "Cortex-A35",
    "0xd05": "Cortex-A55",
    "0xd07": "Cortex-A57",
    "0xd08": "Cortex-A72",
    "0xd09": "Cortex-A73",
    "0xd0a": "Cortex-A75",
    "0xd0b": "Cortex-A76",
    "0xd0c": "Neoverse N1",
    "0xd0d": "Cortex-A77",
    "0xd40": "Neoverse V1",
    "0xd41": "Cortex-A78",
    "0xd44": "Cortex-X1",
    "0xd49": "Neoverse N2",
}
_ARM = "0x41"


def cpu_name() -> str:
    """The CPU's name; on ARM the board's and those of its cores, as far as they are known."""
    entries = [line.partition(":") for line in _text(_CPU_INFO).splitlines()]
    values = [(key.strip(), value.strip()) for key, _, value in entries]
    for key, value in values:
        if key == "model name" and value:
            return value
    board = _text(_BOARD).strip("\0\n ")
    is_arm = ("CPU implementer", _ARM) in values
    parts = list(dict.fromkeys(value for key, value in values if key == "CPU part"))
    cores = [_ARM_CORES.get(part, f"part {part}") for part in parts] if is_arm else []
    return ", ".join([*([board] if board else []), *cores]) or platform.processor() or platform.machine()


def governor() -> str | None:
    """How the first core's clock is chosen, e.g. `performance` or `ondemand`."""
    return _text(_GOVERNOR).strip() or None


def temperature_c() -> float | None:
    """The hottest thermal zone in degrees Celsius."""
    temperatures = []
    for zone in _ZONES.glob("thermal_zone*"):
        text = _text(zone / "temp").strip()
        if text.lstrip("-").isdigit():
            temperatures.append(int(text) / 1000)
    return max(temperatures, default=None)


class ClockLimits(NamedTuple):
    """What Linux tells of lowered clocks, at one moment.

    Attributes:
        flags: Of a Raspberry Pi's firmware: what limits its clock now, and what has since it was switched on.
        events: How often the cores of an x86 processor were slowed down for heat.
        cooling: The largest step by which something slows a core down for heat, 0 for not at all.
        highest_khz: Clock that each core may reach.
    """

    flags: int | None
    events: int | None
    cooling: int | None
    highest_khz: tuple[int, ...]


def clock_limits() -> ClockLimits:
    """What limits the clocks now."""
    flags = _text(_FIRMWARE_FLAGS).strip()
    coolers = [path for path in sorted(_ZONES.glob("cooling_device*")) if _cools_cpu(path)]
    return ClockLimits(
        flags=int(flags, 16) if re.fullmatch(r"(0x)?[0-9a-fA-F]+", flags) else None,
        events=_total(_numbers(sorted(_CPUS.glob("cpu*/thermal_throttle/*_throttle_count")))),
        cooling=max(_numbers([path / "cur_state" for path in coolers]), default=None),
        highest_khz=tuple(_numbers(sorted(_CPUS.glob("cpu*/cpufreq/scaling_max_freq")))),
    )


def is_throttled(before: ClockLimits, after: ClockLimits) -> bool | None:
    """Whether a clock was lowered between two moments, for heat or power; None where Linux tells nothing of it."""
    if (before.flags, before.events, before.cooling, before.highest_khz) == (None, None, None, ()):
        return None
    flags = ((before.flags or 0) | (after.flags or 0)) & _LIMITED_NOW
    flags |= (after.flags or 0) & ~(before.flags or 0) & _LIMITED_SINCE
    is_lower = any(now < then for then, now in zip(before.highest_khz, after.highest_khz))
    cooling = max(before.cooling or 0, after.cooling or 0)
    return bool(flags or (after.events or 0) > (before.events or 0) or cooling or is_lower)


# Bits of the firmware's flags: 1 clock capped, 2 throttled, 3 soft limit of temperature; 16 higher: so since the start.
_LIMITED_NOW = 0b1110
_LIMITED_SINCE = _LIMITED_NOW << 16


def _cools_cpu(cooler: Path) -> bool:
    """Whether it cools by lowering a clock of the CPU: fans cool too."""
    kind = _text(cooler / "type").lower()
    return "cpufreq" in kind or kind.startswith("processor")


def _numbers(paths: Iterable[Path]) -> list[int]:
    texts = (_text(path).strip() for path in paths)
    return [int(text) for text in texts if text.isdigit()]


def _total(numbers: list[int]) -> int | None:
    return sum(numbers) if numbers else None


def peak_memory_bytes() -> int | None:
    """Largest resident set of this process so far, in bytes."""
    # Not getrusage on Linux: there a new process starts with the peak of the one that started it.
    for line in _text(Path("/proc/self/status")).splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return None


def logical_cores() -> int:
    """Number of logical cores."""
    return os.cpu_count() or 1


def _text(path: Path) -> str:
    """What a file holds; nothing where it cannot be read, as zones of switched-off sensors."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
