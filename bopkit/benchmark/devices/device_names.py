"""Names of devices: `local`, `ssh://[user@]host[:port]`, `adb[:serial]`, `qemu:CORE`."""

from __future__ import annotations

import re
from typing import NamedTuple

from bopkit.benchmark.devices.qemu.boards import Board, board_named
from bopkit.benchmark.results import EMULATED, LOCAL
from bopkit.errors import UsageError

_SSH = "ssh://"
_ADB = "adb"
_HOST = re.compile(r"\[(?P<v6>[0-9A-Fa-f:.]+(%[\w.-]+)?)\]|(?P<host>\w[\w.+%~-]*)")
_USER = re.compile(r"\w[^\s'\"\\:/]*")
# Names from mDNS hold spaces and brackets: "adb-R58M12-xyZ (2)._adb-tls-connect._tcp".
_SERIAL = re.compile(r"(?!-)\S(.*\S)?")
_KNOWN = f"Use {LOCAL}, {_SSH}[user@]host[:port], {_ADB}[:serial] or {EMULATED}CORE."


class SshName(NamedTuple):
    """A host that ssh reaches.

    Attributes:
        name: As the user typed it, without a slash at its end.
        host: An address, or a name that DNS or the user's ssh config knows.
        user: Who logs in; None for what the ssh config says.
        port: None for what the ssh config says.
    """

    name: str
    host: str
    user: str | None
    port: int | None

    @property
    def key(self) -> str:
        """The name in one spelling, however it was typed. No port is not port 22: the ssh config may name another."""
        user = f"{self.user}@" if self.user else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = f":{self.port}" if self.port is not None else ""
        return f"{_SSH}{user}{host}{port}"

    @property
    def destination(self) -> str:
        """The arguments of `ssh`, for messages."""
        port = f"-p {self.port} " if self.port is not None else ""
        return port + (f"{self.user}@{self.host}" if self.user else self.host)

    @property
    def known_host(self) -> str:
        """Its name in `known_hosts`, quoted for a shell."""
        return self.host if self.port in (None, 22) else f"'[{self.host}]:{self.port}'"


class AdbName(NamedTuple):
    """A device of the Android Debug Bridge.

    Attributes:
        name: As the user typed it.
        serial: As `adb devices` lists it; None for the one in ANDROID_SERIAL, else the only one.
    """

    name: str
    serial: str | None


class QemuName(NamedTuple):
    """An emulated microcontroller.

    Attributes:
        name: As the user typed it.
        board: The board.
    """

    name: str
    board: Board


def parse_device_name(name: str) -> SshName | AdbName | QemuName | None:
    """Read the name of a device; None for this host.

    Raises:
        UsageError: It is no name of a device.
    """
    if name == LOCAL:
        return None
    if name.startswith(_SSH):
        return _parse_ssh(name)
    if name.startswith(EMULATED):
        return QemuName(name, board_named(name.removeprefix(EMULATED)))
    kind, colon, serial = name.partition(":")
    if kind != _ADB or (colon and not (_SERIAL.fullmatch(serial) and serial.isprintable())):
        raise UsageError(f"There is no device {name!r}.", _KNOWN)
    return AdbName(name, serial or None)


def _parse_ssh(name: str) -> SshName:
    user, at, place = name.removeprefix(_SSH).rpartition("@")
    found = _HOST.match(place)
    rest = place[found.end() :] if found else ""
    # A host or user that begins with a hyphen would be an option of ssh.
    if found is None or (at and not _USER.fullmatch(user)) or not re.fullmatch(r"(:\d{1,5})?/?", rest):
        raise UsageError(
            f"{name!r} is not the address of a device.", f"Write {_SSH}[user@]host[:port], IPv6 in brackets."
        )
    digits = rest.strip(":/")
    port = int(digits) if digits else None
    if port is not None and not 1 <= port <= 65535:
        raise UsageError(f"{name!r} has no valid port: {port}.", "Use a port from 1 to 65535.")
    return SshName(name.removesuffix("/"), found["v6"] or found["host"], user or None, port)
