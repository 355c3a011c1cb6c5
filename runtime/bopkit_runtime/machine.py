"""Facts of this machine and this process, read from files of Linux; None where they cannot be read."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

_CPU_INFO = Path("/proc/cpuinfo")
_BOARD = Path("/proc/device-tree/model")
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
_ZONES = Path("/sys/class/thermal")

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
