"""Devices over the Android Debug Bridge, through the user's own `adb`."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bopkit.benchmark.devices.device import DeviceLostError
from bopkit.benchmark.devices.device_names import AdbName
from bopkit.errors import BopkitError, UsageError

READY = "device"
"""The state in which a device takes commands."""

SERIAL_VARIABLE = "ANDROID_SERIAL"
"""adb's own variable for the device that is meant where none is named."""

_LIMIT_S = 60.0
_PUSH_LIMIT_S = 600.0
# Old devices do not pass the exit code on, so that the shell prints it.
_EXIT = "bopkit-exit "
_STATES = {
    "unauthorized": "Accept this host's key on its screen.",
    "offline": "Type `adb reconnect`, or plug it in again.",
    "no permissions": "Give yourself access to it: see https://developer.android.com/tools/adb.",
}


class AdbClient:
    """One device, through `adb -s SERIAL`.

    Args:
        name: As the user typed it.
        serial: As `adb devices` lists it.
    """

    def __init__(self, name: str, serial: str) -> None:
        self.name = name
        self._serial = serial

    def shell(self, command: str, limit_s: float = _LIMIT_S) -> tuple[int, str]:
        """Run a command of the device's shell.

        Args:
            command: The command.
            limit_s: Seconds after which it is given up.

        Returns:
            Its exit code, and what it printed on either stream.

        Raises:
            BopkitError: It took too long.
            DeviceLostError: The device is gone.
        """
        result = self._run(["shell", f"{{ {command}\n}} 2>&1; code=$?; echo; echo {_EXIT}$code"], limit_s)
        text = result.stdout.replace("\r", "")
        output, found, code = text.rpartition(_EXIT)
        if not found or not code.strip().isdigit():
            lines = [line for line in (result.stderr + text).splitlines() if line.strip()]
            raise self._lost(lines[-1] if lines else f"adb ended with code {result.returncode}")
        return int(code), output.removesuffix("\n")

    def push(self, path: Path, remote: str) -> None:
        """Copy a file to the device.

        Raises:
            BopkitError: It does not fit there, or may not be written.
            DeviceLostError: The device is gone.
        """
        result = self._run(["push", str(path.absolute()), remote], _PUSH_LIMIT_S)
        if result.returncode == 0:
            return
        lines = (result.stderr + result.stdout).strip().splitlines()
        said = next((line for line in lines if "error:" in line), f"adb ended with code {result.returncode}")
        if "No space left" in said:
            raise BopkitError(
                f"There is no space left on {self.name}.", "Free some space there, and run the command again."
            )
        if ": remote " in said:
            reason = said.rpartition(": remote ")[2]
            raise BopkitError(f"{path} was not copied to {self.name}: {reason}.", "Fix that on the device.")
        raise self._lost(said)

    def _run(self, arguments: Sequence[str], limit_s: float) -> subprocess.CompletedProcess[str]:
        return _adb(["-s", self._serial, *arguments], limit_s, self.name)

    def _lost(self, reason: str) -> DeviceLostError:
        reason = reason.removeprefix("adb: ").removeprefix("error: ").rstrip(".")
        return DeviceLostError(
            f"{self.name} disconnected: {reason}.", "Check its cable and screen, and run the command again."
        )


def connect(name: AdbName) -> AdbClient:
    """The device of a name, if it takes commands.

    Raises:
        UsageError: There are several, and none was named.
        BopkitError: There is no adb, or no such device, or it lets nobody in.
    """
    if not _is_installed():
        raise BopkitError("adb is not installed.", "Install it: apt install adb.")
    attached = dict(attached_devices())
    serials = list(attached)
    from_variable = os.environ.get(SERIAL_VARIABLE) if name.serial is None else None
    wanted = name.serial or from_variable
    if not wanted and len(serials) > 1:
        names = ", ".join(shlex.quote(f"adb:{serial}") for serial in serials)
        raise UsageError(f"adb sees {len(serials)} devices.", f"Name one of them: {names}.")
    serial = wanted or (serials[0] if serials else None)
    if serial is None or serial not in attached:
        source = f", which {SERIAL_VARIABLE} names" if from_variable else ""
        raise BopkitError(
            f"adb sees no device {serial}{source}." if serial else "adb sees no device.",
            "Plug one in with USB debugging on, or type `adb connect HOST:PORT`; `bopkit device list` shows them.",
        )
    state = attached[serial]
    for sign, hint in _STATES.items():
        if state.startswith(sign):
            raise BopkitError(f"{name.name} is {sign}.", hint)
    if not state.startswith(READY):
        raise BopkitError(f"{name.name} is in the state {state}.", "Start it normally.")
    return AdbClient(name.name, serial)


def attached_devices() -> list[tuple[str, str]]:
    """Serial and state of each device that adb sees; none where there is no adb."""
    if not _is_installed():
        return []
    lines = _adb(["devices"], _LIMIT_S, "adb").stdout.splitlines()
    parts = [line.split("\t", 1) for line in lines if "\t" in line]
    return [(serial.strip(), state.strip()) for serial, state in parts]


def _is_installed() -> bool:
    try:
        return subprocess.run(["adb", "version"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _adb(arguments: Sequence[str], limit_s: float, name: str) -> subprocess.CompletedProcess[str]:
    """Run adb to its end, whatever happens to this process; Ctrl-C is for bopkit, which then cleans up."""
    with subprocess.Popen(
        ["adb", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired as error:
            raise BopkitError(
                f"{name} did not answer within {limit_s:g} s.", "Check it, and run the command again."
            ) from error
        finally:
            with contextlib.suppress(OSError):
                process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)
