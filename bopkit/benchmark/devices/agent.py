"""The device's side of an ssh connection: Python 3.9 without packages, sent as text and run from memory.

It reads requests from stdin and answers on stdout. A request is a line of JSON, followed by as many bytes as its
`size` says; an answer is `MARK` and a line of JSON. When stdin ends, or nothing comes for `SILENCE_S`, what it started
is killed and what it wrote for the session is removed: bopkit may be stopped, killed or cut off.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import json
import os
import platform
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

MARK = "bopkit-agent "
"""Begins each answer: a login shell may print lines of its own first."""

SILENCE_S = 60.0
"""The other side says something every few seconds; after so long without a word it is gone."""

IMPORT_LIMIT_S = 600.0
"""For the first start of a runtime: an emulated board takes minutes."""

FORMAT = 1
"""Of the private directory, and of what the runtime in it prints: one of another format has to be set up again."""

_ROOT = ".bopkit-device"
_SESSION, _NEW, _OLD, _RUNTIME = "session-", "new-", "old-", "runtime"
_MANIFEST, _LOCK, _SITE = "manifest.json", ".lock", "site"
_OTHER_FOLDERS = ("/var/tmp", "/opt", "/srv", "/tmp")  # the last is empty after a restart
_YOUNG_S = 60.0  # a folder that nobody has locked may be one that another connection is just making
_END_S = 5.0  # a process closes its streams a moment before it has ended
_PR_SET_PDEATHSIG = 1
_DESCRIBE = """
import json, bopkit_runtime
from bopkit_runtime import litert, machine
litert.import_litert()
print(json.dumps({"isas": bopkit_runtime.isas(), "cpu": machine.cpu_name()}))
"""


class Refused(Exception):
    """A request cannot be fulfilled: `kind` is a word that `ssh_connection` knows, `text` says more."""

    def __init__(self, kind: str, text: str = "") -> None:
        super().__init__(text)
        self.kind = kind
        self.text = text


class Gone(Exception):
    """Nobody is at the other side."""


class Input:
    """Requests from stdin."""

    def __init__(self) -> None:
        self._waiting = b""

    def line(self) -> bytes:
        """The next line that is not empty: empty ones only say that the other side is there."""
        while True:
            line, newline, rest = self._waiting.partition(b"\n")
            if not newline:
                self._waiting += self._read(SILENCE_S)
                continue
            self._waiting = rest
            if line.strip():
                return line

    def parts(self, size: int) -> Iterator[bytes]:
        """Yield the next `size` bytes, in parts."""
        while size:
            if not self._waiting:
                self._waiting = self._read(SILENCE_S)
            part, self._waiting = self._waiting[:size], self._waiting[size:]
            size -= len(part)
            yield part

    def take(self) -> None:
        """Keep for later what is there now."""
        self._waiting += self._read(0)

    @staticmethod
    def _read(timeout_s: float) -> bytes:
        readable, _, _ = select.select([0], [], [], timeout_s)
        data = os.read(0, 1 << 20) if readable else b""
        if not data:
            raise Gone
        return data


def answer(value: dict[str, Any]) -> None:
    """Send one answer, on a line of its own whatever a shell printed before."""
    data = ("\n" + MARK + json.dumps(value) + "\n").encode()
    try:
        while data:
            data = data[os.write(1, data) :]
    except BrokenPipeError as error:
        raise Gone from error


class Session:
    """One connection: answers requests, and removes its files at the end."""

    def __init__(self) -> None:
        self.input = Input()
        self.root = os.path.join(os.path.expanduser("~"), _ROOT)
        self._folders: dict[str, str] = {}  # those of this session, by their prefix
        self._locks: dict[str, int] = {}
        self._child: subprocess.Popen[bytes] | None = None

    def serve(self) -> None:
        """Answer one request after the other until the other side is gone.

        Raises:
            Gone: It is.
        """
        while True:
            request = json.loads(self.input.line())
            try:
                answer({"ok": getattr(self, "do_" + request["do"])(request)})
            except Refused as refusal:
                answer({"refused": refusal.kind, "text": refusal.text})
            except OSError as error:
                is_full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
                where = "" if error.filename is None else f": {error.filename}"
                answer({"refused": "full" if is_full else "system", "text": f"{error.strerror or error}{where}"})

    def do_hello(self, request: dict[str, Any]) -> dict[str, Any]:
        """Facts of the device, and what is installed; removes what is left of sessions that died without a word.

        Raises:
            Refused: There is no such folder, or what is in it is somebody else's.
        """
        if request.get("folder"):
            self._choose_folder(request["folder"])
        self._remove_leftovers()
        return {
            "python": list(sys.version_info[:3]),
            "implementation": platform.python_implementation(),
            "bits": struct.calcsize("P") * 8,
            "platform": sys.platform,
            "machine": platform.machine(),
            "glibc": glibc(),
            "cores": os.cpu_count() or 1,
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "os": operating_system(),
            "cpu": cpu(),
            "root": self.root,
            "free_bytes": free_bytes(self.root),
            "runs_files": runs_files(self.root),
            "other_folders": [each for each in _OTHER_FOLDERS if os.access(each, os.W_OK) and runs_files(each)],
            "manifest": self._manifest(),
        }

    def do_reserve(self, request: dict[str, Any]) -> dict[str, Any]:
        """Keep the device for this connection, before anything is copied beside what another one measures."""
        self._lock_device()
        return {}

    def do_put(self, request: dict[str, Any]) -> dict[str, Any]:
        """Write a file into the folder of the session."""
        self._put(_SESSION, request)
        return {}

    def do_stage(self, request: dict[str, Any]) -> dict[str, Any]:
        """Take a wheel of the runtime that is being set up, and unpack it."""
        wheel = self._put(_NEW, request)
        try:
            unpack(wheel, os.path.join(self._open_folder(_NEW), _SITE))
        except (zipfile.BadZipFile, zlib.error) as error:
            raise Refused("wheel", f"{request['name']}: {error}") from error
        os.unlink(wheel)  # one at a time: the disk may not hold all of them twice
        return {}

    def do_install(self, request: dict[str, Any]) -> dict[str, Any]:
        """Try what was staged, and put it in the place of the runtime that was there."""
        stage = self._open_folder(_NEW)
        command = [sys.executable, "-c", _DESCRIBE]
        tried = self._run(command, os.path.join(stage, _SITE), stage, IMPORT_LIMIT_S, None)
        if tried["code"] != 0:
            raise Refused("import", (tried["errors"].strip().splitlines() or [f"code {tried['code']}"])[-1])
        facts = json.loads(tried["output"].strip().splitlines()[-1])
        manifest = {**request["manifest"], **facts, "format": FORMAT, "python": python_name()}
        write_through(os.path.join(stage, _MANIFEST), json.dumps(manifest, indent=2))
        old = tempfile.mkdtemp(prefix=_OLD, dir=self.root)
        runtime = os.path.join(self.root, _RUNTIME)
        with contextlib.suppress(FileNotFoundError):
            os.rename(runtime, os.path.join(old, _RUNTIME))
        os.rename(stage, runtime)
        del self._folders[_NEW]
        shutil.rmtree(old, ignore_errors=True)
        return manifest

    def do_run(self, request: dict[str, Any]) -> dict[str, Any]:
        """Run `python -m bopkit_runtime` with these arguments, in the folder of the session."""
        site = os.path.join(self.root, _RUNTIME, _SITE)
        command = [sys.executable, "-m", "bopkit_runtime", *request["arguments"]]
        return self._run(command, site, self._open_folder(_SESSION), request["limit_s"], request["cores"])

    def do_remove(self, request: dict[str, Any]) -> dict[str, Any]:
        """Remove the private directory; whether there was one."""
        was_there = os.path.isdir(self.root)
        if was_there:
            self._lock_device()
            shutil.rmtree(self.root)
        return {"removed": was_there}

    def end(self) -> None:
        """Kill what runs, remove the files of this session, and the private directory if it holds no runtime."""
        if self._child is not None:
            kill(self._child)
        for folder in self._folders.values():
            shutil.rmtree(folder, ignore_errors=True)
        self._folders.clear()
        with contextlib.suppress(OSError, Refused):
            if set(os.listdir(self.root)) <= {_LOCK}:
                self._lock_device()  # which another connection may hold, that has copied nothing yet
                shutil.rmtree(self.root)

    def _choose_folder(self, folder: str) -> None:
        """Keep the private directory in this folder; a relative one is below the home."""
        folder = os.path.normpath(os.path.join(os.path.expanduser("~"), os.path.expanduser(folder)))
        if not os.path.isdir(folder):
            raise Refused("folder", folder)
        self.root = os.path.join(folder, _ROOT)
        # In a folder where everybody may write, another user could have put programs for this one to run.
        if os.path.lexists(self.root) and (os.path.islink(self.root) or os.stat(self.root).st_uid != os.getuid()):
            raise Refused("owner", self.root)

    def _put(self, prefix: str, request: dict[str, Any]) -> str:
        """Write a file that comes behind its request into a folder of the session; where it is.

        Raises:
            Refused: It is not the one that was sent.
        """
        parts = self.input.parts(request["size"])
        digest = hashlib.sha256()
        try:
            path = os.path.join(self._open_folder(prefix), os.path.basename(request["name"]))
            with open(path, "wb") as file:
                for part in parts:
                    digest.update(part)
                    file.write(part)
        finally:
            for _ in parts:  # what could not be written: the next request comes after it
                pass
        if digest.hexdigest() != request["sha256"]:
            raise Refused("damaged", request["name"])
        return path

    def _open_folder(self, prefix: str) -> str:
        if prefix not in self._folders:
            os.makedirs(self.root, mode=0o700, exist_ok=True)
            folder = self._folders[prefix] = tempfile.mkdtemp(prefix=prefix, dir=self.root)
            self._locks[prefix] = locked(os.path.join(folder, _LOCK))
        return self._folders[prefix]

    def _lock_device(self) -> None:
        """Let one connection measure at a time, and none replace what another one runs.

        Raises:
            Refused: Another one does.
        """
        if _RUNTIME not in self._locks:
            os.makedirs(self.root, mode=0o700, exist_ok=True)
            try:
                self._locks[_RUNTIME] = locked(os.path.join(self.root, _LOCK))
            except BlockingIOError as error:
                raise Refused("busy") from error

    def _remove_leftovers(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(self.root):
                folder = os.path.join(self.root, name)
                if name.startswith((_SESSION, _NEW, _OLD)) and is_left_over(folder):
                    shutil.rmtree(folder, ignore_errors=True)

    def _manifest(self) -> dict[str, Any] | None:
        try:
            with open(os.path.join(self.root, _RUNTIME, _MANIFEST)) as file:
                manifest: dict[str, Any] = json.load(file)
        except (OSError, ValueError):
            return None
        is_current = (manifest.get("format"), manifest.get("python")) == (FORMAT, python_name())
        return {**manifest, "is_current": is_current}

    def _run(
        self, command: list[str], site: str, folder: str, limit_s: float, cores: list[int] | None
    ) -> dict[str, Any]:
        """Run a command to its end, for so long as the other side is there."""
        # A login may set PYTHONHOME and the like for another Python.
        own = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        environment = {**own, "PYTHONPATH": site, "PYTHONNOUSERSITE": "1", "PYTHONIOENCODING": "utf-8"}
        self._child = child = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # for `kill`
            preexec_fn=prepared(cores),
        )
        assert child.stdout is not None and child.stderr is not None
        texts: dict[int, list[bytes]] = {child.stdout.fileno(): [], child.stderr.fileno(): []}
        try:
            self._read_to_the_end(texts, time.monotonic() + limit_s)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_END_S)
        finally:
            kill(child)
            self._child = None
            child.stdout.close()
            child.stderr.close()
        output, errors = (b"".join(parts).decode("utf-8", "replace") for parts in texts.values())
        return {"code": child.returncode, "output": output, "errors": errors}

    def _read_to_the_end(self, texts: dict[int, list[bytes]], deadline_s: float) -> None:
        still_open = set(texts)
        heard_s = time.monotonic()
        while still_open:
            wait_s = max(0.0, min(deadline_s, heard_s + SILENCE_S) - time.monotonic())
            readable, _, _ = select.select([0, *still_open], [], [], wait_s)
            if 0 in readable:
                self.input.take()
                heard_s = time.monotonic()
            for stream in still_open & set(readable):
                data = os.read(stream, 1 << 20)
                texts[stream].append(data)
                if not data:
                    still_open.remove(stream)
            if time.monotonic() >= deadline_s:
                raise Refused("late")
            if time.monotonic() >= heard_s + SILENCE_S:
                raise Gone


def prepared(cores: list[int] | None) -> Any:
    """A function for a child to call before it starts its command: it dies with this process, and keeps to its cores.

    Raises:
        Refused: There are no such cores.
    """
    if cores is not None and not set(cores) & os.sched_getaffinity(0):
        raise Refused("cores", ", ".join(map(str, sorted(os.sched_getaffinity(0)))))
    libc = ctypes.CDLL(None)

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if cores is not None:
            os.sched_setaffinity(0, cores)

    return prepare


def kill(child: subprocess.Popen[bytes]) -> None:
    """End a child with all that it started."""
    if child.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def locked(path: str) -> int:
    """A file that is locked until this process ends, however it ends.

    Raises:
        BlockingIOError: Another process holds it.
    """
    import fcntl  # not on Windows, where bopkit imports this module too

    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise
    return handle


def is_left_over(folder: str) -> bool:
    """Whether nobody holds the lock of a session's folder."""
    with contextlib.suppress(OSError):
        if time.time() - os.stat(folder).st_mtime < _YOUNG_S and not os.path.exists(os.path.join(folder, _LOCK)):
            return False
        os.close(locked(os.path.join(folder, _LOCK)))
        return True
    return False


def unpack(wheel: str, site: str) -> None:
    """What installing a wheel comes to, but for scripts: its packages into one folder."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    for name in os.listdir(site):
        if name.endswith(".data"):
            for part in ("purelib", "platlib"):
                folder = os.path.join(site, name, part)
                if os.path.isdir(folder):
                    shutil.copytree(folder, site, dirs_exist_ok=True)
            shutil.rmtree(os.path.join(site, name))


def write_through(path: str, text: str) -> None:
    """Write a file that is on the disk before anything is renamed: boards are switched off by their plug."""
    with open(path, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def python_name() -> str:
    """The Python and processor that compiled packages are for."""
    bits = struct.calcsize("P") * 8
    return f"cp{sys.version_info[0]}{sys.version_info[1]}-{platform.machine()}-{bits}"


def glibc() -> list[int] | None:
    """Version of the GNU C library; None for another one, as on Alpine."""
    try:
        name, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()
    except (ValueError, OSError):
        return None
    return [int(part) for part in version.split(".")[:2]] if name == "glibc" else None


def operating_system() -> str:
    """Distribution and kernel."""
    kernel = f"{platform.system()} {platform.release()}"
    for line in text_of("/etc/os-release").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip("\"'") + ", " + kernel
    return kernel


def cpu() -> str:
    """Name of the board or of the processor, as far as Linux tells it without a table."""
    board = text_of("/proc/device-tree/model").strip("\0\n ")
    names = [line.partition(":")[2] for line in text_of("/proc/cpuinfo").splitlines() if line.startswith("model name")]
    return board or (names[0].strip() if names else platform.machine())


def text_of(path: str) -> str:
    """The text of a file; empty where it cannot be read."""
    try:
        with open(path, errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def free_bytes(folder: str) -> int:
    """Free space of the disk of a folder, which need not exist yet."""
    status = disk_status(folder)
    return status.f_bavail * status.f_frsize


def runs_files(folder: str) -> bool:
    """Whether the disk of a folder, which need not exist yet, is mounted so that programs and libraries run from it."""
    return not disk_status(folder).f_flag & os.ST_NOEXEC


def disk_status(folder: str) -> os.statvfs_result:
    """Facts of the disk of a folder, which need not exist yet."""
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return os.statvfs(folder)


def main() -> None:
    """Serve one connection."""
    session = Session()
    signals = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    for number in signals:
        signal.signal(number, lambda got, frame: sys.exit(128 + got))
    try:
        with contextlib.suppress(Gone):
            session.serve()
    finally:
        for number in signals:
            signal.signal(number, signal.SIG_IGN)
        session.end()


if __name__ == "__main__":
    main()
