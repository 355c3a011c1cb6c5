"""One ssh connection to the agent on a device, through the user's own `ssh` with its config and keys.

Everything goes through this one connection, files too: a board need not have scp or sftp, and one login is enough. It
ends with this process, however that ends, and then the agent cleans up.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shlex
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from bopkit.benchmark.devices import agent
from bopkit.benchmark.devices.device import DeviceLostError
from bopkit.benchmark.devices.device_names import SshName
from bopkit.errors import BopkitError

PYTHON = "python3"
"""What runs the agent, unless `bopkit device setup --python` named another one."""

ANSWER_LIMIT_S = 300.0
"""For an answer of the agent: a slow card takes its time to write a wheel through."""

_OPTIONS = (
    "-T",
    "-o",
    "BatchMode=yes",  # a password or a question would wait for ever
    "-o",
    "ConnectTimeout=10",
    "-o",
    "ServerAliveInterval=10",  # a board whose plug was pulled says nothing
    "-o",
    "ServerAliveCountMax=3",
    "-o",
    "ClearAllForwardings=yes",  # a port that another login forwards already would end this one
)
# What the user's ssh config may say of a host, for logging in by hand, and what would keep bopkit out. A client refuses
# options that it does not know, so each comes with the version of OpenSSH that has it from then on. IgnoreUnknown
# would do without versions, but puts the one of the user's config out of force.
_OPTIONS_SINCE = (
    ((7, 6), "RemoteCommand=none"),
    ((8, 7), "StdinNull=no"),
    ((8, 7), "SessionType=default"),
    ((8, 7), "ForkAfterAuthentication=no"),
)
_VERSION = re.compile(r"OpenSSH_(?:for_Windows_)?(\d+)\.(\d+)")
_VERSION_LIMIT_S = 10.0
# The agent comes as one line, read byte by byte: what follows it is for the agent to read.
_OLD_PYTHON = "bopkit-python "
_NO_INPUT = "bopkit-no-input"
_START = (
    f'import sys,json;v=sys.version_info;v<(3,9)and sys.exit("{_OLD_PYTHON}%d.%d"%v[:2]);'
    f'l=open(0,"rb",0,closefd=False).readline();l or sys.exit("{_NO_INPUT}");'
    "exec(json.loads(l))"
)
# Without -I a file in the home folder, which comes first on the path, would stand for a module of the same name; nor do
# PYTHONHOME and PYTHONPATH count that a login may set for another Python.
_PYTHON_OPTIONS = ("-I", "-u", "-c")
_PYTHON_2 = "Unknown option: -I"
_START_LIMIT_S = 120.0
_PING_S = 10.0
_END_S = 10.0
_BLOCK_BYTES = 1 << 20


class RefusedError(BopkitError):
    """The agent answered that it cannot do something.

    Attributes:
        kind: The agent's word for it.
    """

    def __init__(self, kind: str, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.kind = kind


class Connection:
    """A connection to a device; `close` it.

    Args:
        name: Where to.
        python: What runs the agent there.
        folder: Where on the device the private directory is; None for the home folder.

    Attributes:
        facts: What the agent answers to `hello`.

    Raises:
        BopkitError: The device cannot be reached, lets nobody in, or has no Python 3.9.
    """

    def __init__(self, name: SshName, python: str = PYTHON, folder: str | None = None) -> None:
        self._name, self._python = name, python
        self._received = b""
        self._is_open = False
        self._sending = threading.Lock()
        self._closing = threading.Event()
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the connection
        try:
            self._process = subprocess.Popen(
                [*_ssh_command(name), shlex.join([python, *_PYTHON_OPTIONS, _START])],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                bufsize=0,  # a full pipe must not keep `close` waiting
                # Ctrl-C is for bopkit, which then closes the connection and waits until the device is clean.
                start_new_session=True,
            )
        except FileNotFoundError as error:
            self._stderr.close()
            raise BopkitError("ssh is not installed.", "Install it: apt install openssh-client.") from error
        threading.Thread(target=self._ping, daemon=True).start()
        try:
            self._send(json.dumps(Path(agent.__file__).read_text()).encode() + b"\n")
            self.facts: dict[str, Any] = self.request("hello", _START_LIMIT_S, folder=folder)
        except BaseException:
            self.close()
            raise
        self._is_open = True

    def request(self, do: str, answer_limit_s: float = ANSWER_LIMIT_S, **values: Any) -> dict[str, Any]:
        """Send a request to the agent, and wait for its answer.

        Args:
            do: What to do: a `do_` method of the agent's `Session`, without that prefix.
            answer_limit_s: Time for the answer, in seconds.
            values: Its arguments.

        Raises:
            RefusedError: The agent cannot do it.
            DeviceLostError: The connection is gone.
        """
        self._send(json.dumps({"do": do, **values}).encode() + b"\n")
        return self._answer(time.monotonic() + answer_limit_s)

    def send_file(self, do: str, path: Path, name: str, sha256: str) -> None:
        """Send a file.

        Args:
            do: `put` or `stage`.
            path: The file on this host.
            name: What it is called on the device.
            sha256: What has to arrive.

        Raises:
            BopkitError: It cannot be read here.
            RefusedError: It does not fit there, or arrived damaged.
            DeviceLostError: The connection is gone.
        """
        try:
            data = path.read_bytes()  # whole: a file that ends early would leave the agent waiting for the rest
        except OSError as error:
            raise BopkitError(f"{path} cannot be read: {error.strerror}.", "Check its disk and permissions.") from error
        header = json.dumps({"do": do, "name": name, "size": len(data), "sha256": sha256}).encode() + b"\n"
        self._send(header)
        self._send(data)
        self._answer(time.monotonic() + ANSWER_LIMIT_S)

    def close(self) -> None:
        """End the connection, and wait until the agent has cleaned up."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._closing.set()
        try:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_S)
        finally:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()
            self._stderr.close()

    def _send(self, data: bytes) -> None:
        assert self._process.stdin is not None
        try:
            with self._sending:
                rest = memoryview(data)
                while rest:
                    rest = rest[self._process.stdin.write(rest) :]
        except OSError as error:
            raise self._lost() from error

    def _ping(self) -> None:
        """Tell the agent now and then that somebody is here, also between requests: there may be a long pause."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, ValueError):  # the next request says why it is gone
            while not self._closing.wait(_PING_S):
                with self._sending:
                    self._process.stdin.write(b"\n")

    def _answer(self, deadline_s: float) -> dict[str, Any]:
        while True:
            line = self._line(deadline_s)
            if line.startswith(agent.MARK.encode()):
                break
        answer = json.loads(line[len(agent.MARK) :])
        if "refused" in answer:
            raise self._refused(answer["refused"], answer["text"])
        result: dict[str, Any] = answer["ok"]
        return result

    def _line(self, deadline_s: float) -> bytes:
        """The next line that the device prints."""
        while True:
            line, newline, rest = self._received.partition(b"\n")
            if newline:
                self._received = rest
                return line
            self._received += self._read(deadline_s)

    def _read(self, deadline_s: float) -> bytes:
        """What the device prints next."""
        assert self._process.stdout is not None
        stream = self._process.stdout.fileno()
        readable, _, _ = select.select([stream], [], [], max(deadline_s - time.monotonic(), 0))
        if not readable:
            raise DeviceLostError(f"{self._name.name} no longer answers.", _AGAIN)
        data = os.read(stream, _BLOCK_BYTES)
        if not data:
            raise self._lost()
        return data

    def _lost(self) -> BopkitError:
        """Why the connection ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        code = self._process.poll()
        self._stderr.seek(0)
        said = self._stderr.read().decode(errors="replace")
        if not self._is_open:
            return _cannot_connect(self._name, self._python, code, said)
        lines = [line for line in said.strip().splitlines() if line.strip()]
        reason = lines[-1].strip().rstrip(".") if lines else f"ssh ended with code {code}"
        return DeviceLostError(f"{self._name.name} disconnected: {reason}.", _AGAIN)

    def _refused(self, kind: str, text: str) -> RefusedError:
        name = self._name.name
        messages = {
            "full": (
                f"There is no space left on {name} ({text}).",
                "Free some space there, and run the command again.",
            ),
            "damaged": (f"{text} arrived damaged on {name}.", "Run the command again."),
            "wheel": (f"{name} cannot unpack {text}.", "Remove that wheel, and run the command again."),
            "busy": (f"Another bopkit process is using {name}.", "Wait until it is done."),
            "late": (f"The run on {name} took too long and was ended.", "Use fewer runs, or a smaller network."),
            "cores": (f"{name} has none of the cores of the CPU mask.", f"It has cores {text}."),
            "import": (
                f"The runtime does not start on {name}: {text}.",
                other_folder_hint(name)
                if any(sign in text for sign in _CANNOT_EXECUTE)
                else "Name another Python of the device with --python.",
            ),
            "folder": (f"{name} has no folder {text}.", f"Make it there, or name another: {_setup_in(name, 'PATH')}."),
            "owner": (f"{text} on {name} is another user's.", f"Name another folder: {_setup_in(name, 'PATH')}."),
        }
        message, hint = messages.get(kind, (f"{name} says: {text}.", "Fix that on the device."))
        return RefusedError(kind, message, hint)


def other_folder_hint(name: str, folder: str | None = None) -> str:
    """What to type where the device runs no files from its folder.

    Args:
        name: Of the device.
        folder: One that it runs files from; None for none that is known.
    """
    return f"Name a folder of the device that files may run from: {_setup_in(name, folder or 'PATH')}."


def _setup_in(name: str, folder: str) -> str:
    return f"`bopkit device setup {name} --folder {folder}`"


# What the loader says of a library on a file system that is mounted noexec.
_CANNOT_EXECUTE = ("failed to map segment", "Operation not permitted")
_AGAIN = "Check its power and network, and run the command again."


def _ssh_command(name: SshName) -> list[str]:
    user = ["-l", name.user] if name.user is not None else []
    port = ["-p", str(name.port)] if name.port is not None else []
    version = _ssh_version()
    known = [option for since, option in _OPTIONS_SINCE if version >= since]
    options = [part for option in known for part in ("-o", option)]
    return ["ssh", *_OPTIONS, *options, *port, *user, "--", name.host]


def _ssh_version() -> tuple[int, int]:
    """Of the user's OpenSSH; (0, 0) where it is another ssh, or none."""
    try:
        result = subprocess.run(
            ["ssh", "-V"], stdin=subprocess.DEVNULL, capture_output=True, timeout=_VERSION_LIMIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0, 0
    found = _VERSION.search((result.stderr + result.stdout).decode(errors="replace"))
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _cannot_connect(name: SshName, python: str, code: int | None, said: str) -> BopkitError:
    """The error for what ssh, or the shell on the device, printed."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if code == _SSH_FAILED:
        for signs, message, hint in _SSH_FAILURES:
            if any(sign in said for sign in signs):
                text = message.format(name=name.name, host=name.host)
                return BopkitError(text, hint.format(destination=name.destination, known_host=name.known_host))
        reason = lines[-1].rstrip(".") if lines else "ssh does not say why"
        return BopkitError(f"{name.name} cannot be reached: {reason}.", f"Try `ssh {name.destination} true`.")
    other_python = f"If it has another one, name it: `bopkit device setup {name.name} --python PATH`."
    for line in lines:
        if line.startswith(_OLD_PYTHON):
            version = line.removeprefix(_OLD_PYTHON)
            return BopkitError(f"{python} of {name.name} is Python {version}; 3.9 or newer is needed.", other_python)
        if line == _NO_INPUT:
            return BopkitError(
                f"What runs on {name.name} at login reads the input that is meant for bopkit.",
                f"Type `echo hello | ssh {name.destination} cat`: it has to print hello.",
            )
    if _PYTHON_2 in said:
        return BopkitError(f"{python} of {name.name} is Python 2; 3.9 or newer is needed.", other_python)
    if code in (126, 127):  # what shells answer for what they cannot run or find
        return BopkitError(
            f"{name.name} has no {python} that runs.", f"Install Python 3.9 or newer on it. {other_python}"
        )
    if _OLD_PYTHON in said:  # it took the code for something else, and says so
        return BopkitError(f"{python} of {name.name} is not a Python interpreter.", other_python)
    reason = lines[-1].rstrip(".") if lines else f"code {code}"
    return BopkitError(
        f"{python} on {name.name} ended at once: {reason}.", f"Try `ssh {name.destination} {python} --version`."
    )


_SSH_FAILED = 255
# What OpenSSH prints; the first that is found counts.
_SSH_FAILURES = (
    (
        ("Could not resolve hostname",),
        "No host is called {host}.",
        "Check the name, or give its address: ssh://user@192.168.1.20.",
    ),
    (
        ("REMOTE HOST IDENTIFICATION HAS CHANGED",),
        "{name} has another host key than before.",
        "If it was reinstalled, type `ssh-keygen -R {known_host}`, then `ssh {destination}` once and accept its key.",
    ),
    (
        ("Host key verification failed", "host key is known"),
        "The host key of {name} is not known here.",
        "Type `ssh {destination}` once and accept its key.",
    ),
    (
        ("Permission denied", "Too many authentication failures"),
        "{name} accepts none of your keys.",
        "Type `ssh-copy-id {destination}`; a key with a passphrase has to be in the agent: `ssh-add`.",
    ),
    (
        ("Connection refused",),
        "{name} refuses the connection: no ssh server listens there.",
        "Start one, or name its port: ssh://user@host:2222.",
    ),
    (
        ("timed out", "No route to host", "Network is unreachable", "Host is down"),
        "{name} does not answer.",
        "Check that it is on, and in the same network as this host.",
    ),
)
