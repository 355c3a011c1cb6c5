"""The devices that were set up from this host, in a small file of the user's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bopkit import files
from bopkit.benchmark.devices.connection import PYTHON
from bopkit.benchmark.devices.names import SshName
from bopkit.errors import BopkitError


def known_devices() -> dict[str, dict[str, Any]]:
    """What was noted of each device, by its key.

    Raises:
        BopkitError: The file is damaged.
    """
    path = list_path()
    if not path.exists():
        return {}
    try:
        devices = json.loads(path.read_text())
        if not isinstance(devices, dict) or not all(isinstance(each, dict) for each in devices.values()):
            raise ValueError
    except ValueError as error:
        raise BopkitError(f"{path} is damaged.", "Remove it, and set up the devices again.") from error
    return devices


def remember(name: SshName, python: str, cpu: str) -> None:
    """Note that a device was set up.

    Args:
        name: Of the device.
        python: What runs there.
        cpu: Name of its processor, for the list.
    """
    files.write_json(list_path(), {**known_devices(), name.key: {"python": python, "cpu": cpu}})


def forget(name: SshName) -> bool:
    """Forget a device; whether it was known."""
    devices = known_devices()
    if devices.pop(name.key, None) is None:
        return False
    files.write_json(list_path(), devices)
    return True


def python_of(name: SshName) -> str:
    """What runs on a device."""
    python: str = known_devices().get(name.key, {}).get("python", PYTHON)
    return python


def list_path() -> Path:
    """The file."""
    return files.user_folder("XDG_CONFIG_HOME", ".config") / "devices.json"
