"""What artifacts are measured on: this host, devices over ssh and adb, and emulated microcontrollers."""

from __future__ import annotations

from pathlib import Path

from bopkit.benchmark.devices.adb import AdbDevice
from bopkit.benchmark.devices.device import Device, DeviceLostError
from bopkit.benchmark.devices.device_names import AdbName, QemuName, SshName, parse_device_name
from bopkit.benchmark.devices.local import LocalDevice
from bopkit.benchmark.devices.qemu.device import QemuDevice
from bopkit.benchmark.devices.ssh import SshDevice

__all__ = ["Device", "DeviceLostError", "open_device"]


def open_device(name: str, runner: Path | None = None) -> Device:
    """Connect to a device.

    Args:
        name: `local`, `ssh://[user@]host[:port]`, `adb[:serial]` or `qemu:CORE`.
        runner: Benchmark binary, without which no device over adb is opened.

    Raises:
        UsageError: There is no device of such a name.
        BopkitError: It does not answer, or cannot measure anything.
    """
    parsed = parse_device_name(name)
    if isinstance(parsed, SshName):
        return SshDevice(parsed)
    if isinstance(parsed, AdbName):
        assert runner is not None
        return AdbDevice(parsed, runner)
    if isinstance(parsed, QemuName):
        return QemuDevice(name, parsed.board)
    return LocalDevice()
