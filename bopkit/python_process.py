"""How a Python process of bopkit is started, read and ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import IO

from bopkit.scratch import scratch_folder

_WITHOUT_WORKING_DIRECTORY = """
import os, sys
sys.path[:] = [path for path in sys.path if os.path.abspath(path) != os.getcwd()]
"""

_END_S = 2.0
"""A process that ends closes its pipes first, and its exit code, which tells why, comes a moment later."""


def python_command(code: str) -> list[str]:
    """The command for code in a Python of its own that imports nothing from the working directory.

    Python puts that first on the path, where a user's h5py.py or queue.py would hide the real one.
    """
    return [sys.executable, "-c", _WITHOUT_WORKING_DIRECTORY + code]


class PythonProcess:
    """A process that runs Python code, with pipes as its standard input and output.

    The code must end the process when its standard input ends: then this process is gone, however it ended. What it
    prints on stderr goes into a file without a name, which leaves nothing behind. Its temporary folder is one of its
    own: it is killed in the end, and what libraries left there is removed.

    Args:
        code: Runs in it, after `import os, sys`.
        arguments: Its `sys.argv[1:]`.
        environment: All its variables; None for those of this process.
        own_group: Give it a process group of its own: Ctrl-C on the terminal does not reach it, and `kill` ends what
            it started too.
    """

    def __init__(
        self, code: str, *arguments: str, environment: Mapping[str, str] | None = None, own_group: bool = True
    ) -> None:
        self._own_group = own_group and hasattr(os, "killpg")
        self._killed = False
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        environment = os.environ if environment is None else environment
        self._temporary = contextlib.ExitStack()
        with contextlib.suppress(OSError):  # where there is no temporary folder, it has none either
            folder = self._temporary.enter_context(scratch_folder(environment.get("TMPDIR") or None))
            environment = {**environment, "TMPDIR": str(folder)}
        self._process = subprocess.Popen(
            [*python_command(code), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=environment,
            start_new_session=own_group,
        )

    @property
    def output(self) -> IO[bytes]:
        """Its standard output."""
        assert self._process.stdout is not None
        return self._process.stdout

    @property
    def returncode(self) -> int | None:
        """As of `subprocess.Popen`; None while it runs."""
        return self._process.poll()

    @property
    def is_usable(self) -> bool:
        """Whether it runs and was not killed."""
        return not self._killed and self.returncode is None

    def send(self, *data: bytes | memoryview) -> None:
        """Write to its standard input. If it is dead, its output ends, and its exit code tells why."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            for each in data:
                self._process.stdin.write(each)
            self._process.stdin.flush()

    def printed(self) -> str:
        """What it has printed on stderr so far."""
        descriptor = self._stderr.fileno()
        size_bytes = os.fstat(descriptor).st_size
        return os.pread(descriptor, size_bytes, 0).decode(errors="replace")  # its own position stays where it is

    def interrupt(self) -> None:
        """Send it SIGINT."""
        self._process.send_signal(signal.SIGINT)

    def wait(self, timeout_s: float = _END_S) -> None:
        """Wait until it has ended, so long at most."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)

    def kill(self) -> None:
        """Kill it with all of its group: another one could keep its end of a pipe open."""
        self._killed = True
        if self._own_group:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        else:
            self._process.kill()

    def close(self) -> None:
        """Kill it, and forget what it printed."""
        self.kill()
        self._process.wait()
        for file in (self._process.stdin, self._process.stdout, self._stderr):
            assert file is not None
            with contextlib.suppress(OSError):  # what was written for a dead process
                file.close()
        self._temporary.close()

    def describe_end(self) -> str:
        """How it ended, e.g. `was ended by SIGSEGV`, or with its exit code and the last line that it printed."""
        returncode = self._process.wait()
        if returncode < 0:
            return f"was ended by {signal.Signals(-returncode).name}"
        lines = self.printed().strip().splitlines()
        return f"ended with code {returncode}" + (f": {lines[-1][:200]}" if lines else "")
