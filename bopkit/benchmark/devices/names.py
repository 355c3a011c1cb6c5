"""From the name of a device to the device."""

from __future__ import annotations

from bopkit.benchmark.devices.device import Device
from bopkit.benchmark.devices.local import LocalDevice
from bopkit.benchmark.report import LOCAL
from bopkit.errors import UsageError


def check_device_name(name: str) -> None:
    """Make sure that a name is one of a device, whether it answers or not.

    Raises:
        UsageError: It is none.
    """
    if name != LOCAL:
        raise UsageError(f"There is no device {name!r}.", f"Use {LOCAL}.")


def open_device(name: str) -> Device:
    """Connect to a device.

    Raises:
        UsageError: There is no device of such a name.
        BopkitError: It does not answer, or cannot measure anything.
    """
    check_device_name(name)
    return LocalDevice()
