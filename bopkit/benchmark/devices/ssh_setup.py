"""Put the runtime onto a device over ssh, and take it off again: `bopkit device setup` and `remove`."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from bopkit import files
from bopkit.benchmark.devices import remembered_devices
from bopkit.benchmark.devices.device_names import SshName, parse_device_name
from bopkit.benchmark.devices.info import DeviceInfo, ssh_device_info
from bopkit.benchmark.devices.ssh_connection import Connection, other_folder_hint
from bopkit.benchmark.devices.wheels import collect_wheels, unpacked_bytes, versions_of, wheel_target
from bopkit.errors import BopkitError, UsageError
from bopkit.progress import Progress, silent

_SPARE_BYTES = 16 << 20  # for models, and for the blocks that files do not fill

_INSTALL_LIMIT_S = 660.0  # the device itself gives up trying the runtime after 600


def set_up_device(
    name: str,
    wheels: Path | None = None,
    python: str | None = None,
    progress: Progress = silent,
    folder: str | None = None,
) -> DeviceInfo:
    """Put the runtime into a private directory of a device over ssh; an older one there is replaced at the end.

    Args:
        name: `ssh://[user@]host[:port]`.
        wheels: Folder of wheels to take in place of compiled and downloaded ones.
        python: Python on the device; None for the one that was named before, else `python3`.
        progress: Called with one line now and then.
        folder: Folder on the device for that directory, where the home folder is too small or runs no files; None for
            the one that was named before, else the home folder. A set-up in another one is removed at the end.

    Raises:
        UsageError: It is no device over ssh.
        BopkitError: It cannot be reached, has no Python 3.9, no such folder, no space or none that files run from, or
            there are no wheels for it.
    """
    ssh = _ssh_name(name)
    if wheels is not None and not wheels.is_dir():
        raise UsageError(f"{wheels} is not a folder.", "Give a folder of wheels, such as runtime/dist.")
    python = python or remembered_devices.python_of(ssh)
    earlier_folder = remembered_devices.folder_of(ssh)
    folder = folder or earlier_folder
    with contextlib.closing(Connection(ssh, python, folder)) as connection:
        target = wheel_target(connection.facts, name)
        _check_runs_files(connection.facts, name)
        progress(f"{name}: {connection.facts['cpu']}, {target}")
    chosen = collect_wheels(target, wheels, progress)  # may take minutes, in which a connection would be idle
    with contextlib.closing(Connection(ssh, python, folder)) as connection:
        connection.request("reserve")
        _check_space(connection.facts, chosen, name)
        sha256 = {}
        for wheel in chosen:
            progress(f"{name}: copying {wheel.name}")
            sha256[wheel.name] = files.sha256(wheel)
            connection.send_file("stage", wheel, wheel.name, sha256[wheel.name])
        progress(f"{name}: starting the runtime")
        manifest = {"versions": versions_of(chosen), "wheels": sha256}
        installed = connection.request("install", _INSTALL_LIMIT_S, manifest=manifest)
        remembered_devices.remember(ssh, python, installed["cpu"], folder)
        info = ssh_device_info(name, connection.request("hello"))
    if folder != earlier_folder:
        _remove_earlier(ssh, python, earlier_folder, info.folder)
    return info


def remove_device(name: str) -> bool:
    """Remove what `set_up_device` put on a device, and forget the device.

    Returns:
        Whether anything was there.

    Raises:
        UsageError: It is no device over ssh.
        BopkitError: It cannot be reached; then it is not forgotten.
    """
    ssh = _ssh_name(name)
    try:
        connection = remembered_devices.open_connection(ssh)
    except BopkitError as error:
        gone = f" If it is gone for good: `bopkit device remove --forget {name}`."
        hint = error.hint + (gone if ssh.key in remembered_devices.load() else "")
        raise BopkitError(f"{error.message} Nothing was removed.", hint) from error
    with contextlib.closing(connection):
        was_there: bool = connection.request("remove")["removed"]
    remembered_devices.forget(ssh)
    return was_there


def forget_device(name: str) -> bool:
    """Take a device that is gone for good off the list; what was put there stays where it is.

    Returns:
        Whether it was on the list.

    Raises:
        UsageError: It is no device over ssh.
    """
    return remembered_devices.forget(_ssh_name(name))


def _ssh_name(name: str) -> SshName:
    parsed = parse_device_name(name)
    if not isinstance(parsed, SshName):
        raise UsageError(f"{name} needs no set-up.", "Only devices over ssh do: ssh://[user@]host[:port].")
    return parsed


def _remove_earlier(ssh: SshName, python: str, folder: str | None, root: str | None) -> None:
    """Remove what an earlier set-up put into another folder, if it is still there and not the same by another name."""
    with contextlib.suppress(BopkitError), contextlib.closing(Connection(ssh, python, folder)) as connection:
        if connection.facts["root"] != root:
            connection.request("remove")


def _check_runs_files(facts: dict[str, Any], name: str) -> None:
    if not facts["runs_files"]:
        raise BopkitError(
            f"{name} runs no files from {facts['root']}: that disk is mounted with noexec.",
            other_folder_hint(name, *facts["other_folders"][:1]),
        )


def _check_space(facts: dict[str, Any], wheels: list[Path], name: str) -> None:
    sizes = [unpacked_bytes(wheel) for wheel in wheels]
    needed_bytes = sum(sizes) + max(wheel.stat().st_size for wheel in wheels) + _SPARE_BYTES
    if facts["free_bytes"] < needed_bytes:
        raise BopkitError(
            f"{name} has {facts['free_bytes'] / 1e6:.0f} MB free, and the runtime takes {needed_bytes / 1e6:.0f} MB "
            f"in {facts['root']}.",
            "Free some space there, or name a folder on another disk of it with --folder.",
        )
