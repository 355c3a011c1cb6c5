"""What latency is measured on: this host, and devices over ssh and adb."""

from bopkit.benchmark.devices.device import Device, DeviceLostError
from bopkit.benchmark.devices.opening import open_device

__all__ = ["Device", "DeviceLostError", "open_device"]
