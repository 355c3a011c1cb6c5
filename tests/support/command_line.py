"""Runs `bopkit` as a shell would, in a process of its own, or in a fork of one that has imported TensorFlow."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from forks import ForkedPython

SUPPORT = Path(__file__).parent
"""The folder that holds `tiny.network`: a command that runs there finds it."""

PROGRAM = "from bopkit.cli import main; main()"
NO_TENSORFLOW = f"""
import sys
try:
    {PROGRAM}
finally:
    if {{"tensorflow", "larq", "keras", "tf_keras"}} & set(sys.modules):
        sys.exit(99)
"""
"""The same program, with exit code 99 if the command imported TensorFlow."""
FORKED_CHILDREN = f"""
import sys
sys.path.append({str(SUPPORT)!r})
import forks
forks.fork_children()
"""
"""What to put before a program whose processes may be forks of one that has imported TensorFlow."""


def bopkit(*arguments, **options):
    """The finished process of `bopkit ARGUMENTS...`; options as of `start_bopkit`."""
    with start_bopkit(*arguments, **options) as process:
        stdout, stderr = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def start_bopkit(*arguments, program=PROGRAM, start=subprocess.Popen, **options):
    """The started process of `bopkit ARGUMENTS...`; `options` go to `start`, which `ForkedPython` may be."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return start(command, **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options})


FORKED = """
import logging, resource, signal
from bopkit.cli import main
from bopkit.keras2 import import_tensorflow

# As the command line does when it imports TensorFlow itself.
import_tensorflow().get_logger().setLevel("ERROR")
logging.getLogger("larq").setLevel(logging.ERROR)
size_bytes = {size_bytes}
if size_bytes is not None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, size_bytes))
exec({before!r}, {{}})
main()
"""


class ForkedBopkit:
    """`bopkit ARGUMENTS...` as a fork of a process that has imported TensorFlow, and so is what it starts.

    Args:
        arguments: What is typed behind `bopkit`.
        output: A folder; stdout and stderr go into files there.
        size_bytes: Make it fail to write a file beyond that size, as on a full disk; None for no limit.
        cwd: Where it runs; None for here.
        environment: Variables to add.
        before: Python code that it runs first.
    """

    def __init__(self, *arguments, output, size_bytes=None, cwd=None, environment=None, before=""):
        output.mkdir(exist_ok=True)
        self._arguments = list(map(str, arguments))
        self._files = [output / "stdout", output / "stderr"]
        program = FORKED.format(size_bytes=size_bytes, before=before)
        with open(self._files[0], "wb") as stdout, open(self._files[1], "wb") as stderr:
            self._process = ForkedPython(
                [sys.executable, "-c", program, *self._arguments],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                cwd=cwd,
                env={**os.environ, **(environment or {})},
            )

    def send_signal(self, number):
        """Send a signal to a process that may have ended."""
        self._process.send_signal(number)

    def kill(self):
        """End it, and wait for that."""
        self._process.kill()
        self._process.wait()

    def printed(self):
        """What it has printed on stderr so far."""
        return self._files[1].read_text()

    def is_running(self):
        """Whether it has not ended."""
        return self._process.poll() is None

    def finished(self, timeout_s=60):
        """The finished process, as `subprocess.run` returns it."""
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        return subprocess.CompletedProcess(self._arguments, code, *(file.read_text() for file in self._files))


def forked(*arguments, **options):
    """The finished process of `bopkit ARGUMENTS...` in a fork; arguments as of `ForkedBopkit`."""
    with tempfile.TemporaryDirectory() as output:
        return ForkedBopkit(*arguments, output=Path(output), **options).finished(timeout_s=300)


def succeeded(result):
    """stdout of a process that must have succeeded."""
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    return result.stdout


def failed(result, exit_code=1):
    """The one line with which a process must have failed."""
    assert result.returncode == exit_code, result.stderr
    assert "Traceback" not in result.stderr
    *progress, error = result.stderr.splitlines()
    assert error.startswith("Error: ")
    assert not any("Error" in line or "WARNING" in line for line in progress), result.stderr
    return error
