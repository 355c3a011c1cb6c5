"""A scripted device for the real `adb`: enough of adbd's protocol over TCP for `connect`, `shell` and `push`.

It is no Android: commands run in this host's shell, with a folder of the test in the place of `/data/local/tmp` and of
`/sys`. As an old adbd it passes no exit codes on, and lets commands go on when their stream is closed: the worst case.
"""

import contextlib
import os
import shutil
import socket
import struct
import subprocess
import threading

MISSING = None if shutil.which("adb") else "needs adb (apt)"

_NAMES = ("CNXN", "OPEN", "OKAY", "CLSE", "WRTE")
_COMMANDS = {name: int.from_bytes(name.encode(), "little") for name in _NAMES}
_VERSION = 0x01000000
_MOST_BYTES = 4096


class ScriptedDevice:
    """A device that listens; `stop` it.

    Args:
        folder: An empty folder for what is on it.
        properties: What `getprop` answers, by name.

    Attributes:
        serial: What `adb connect` takes and `adb devices` shows.
        root: Holds `data/local/tmp` and `sys`.
        commands: Shell commands that came, in order.
    """

    def __init__(self, folder, properties):
        self.root = folder
        self.temporary = folder / "data" / "local" / "tmp"
        self.temporary.mkdir(parents=True)
        (folder / "bin").mkdir()
        cases = "\n".join(f"{name}) echo '{value}';;" for name, value in properties.items())
        getprop = folder / "bin" / "getprop"
        getprop.write_text(f'#!/bin/sh\ncase "$1" in\n{cases}\nesac\n')
        getprop.chmod(0o755)
        self.commands = []
        self.is_full = False
        self._connections = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.serial = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def add_system_file(self, path, text):
        """Put a file below `/sys`."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def pull_plug(self):
        """Cut all connections, and take no new ones."""
        self._listener.close()
        for connection in self._connections:
            connection.close()

    def stop(self):
        """End it."""
        self.pull_plug()

    def _accept(self):
        while True:
            try:
                connection = _Connection(self._listener.accept()[0], self)
            except OSError:
                return
            self._connections.append(connection)
            threading.Thread(target=connection.serve, daemon=True).start()


class _Connection:
    """One adb server at the other end."""

    def __init__(self, connected, device):
        self._socket, self._device = connected, device
        self._sending = threading.Lock()
        self._streams = {}

    def close(self):
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def serve(self):
        try:
            while True:
                header = self._receive(24)
                command, first, second, size, _, _ = struct.unpack("<6I", header)
                self._handle(command, first, second, self._receive(size))
        except OSError:
            return

    def send(self, name, first, second, data=b""):
        command = _COMMANDS[name]
        header = struct.pack("<6I", command, first, second, len(data), sum(data) & 0xFFFFFFFF, command ^ 0xFFFFFFFF)
        with self._sending:
            self._socket.sendall(header + data)

    def _handle(self, command, first, second, data):
        if command == _COMMANDS["CNXN"]:
            self.send("CNXN", _VERSION, _MOST_BYTES, b"device::ro.product.model=Scripted;\0")
        elif command == _COMMANDS["OPEN"]:
            self._open(first, data.rstrip(b"\0").decode())
        elif second in self._streams:
            stream = self._streams[second]
            if command == _COMMANDS["OKAY"]:
                stream.may_write.set()
            elif command == _COMMANDS["WRTE"]:
                self.send("OKAY", second, first)
                stream.receive(data)
            elif command == _COMMANDS["CLSE"]:
                del self._streams[second]
                stream.may_write.set()

    def _open(self, remote, service):
        local = len(self._streams) + 1 + 1000 * len(self._device.commands)
        kind, _, rest = service.partition(":")
        if kind not in ("shell", "sync"):
            self.send("CLSE", 0, remote)
            return
        stream = _Stream(self, local, remote, self._device)
        self._streams[local] = stream
        self.send("OKAY", local, remote)
        if kind == "shell":
            self._device.commands.append(rest)
            threading.Thread(target=stream.run, args=(rest,), daemon=True).start()

    def _receive(self, size):
        data = b""
        while len(data) < size:
            part = self._socket.recv(size - len(data))
            if not part:
                raise OSError("closed")
            data += part
        return data


class _Stream:
    """One service that is open."""

    def __init__(self, connection, local, remote, device):
        self._connection, self._local, self._remote, self._device = connection, local, remote, device
        self.may_write = threading.Event()
        self._received = b""
        self._file = None

    def run(self, command):
        """`shell:`: what the command prints, then the end."""
        root = str(self._device.root)
        for folder in ("/data/local/tmp", "/sys/"):
            command = command.replace(folder, root + folder)
        process = subprocess.Popen(
            ["/bin/sh", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={"PATH": f"{root}/bin:{os.environ['PATH']}"},
        )
        try:
            for line in process.stdout:
                self._write(line.replace(root.encode(), b"").replace(b"\n", b"\r\n"))
            self._connection.send("CLSE", self._local, self._remote)
        except OSError:
            return

    def receive(self, data):
        """`sync:`: files that are pushed."""
        self._received += data
        while len(self._received) >= 8:
            name, size = struct.unpack("<4sI", self._received[:8])
            body = 0 if name == b"DONE" else size
            if len(self._received) < 8 + body:
                return
            value, self._received = self._received[8 : 8 + body], self._received[8 + body :]
            self._sync(name, value)

    def _sync(self, name, value):
        if name == b"STAT":
            self._answer(struct.pack("<4s3I", b"STAT", 0, 0, 0))
        elif name == b"SEND":
            path = value.decode().rpartition(",")[0]
            self._file = open(str(self._device.root) + path, "wb")
        elif name == b"DATA":
            self._file.write(value)
        elif name == b"DONE":
            self._file.close()
            if self._device.is_full:
                reason = b"couldn't write: No space left on device"
                self._answer(struct.pack("<4sI", b"FAIL", len(reason)) + reason)
            else:
                self._answer(struct.pack("<4sI", b"OKAY", 0))
        elif name == b"QUIT":
            self._connection.send("CLSE", self._local, self._remote)

    def _write(self, data):
        """Send output in parts, each once the one before was taken."""
        for start in range(0, len(data), _MOST_BYTES):
            self.may_write.clear()
            self._connection.send("WRTE", self._local, self._remote, data[start : start + _MOST_BYTES])
            self.may_write.wait(20)

    def _answer(self, data):
        """Send a short answer from the thread that would see it taken."""
        self._connection.send("WRTE", self._local, self._remote, data)
