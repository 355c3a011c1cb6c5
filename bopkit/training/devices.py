"""Which device a run computes on."""

from __future__ import annotations

import platform
import re
from typing import Any

from bopkit.card import package_versions
from bopkit.errors import BopkitError, UsageError
from bopkit.keras2 import import_tensorflow


def select_device(name: str) -> None:
    """Make TensorFlow see only the wanted device.

    Args:
        name: `auto` (the first GPU if there is one), `cpu`, `gpu` or `gpu:N`.

    Raises:
        UsageError: The name is wrong, or there is no such GPU.
        BopkitError: TensorFlow has already started on other devices.
    """
    match = re.fullmatch(r"(auto|cpu|gpu)(?::(\d+))?", name)
    if match is None or (match[2] and match[1] != "gpu"):
        raise UsageError(f"Unknown device {name!r}.", "Known: auto, cpu, gpu, gpu:N.")
    tf = import_tensorflow()
    gpus = tf.config.list_physical_devices("GPU")
    index = int(match[2] or 0)
    if match[1] == "gpu" and index >= len(gpus):
        raise UsageError(
            f"There is no device {name}: TensorFlow sees {len(gpus)} GPU(s).",
            "Run `bopkit doctor`, or use --device cpu.",
        )
    visible = [] if match[1] == "cpu" else gpus[index : index + 1]
    try:
        if visible != tf.config.get_visible_devices("GPU"):
            tf.config.set_visible_devices(visible, "GPU")
        for gpu in visible:
            tf.config.experimental.set_memory_growth(gpu, True)
    except RuntimeError as error:
        raise BopkitError(
            f"Device {name} cannot be chosen any more: TensorFlow is already running.",
            "Train in a fresh Python process.",
        ) from error


def describe_environment() -> dict[str, Any]:
    """Versions, machine and visible devices, as plain JSON values."""
    tf = import_tensorflow()
    return {
        "versions": package_versions(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "devices": [device.name for device in tf.config.get_visible_devices()],
    }
