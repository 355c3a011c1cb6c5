"""Call a function in a process of its own, so that whatever a damaged file does there becomes one line here."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bopkit.errors import BopkitError, UsageError

_OWN_PATH = """
import os, sys
sys.path[:] = [path for path in sys.path if os.path.abspath(path) != os.getcwd()]
"""
_HINT = "The file is damaged, or memory ran out: copy or export it again, or use a machine with more memory."

_END_S = 2.0
"""A process that ends closes its pipes first, and its exit code, which tells why, comes a moment later."""

ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "-1",  # a file that is only looked at or measured on the CPU holds no GPU
    "TF_CPP_MIN_LOG_LEVEL": "2",  # errors only: the last line tells why a process ended
}


def python_command(code: str) -> list[str]:
    """The command for code in a Python of its own that imports nothing from the working directory.

    Python puts that first on the path, where a user's h5py.py or queue.py would hide the real one.
    """
    return [sys.executable, "-c", _OWN_PATH + code]


class Child:
    """A process that calls functions of bopkit one after the other. It starts with the first call, and again with
    the next one after it died; it ends with this process.

    Args:
        environment: Variables that it has besides those of this process.
        work: What it does with the subject of a call, for messages: `read`.
        hint: What to do when it dies.
    """  # noqa: D205

    def __init__(self, environment: Mapping[str, str] | None = None, work: str = "read", hint: str = _HINT) -> None:
        self._environment = dict(environment or {})
        self._work, self._hint = work, hint
        self._process: subprocess.Popen[str] | None = None
        self._stderr: Any = None
        self.starts = 0
        """How many processes were started so far."""

    def call(self, function: str, *arguments: Any, subject: str, timeout_s: float | None = None) -> Any:
        """Call a function of bopkit with JSON values.

        Args:
            function: Dotted name of its module, a colon, and its name.
            arguments: Its arguments.
            subject: The file that it works on, for the message.
            timeout_s: Seconds after which the process is killed; None to wait for ever.

        Returns:
            What the function returned, as JSON gives it back.

        Raises:
            BopkitError: The function raised an error, which is passed on with its traceback as a note, or its process
                died or was too slow.
        """
        process = self._started()
        assert process.stdin is not None and process.stdout is not None
        late = threading.Event()

        def stop() -> None:
            late.set()
            _kill(process)

        timer = threading.Timer(timeout_s, stop) if timeout_s is not None else None
        answer = ""
        try:
            if timer:
                timer.start()
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps([function, arguments]) + "\n")
                process.stdin.flush()
            answer = process.stdout.readline()
            if not answer.endswith("\n"):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=_END_S)
        finally:
            if timer:
                timer.cancel()
            if not answer.endswith("\n"):
                _kill(process)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=_END_S)  # until then it can still write into a folder that is being removed
                self._process = None
        if not answer.endswith("\n"):
            end = f"needed more than {timeout_s:g} s" if late.is_set() else self._end_of(process)
            raise BopkitError(f"The process that {self._work} {subject} {end}.", self._hint)
        values = json.loads(answer)
        if "message" in values:
            kind = UsageError if values["exit_code"] == UsageError.exit_code else BopkitError
            error = kind(values["message"], values["hint"])
            error.add_note(values["traceback"])  # seen with --debug
            raise error
        return values["result"]

    def close(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            _kill(self._process)
            self._process.wait()
            self._process = None
        if self._stderr is not None:
            self._stderr.close()  # which removes it
            self._stderr = None

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            self._stderr = tempfile.NamedTemporaryFile(prefix="bopkit-", suffix=".txt")  # noqa: SIM115
            self._process = subprocess.Popen(
                python_command("from bopkit.isolation import serve; serve()"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                env={**os.environ, **ENVIRONMENT, **self._environment},
                encoding="utf-8",
                start_new_session=True,  # for `_kill`
            )
            self.starts += 1
        return self._process

    def _end_of(self, process: subprocess.Popen[str]) -> str:
        return describe_end(process.wait(), Path(self._stderr.name))


def _kill(process: subprocess.Popen[str]) -> None:
    """Kill a child with all that it started: one of those could keep its end of the pipe open."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


@contextlib.contextmanager
def child(environment: Mapping[str, str] | None = None, work: str = "read", hint: str = _HINT) -> Iterator[Child]:
    """Yield a `Child`, whose arguments these are, that ends with the block."""
    process = Child(environment, work, hint)
    try:
        yield process
    finally:
        process.close()


def describe_end(return_code: int, stderr: Path) -> str:
    """How a process ended, e.g. `was ended by SIGSEGV`; `stderr` is the file that its messages went to."""
    if return_code < 0:
        return f"was ended by {signal.Signals(-return_code).name}"
    lines = stderr.read_text(errors="replace").strip().splitlines()
    return f"ended with code {return_code}" + (f": {lines[-1][:200]}" if lines else "")


def serve() -> None:
    """The child's side: answer one line of JSON with another until the parent is gone."""
    from bopkit.failures import translate

    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no answer
    for line in sys.stdin:
        function, arguments = json.loads(line)
        module, _, name = function.partition(":")
        try:
            answer: dict[str, Any] = {"result": getattr(importlib.import_module(module), name)(*arguments)}
        except Exception as error:  # a damaged file can make a library raise anything
            known = translate(error)
            answer = {
                **{"message": known.message, "hint": known.hint, "exit_code": known.exit_code},
                "traceback": traceback.format_exc(),
            }
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
