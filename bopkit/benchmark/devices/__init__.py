"""What latency is measured on: this host, and devices over ssh and adb."""

from bopkit.benchmark.devices.device import Device
from bopkit.benchmark.devices.names import open_device

__all__ = ["Device", "open_device"]
