"""Call functions in a process of their own: whatever a damaged file or a library does there becomes one error here.

The two exchange lines of JSON. The parent sends `[function, arguments, callbacks]`. The child answers with any number
of `{"progress": line}` and `{"event": value}`, and last with `{"result": value}` or `{"error": facts}`. After each
event it waits for a line of the parent.
"""

from __future__ import annotations

import importlib
import json
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, NoReturn

from bopkit.errors import BopkitError, UsageError
from bopkit.interruption import interruptible
from bopkit.progress import Progress
from bopkit.python_process import PythonProcess

_HINT = "The file is damaged, or memory ran out: copy or export it again, or use a machine with more memory."


def cpu_environment() -> dict[str, str]:
    """The variables of this process, for one that looks at a file or measures it on the CPU."""
    return {
        **os.environ,
        "CUDA_VISIBLE_DEVICES": "-1",  # it holds no GPU
        "TF_CPP_MIN_LOG_LEVEL": "2",  # errors only: the last line tells why a process ended
    }


class ProcessDiedError(BopkitError):
    """The process of a `Child` died, or was too slow and was killed.

    Attributes:
        returncode: As of `subprocess.Popen`: below 0 for a signal.
    """

    returncode: int | None = None


class Child:
    """A process that calls functions of bopkit one after the other.

    It starts with the first call, and again with the next one after it died. It ends with this process, however that
    ends, and with a `with` block or `close`.

    Args:
        environment: All its variables; None for `cpu_environment()`.
        name: What it is called in messages; `{subject}` is the subject of a call.
        hint: What to do when it dies.
        errors: Subclasses of `BopkitError`, made of message and hint, that come back as what they are.
        stop_s: Seconds that a call gets to end by itself when this process is told to stop, by Ctrl-C or SIGTERM. It
            gets SIGINT for that. At 0 it is killed at once.
    """

    def __init__(
        self,
        environment: Mapping[str, str] | None = None,
        name: str = "The process that read {subject}",
        hint: str = _HINT,
        errors: tuple[type[BopkitError], ...] = (),
        stop_s: float = 0.0,
    ) -> None:
        self._environment = environment
        self._name, self._hint = name, hint
        self._errors = {kind.__name__: kind for kind in errors}
        self._stop_s = stop_s
        self._process: PythonProcess | None = None
        self.starts = 0
        """How many processes were started so far."""

    def call(
        self,
        function: str,
        *arguments: Any,
        subject: str,
        timeout_s: float | None = None,
        progress: Progress | None = None,
        on_event: Callable[[Any], None] | None = None,
    ) -> Any:
        """Call a function of bopkit with JSON values.

        Args:
            function: Dotted name of its module, a colon, and its name.
            arguments: Its arguments.
            subject: The file that it works on, for the message.
            timeout_s: Seconds after which the process is killed; None to wait for ever.
            progress: Called with each line that the function passes to its own keyword argument `progress`.
            on_event: Called with each JSON value that the function passes to its own keyword argument `on_event`,
                which returns when this has. What it raises ends the process.

        Returns:
            What the function returned, as JSON gives it back.

        Raises:
            ProcessDiedError: Its process died or was too slow.
            BopkitError: The function raised an error, which is passed on with its traceback as a note.
        """
        process = self._started()
        callbacks = {name: call for name, call in (("progress", progress), ("on_event", on_event)) if call is not None}
        timed_out = threading.Event()

        def kill_late() -> None:
            timed_out.set()
            process.kill()

        timer = threading.Timer(timeout_s, kill_late) if timeout_s is not None else None
        answer: dict[str, Any] | None = None
        try:
            if timer:
                timer.start()
            process.send(_line([function, arguments, list(callbacks)]))
            answer = _follow(process, callbacks)
            if answer is None:
                process.wait()
        except (KeyboardInterrupt, SystemExit):
            if self._stop_s:
                _let_end(process, self._stop_s)
            raise
        finally:
            if timer:
                timer.cancel()
            if answer is None:
                process.kill()
                process.wait()  # until then it can still write into a folder that is being removed
        if answer is None:
            end = f"needed more than {timeout_s:g} s" if timed_out.is_set() else process.describe_end()
            died = ProcessDiedError(f"{self._name.format(subject=subject)} {end}.", self._hint)
            died.returncode = process.returncode
            raise died
        if "error" in answer:
            raise self._error(**answer["error"])
        return answer["result"]

    def printed(self) -> str:
        """What the newest process has printed on stderr so far; libraries' stdout goes there too."""
        return "" if self._process is None else self._process.printed()

    def close(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            self._process.close()
            self._process = None

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _started(self) -> PythonProcess:
        if self._process is None or not self._process.is_usable:
            self.close()
            environment = cpu_environment() if self._environment is None else self._environment
            self._process = PythonProcess("from bopkit.isolation import serve; serve()", environment=environment)
            self.starts += 1
        return self._process

    def _error(self, kind: str, message: str, hint: str, exit_code: int, trace: str) -> BopkitError:
        """What the function raised."""
        plain = UsageError if exit_code == UsageError.exit_code else BopkitError
        error = self._errors.get(kind, plain)(message, hint)
        error.exit_code = exit_code
        error.add_note(trace)  # seen with --debug
        return error


_GO_ON = b"\n"


def _line(value: Any) -> bytes:
    return json.dumps(value).encode() + b"\n"


def _follow(process: PythonProcess, callbacks: Mapping[str, Callable[[Any], None]]) -> dict[str, Any] | None:
    """Serve a call up to its answer; None if the process ends without one."""
    with interruptible() as check_interruption:  # a database can swallow one where it clears up behind a callback
        for line in process.output:
            if not line.endswith(b"\n"):
                break
            message: dict[str, Any] = json.loads(line)
            if "progress" in message:
                callbacks["progress"](message["progress"])
            elif "event" in message:
                callbacks["on_event"](message["event"])
            else:
                return message
            check_interruption()
            if "event" in message:
                process.send(_GO_ON)
    return None


def _let_end(process: PythonProcess, stop_s: float) -> None:
    """Let it write what it needs to go on later; it is killed afterwards."""
    try:
        process.interrupt()
        process.send(_GO_ON)  # it may be waiting after an event
        process.wait(stop_s)
    except BaseException:  # Ctrl-C once more
        return


def _end_at_once(stop: KeyboardInterrupt | SystemExit) -> NoReturn:
    """End as Python would, but without the clean-up of libraries: a crash there would hide why the process ended."""
    if isinstance(stop, SystemExit) and isinstance(stop.code, str):
        print(stop.code, file=sys.stderr)
    sys.stderr.flush()
    if isinstance(stop, KeyboardInterrupt):
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(stop.code if isinstance(stop, SystemExit) and isinstance(stop.code, int) else 1)


def serve() -> None:
    """The child's side: answer calls until the parent is gone."""
    _Server().run()


class _Server:
    """The child's end of the pipes, which nothing else in the process can use."""

    def __init__(self) -> None:
        self._answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no answer
        self._requests = os.fdopen(os.dup(sys.stdin.fileno()), "rb")
        with open(os.devnull) as nothing:
            os.dup2(nothing.fileno(), sys.stdin.fileno())  # and what the parent sends is not for them
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._sending = threading.Lock()  # a function may report from several threads
        threading.Thread(target=self._listen, daemon=True).start()

    def run(self) -> None:
        """Answer calls."""
        offered: dict[str, Callable[[Any], None]] = {"progress": self._progress, "on_event": self._on_event}
        while True:
            function, arguments, callbacks = json.loads(self._lines.get())
            self._send(self._answer(function, arguments, {name: offered[name] for name in callbacks}))

    def _answer(self, function: str, arguments: list[Any], callbacks: dict[str, Any]) -> dict[str, Any]:
        from bopkit.failures import translate

        module, _, name = function.partition(":")
        try:
            return {"result": getattr(importlib.import_module(module), name)(*arguments, **callbacks)}
        except (KeyboardInterrupt, SystemExit) as stop:
            _end_at_once(stop)
        except Exception as error:  # a damaged file can make a library raise anything
            known = translate(error)
            facts = {"kind": type(known).__name__, "message": known.message, "hint": known.hint}
            return {"error": {**facts, "exit_code": known.exit_code, "trace": traceback.format_exc()}}

    def _listen(self) -> None:
        """Pass on what the parent sends, and end this process with all that it started when the parent is gone."""
        for line in self._requests:
            self._lines.put(line)
        os.killpg(os.getpid(), signal.SIGKILL)

    def _progress(self, line: str) -> None:
        self._send({"progress": line})

    def _on_event(self, value: Any) -> None:
        self._send({"event": value})
        self._lines.get()

    def _send(self, message: dict[str, Any]) -> None:
        with self._sending:
            self._answers.write(_line(message))
            self._answers.flush()
