"""The devices over ssh that this user has set up, in `~/.config/bopkit/devices.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bopkit import files
from bopkit.benchmark.devices.device_names import SshName
from bopkit.benchmark.devices.ssh_connection import PYTHON, Connection
from bopkit.errors import BopkitError


def load() -> dict[str, dict[str, Any]]:
    """`python` (what runs on it), `cpu` (its name) and `folder` of each device, by `SshName.key`.

    Raises:
        BopkitError: The file is damaged.
    """
    try:
        path = list_path()
    except RuntimeError:  # a user without a home folder has set up no device
        return {}
    if not path.exists():
        return {}
    try:
        devices = json.loads(path.read_text())
        if not isinstance(devices, dict) or not all(isinstance(each, dict) for each in devices.values()):
            raise ValueError
    except ValueError as error:
        raise BopkitError(f"{path} is damaged.", "Remove it, and set up the devices again.") from error
    return devices


def remember(name: SshName, python: str, cpu: str, folder: str | None = None) -> None:
    """Write down that a device was set up.

    Args:
        name: Of the device.
        python: The command that runs Python there.
        cpu: Name of its processor, for the list.
        folder: Where the runtime was put there; None for the home folder.
    """
    known = {"python": python, "cpu": cpu, **({} if folder is None else {"folder": folder})}
    files.write_json(list_path(), {**load(), name.key: known})


def forget(name: SshName) -> bool:
    """Take a device off the list; whether it was on it."""
    devices = load()
    if devices.pop(name.key, None) is None:
        return False
    files.write_json(list_path(), devices)
    return True


def python_of(name: SshName) -> str:
    """The command that runs Python on a device: `python3`, unless its set-up named another one."""
    python: str = load().get(name.key, {}).get("python", PYTHON)
    return python


def folder_of(name: SshName) -> str | None:
    """The folder on a device that its set-up named; None for the home folder."""
    folder: str | None = load().get(name.key, {}).get("folder")
    return folder


def open_connection(name: SshName) -> Connection:
    """Connect to a device with the Python and the folder of its set-up.

    Raises:
        BopkitError: As of `Connection`.
    """
    return Connection(name, python_of(name), folder_of(name))


def list_path() -> Path:
    """Where the list is kept."""
    return files.user_folder("XDG_CONFIG_HOME", ".config") / "devices.json"
