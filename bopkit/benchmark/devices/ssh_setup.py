"""`bopkit device`: set devices up, look at them, remove what was put there."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

from bopkit import files
from bopkit.benchmark.devices import adb_client, known
from bopkit.benchmark.devices.adb import android_environment
from bopkit.benchmark.devices.connection import Connection
from bopkit.benchmark.devices.names import AdbName, SshName, parse_device_name
from bopkit.benchmark.devices.ssh import environment_of
from bopkit.benchmark.devices.wheels import collect_wheels, target_of, unpacked_bytes, versions_of
from bopkit.benchmark.results import LOCAL, Environment
from bopkit.errors import BopkitError, UsageError
from bopkit.progress import Progress, silent

_SPARE_BYTES = 16 << 20  # for models, and for the blocks that files do not fill

_INSTALL_LIMIT_S = 660.0  # the device itself gives up trying the runtime after 600


@dataclasses.dataclass(frozen=True)
class DeviceInfo:
    """What a device is and has.

    Attributes:
        name: As the user typed it.
        environment: What it is.
        is_ready: Whether it can measure.
        free_bytes: Space for what bopkit puts there; None where it puts nothing.
        folder: Where that is.
        isas: Instruction sets that the runtime can use there, the fastest first; empty before it is set up.
        note: What to do next, or what else to know; empty if there is nothing.
    """

    name: str
    environment: Environment
    is_ready: bool
    free_bytes: int | None = None
    folder: str | None = None
    isas: tuple[str, ...] = ()
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As dictionaries, lists, strings and numbers."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class ListedDevice:
    """A device that is known without asking it.

    Attributes:
        name: For `--device`.
        about: What is known of it, for a person.
    """

    name: str
    about: str


def set_up_device(
    name: str, wheels: Path | None = None, python: str | None = None, progress: Progress = silent
) -> DeviceInfo:
    """Put the runtime into a private directory of a device over ssh; an older one there is replaced at the end.

    Args:
        name: `ssh://[user@]host[:port]`.
        wheels: Folder of wheels to take in place of compiled and downloaded ones.
        python: Python on the device; None for the one that was named before, else `python3`.
        progress: Called with one line now and then.

    Raises:
        UsageError: It is no device over ssh.
        BopkitError: It cannot be reached, has no Python 3.9, no space, or there are no wheels for it.
    """
    ssh = _ssh_name(name)
    if wheels is not None and not wheels.is_dir():
        raise UsageError(f"{wheels} is no folder.", "Give a folder of wheels, such as runtime/dist.")
    python = python or known.python_of(ssh)
    with contextlib.closing(Connection(ssh, python)) as connection:
        target = target_of(connection.facts, name)
        progress(f"{name}: {connection.facts['cpu']}, {target}")
    chosen = collect_wheels(target, wheels, progress)  # may take minutes, in which a connection would be idle
    with contextlib.closing(Connection(ssh, python)) as connection:
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
        known.remember(ssh, python, installed["cpu"])
        return _info_of(name, connection.request("hello"))


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
        connection = Connection(ssh, known.python_of(ssh))
    except BopkitError as error:
        gone = f" If it is gone for good: `bopkit device remove --forget {name}`."
        hint = error.hint + (gone if ssh.key in known.known_devices() else "")
        raise BopkitError(f"{error.message} Nothing was removed.", hint) from error
    with contextlib.closing(connection):
        was_there: bool = connection.request("remove")["removed"]
    known.forget(ssh)
    return was_there


def forget_device(name: str) -> bool:
    """Take a device that is gone for good off the list; what was put there stays where it is.

    Returns:
        Whether it was on the list.

    Raises:
        UsageError: It is no device over ssh.
    """
    return known.forget(_ssh_name(name))


def device_info(name: str) -> DeviceInfo:
    """What a device is and has.

    Args:
        name: `local`, `ssh://[user@]host[:port]` or `adb[:serial]`.

    Raises:
        UsageError: There is no device of such a name.
        BopkitError: It cannot be reached.
    """
    parsed = parse_device_name(name)
    if isinstance(parsed, SshName):
        with contextlib.closing(Connection(parsed, known.python_of(parsed))) as connection:
            return _info_of(name, connection.facts)
    if isinstance(parsed, AdbName):
        environment = android_environment(adb_client.connect(parsed))
        return DeviceInfo(name, environment, True, note="Give a benchmark binary with --runner.")
    return DeviceInfo(name, Environment.of_this_host(), True)


def list_devices() -> list[ListedDevice]:
    """This host, the devices that were set up from it, and those that adb sees."""
    known_ones = [ListedDevice(name, each.get("cpu", "")) for name, each in known.known_devices().items()]
    adb_ones = [
        ListedDevice(f"adb:{serial}", "ready" if state == adb_client.READY else state)
        for serial, state in adb_client.attached_devices()
    ]
    return [ListedDevice(LOCAL, "this host"), *known_ones, *adb_ones]


def _ssh_name(name: str) -> SshName:
    parsed = parse_device_name(name)
    if not isinstance(parsed, SshName):
        raise UsageError(f"{name} needs no set-up.", "Only devices over ssh do: ssh://[user@]host[:port].")
    return parsed


def _check_space(facts: dict[str, Any], wheels: list[Path], name: str) -> None:
    sizes = [unpacked_bytes(wheel) for wheel in wheels]
    needed_bytes = sum(sizes) + max(wheel.stat().st_size for wheel in wheels) + _SPARE_BYTES
    if facts["free_bytes"] < needed_bytes:
        raise BopkitError(
            f"{name} has {facts['free_bytes'] / 1e6:.0f} MB free, and the runtime takes {needed_bytes / 1e6:.0f} MB "
            f"in {facts['root']}.",
            "Free some space there, and run the command again.",
        )


def _info_of(name: str, facts: dict[str, Any]) -> DeviceInfo:
    manifest = facts["manifest"] or {}
    is_ready = bool(manifest.get("is_current"))
    note = "" if is_ready else f"Type `bopkit device setup {name}`."
    try:
        target_of(facts, name)
    except BopkitError as error:
        note = str(error)
    return DeviceInfo(
        name=name,
        environment=environment_of(facts),
        is_ready=is_ready,
        free_bytes=facts["free_bytes"],
        folder=facts["root"],
        isas=tuple(manifest.get("isas", ())),
        note=note,
    )
