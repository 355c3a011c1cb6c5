"""Facts about one device, and the list of devices that are known without connecting to them."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

from bopkit.benchmark.devices import adb_client, remembered_devices
from bopkit.benchmark.devices.adb import android_environment
from bopkit.benchmark.devices.device_names import AdbName, QemuName, SshName, parse_device_name
from bopkit.benchmark.devices.qemu.device import environment_of as environment_of_board
from bopkit.benchmark.devices.ssh import environment_of
from bopkit.benchmark.devices.ssh_connection import other_folder_hint
from bopkit.benchmark.devices.wheels import wheel_target
from bopkit.benchmark.results import LOCAL, Environment
from bopkit.errors import BopkitError


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


def device_info(name: str) -> DeviceInfo:
    """What a device is and has.

    Args:
        name: `local`, `ssh://[user@]host[:port]`, `adb[:serial]` or `qemu:CORE`.

    Raises:
        UsageError: There is no device of such a name.
        BopkitError: It cannot be reached.
    """
    parsed = parse_device_name(name)
    if isinstance(parsed, SshName):
        with contextlib.closing(remembered_devices.open_connection(parsed)) as connection:
            return ssh_device_info(name, connection.facts)
    if isinstance(parsed, AdbName):
        environment = android_environment(adb_client.connect(parsed))
        return DeviceInfo(name, environment, True, note="Give a benchmark binary with --runner.")
    if isinstance(parsed, QemuName):
        return DeviceInfo(
            name, environment_of_board(parsed.board), True, note="It runs folders of `bopkit export --c`."
        )
    return DeviceInfo(name, Environment.of_this_host(), True)


def list_devices() -> list[ListedDevice]:
    """This host, the devices that were set up from it, and those that adb sees."""
    set_up = [ListedDevice(name, each.get("cpu", "")) for name, each in remembered_devices.load().items()]
    attached = [
        ListedDevice(f"adb:{serial}", "ready" if state == adb_client.READY else state)
        for serial, state in adb_client.attached_devices()
    ]
    return [ListedDevice(LOCAL, "this host"), *set_up, *attached]


def ssh_device_info(name: str, facts: dict[str, Any]) -> DeviceInfo:
    """The same for a device over ssh.

    Args:
        name: As the user typed it.
        facts: What the agent on it answers to `hello`.
    """
    manifest = facts["manifest"] or {}
    is_ready = bool(manifest.get("is_current"))
    note = "" if is_ready else f"Type `bopkit device setup {name}`."
    if not facts["runs_files"]:
        note = (
            f"{facts['root']} is on a disk that runs no files. {other_folder_hint(name, *facts['other_folders'][:1])}"
        )
    try:
        wheel_target(facts, name)
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
