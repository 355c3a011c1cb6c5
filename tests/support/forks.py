"""Starts Python programs as forks of a process that has imported TensorFlow: new ones take seconds for that each.

A run of pytest starts one server, which all its workers share; it imports TensorFlow with the first program that is
asked for. A fork is a process of its own: streams, variables, working directory and session are as `subprocess.Popen`
sets them, it runs as `__main__`, and ends with Python's and TensorFlow's clean-up. What it has imported and its peak
memory tell it from a new one: a test of these starts a new one.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SERVER = "BOPKIT_TESTS_FORK_SERVER"
"""The variable that holds the path of the server's socket."""

PRELOADED = """
    bopkit.cli.main bopkit.training.loop bopkit.export.exporter bopkit.export.verification.worker
    bopkit.benchmark.worker bopkit.benchmark.evaluate larq h5py sklearn.datasets tensorflow_datasets
""".split()
"""What most programs import."""


def start_server() -> subprocess.Popen[bytes]:
    """Start the server, and tell this process and those that it starts where it is.

    Returns:
        The server. It ends, and what it forked, when its standard input does.
    """
    path = Path(tempfile.mkdtemp(prefix="bopkit-forks-")) / "socket"
    os.environ[SERVER] = str(path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(64)
        start = f"import sys; sys.path.append({str(Path(__file__).parent)!r}); import forks; forks.serve()"
        return subprocess.Popen(
            [sys.executable, "-c", start, str(listener.fileno()), str(path)],
            stdin=subprocess.PIPE,
            pass_fds=[listener.fileno()],
            start_new_session=True,  # Ctrl-C is for the tests
        )


class ForkedPython(subprocess.Popen[Any]):
    """As `subprocess.Popen`, but `[sys.executable, "-c", CODE, *ARGUMENTS]` becomes a fork of the server."""

    _server: socket.socket | None = None

    def _execute_child(  # type: ignore[no-untyped-def]  # of Python 3.11 and 3.12
        self, args, executable, preexec_fn, close_fds, pass_fds, cwd, env, startupinfo, creationflags, shell, *rest
    ) -> None:
        if shell or args[:2] != [sys.executable, "-c"]:
            before = (args, executable, preexec_fn, close_fds, pass_fds, cwd, env, startupinfo, creationflags, shell)
            super()._execute_child(*before, *rest)  # type: ignore[misc]
            return
        *pipes, _, _, _, _, _, start_new_session, _ = rest
        child_ends = (pipes[0], pipes[3], pipes[5])
        streams = [number if end == -1 else end for number, end in enumerate(child_ends)]
        request = {
            "code": args[2],
            "arguments": args[3:],
            "directory": os.path.abspath(cwd or "."),
            "environment": dict(os.environ if env is None else env),
            "own_session": start_new_session,
        }
        self._server = socket.socket(socket.AF_UNIX)
        self._server.connect(os.environ[SERVER])
        data = json.dumps(request).encode()
        socket.send_fds(self._server, [_bytes(len(data))], streams)
        self._server.sendall(data)
        self.pid = _number(self._server)
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]

    def _internal_poll(self, _deadstate: int | None = None, **others: Any) -> int | None:
        if self._server is None:
            return super()._internal_poll(_deadstate, **others)  # type: ignore[misc]
        lock: Any = self._waitpid_lock  # type: ignore[attr-defined]
        if self.returncode is None and lock.acquire(False):
            try:
                if self.returncode is None and self._try_wait(os.WNOHANG)[0]:
                    self._handle_exitstatus(self._status)  # type: ignore[attr-defined]
            finally:
                lock.release()
        return self.returncode

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        if self._server is None:
            return super()._try_wait(wait_flags)  # type: ignore[misc]
        if wait_flags & os.WNOHANG and not _is_ready(self._server):
            return 0, 0
        try:
            self._status = _number(self._server)
        except EOFError:  # the server has ended, with all that it forked
            self._status = int(signal.SIGKILL)
        self._server.close()
        return self.pid, self._status


def _bytes(number: int) -> bytes:
    return number.to_bytes(4, "little", signed=True)


def _number(connection: socket.socket) -> int:
    return int.from_bytes(_read(connection, 4), "little", signed=True)


def _read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise EOFError("the other side has ended")
        data += more
    return data


def _is_ready(connection: socket.socket) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ)
        return bool(selector.select(0))


def serve() -> None:
    """The server's side."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _, listener, path = sys.argv
    with socket.socket(fileno=int(listener)) as opened:
        _Server(opened).run()
    os.unlink(path)
    os.rmdir(os.path.dirname(path))


class _Server:
    """Forks what is asked for, and tells how it ended."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._wake, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        self._running: dict[int, socket.socket] = {}

    def run(self) -> None:
        """Serve until standard input ends."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        with selectors.DefaultSelector() as selector:
            for source in (sys.stdin.fileno(), self._wake, self._listener):
                selector.register(source, selectors.EVENT_READ)
            while sys.stdin.fileno() not in (ready := [key.fileobj for key, _ in selector.select()]):
                if self._wake in ready:
                    self._wake.recv(4096)
                    self._reap()
                if self._listener in ready:
                    self._fork(self._listener.accept()[0])
        for pid in self._running:
            os.kill(pid, signal.SIGKILL)

    def _fork(self, connection: socket.socket) -> None:
        size, streams, _, _ = socket.recv_fds(connection, 4, 3)
        request = json.loads(_read(connection, int.from_bytes(size, "little")))
        _preload()
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for each in (self._listener, self._wake, self._waker, connection, *self._running.values()):
                each.close()
            _run(request, streams)
        for stream in streams:
            os.close(stream)
        self._running[pid] = connection
        self._tell(connection, pid)

    def _reap(self) -> None:
        while self._running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            connection = self._running.pop(pid)
            self._tell(connection, status)
            connection.close()

    def _tell(self, connection: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError):  # nobody waits for it
            connection.sendall(_bytes(number))


def _preload() -> None:
    if "tensorflow" in sys.modules:
        return
    from bopkit import keras2

    keras2.quiet = True
    with keras2.quiet_stderr():
        importlib.import_module("larq")
    keras2.quiet = False
    for name in PRELOADED:
        importlib.import_module(name)
    fork_children()
    gc.collect()
    gc.freeze()  # looking for garbage would copy every page


def fork_children(set_attribute: Any = setattr) -> None:
    """Let the processes that bopkit starts be forks; `set_attribute` may be that of pytest's `monkeypatch`."""
    from bopkit import python_process

    set_attribute(python_process, "subprocess", types.SimpleNamespace(**{**vars(subprocess), "Popen": ForkedPython}))


def run_python(code: str, *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """The finished fork of a program, with what it printed; options as of `subprocess.Popen`."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    with ForkedPython(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options) as process:
        stdout, stderr = process.communicate()
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


def _run(request: Mapping[str, Any], streams: list[int]) -> None:
    """Be the program, and end as it does."""
    if request["own_session"]:
        os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    # New ones, as the server's own remember whether what they stood for could be sought in.
    sys.stdout = open(1, "w", closefd=False)
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environment"])
    tempfile.tempdir = None  # the server's own: TMPDIR may name another one here
    sys.argv = ["-c", *request["arguments"]]
    sys.path[0:1] = ["", *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    code = 0
    try:
        exec(compile(request["code"], "<string>", "exec"), main.__dict__)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except KeyboardInterrupt:
        traceback.print_exc()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        traceback.print_exc()
        code = 1
    ctypes.pythonapi.Py_Exit(code)
