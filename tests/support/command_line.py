"""Runs `bopkit` as a shell would, in a process of its own, or in a fork of one that has imported TensorFlow."""

import ctypes
import logging
import multiprocessing
import os
import resource
import signal
import subprocess
import sys

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


def bopkit(*arguments, program=PROGRAM, **options):
    """The finished process of `bopkit ARGUMENTS...`; `options` go to `subprocess.run`."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, **options)


def start_bopkit(*arguments, program=PROGRAM, **options):
    """The started process of `bopkit ARGUMENTS...`; `options` go to `subprocess.Popen`."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options})


class ForkedBopkit:
    """`bopkit ARGUMENTS...` in a fork of a process that has imported TensorFlow: about half the price of a new one.

    It ends as a new one does, with Python's and TensorFlow's clean-up.

    Args:
        arguments: What is typed behind `bopkit`.
        output: A folder; stdout and stderr go into files there.
        size_bytes: Make it fail to write a file beyond that size, as on a full disk; None for no limit.
        cwd: Where it runs; None for here.
        environment: Variables to add.
        before: Python code that it runs first.
    """

    def __init__(self, *arguments, output, size_bytes=None, cwd=None, environment=None, before=""):
        forks = multiprocessing.get_context("forkserver")
        forks.set_forkserver_preload(["bopkit", "larq", "bopkit.cli.main", "bopkit.training.loop"])
        output.mkdir(exist_ok=True)
        self._arguments = list(map(str, arguments))
        self._files = [output / "stdout", output / "stderr"]
        settings = (size_bytes, cwd or os.getcwd(), environment or {}, before)
        self._process = forks.Process(target=_run_forked, args=(self._arguments, self._files, *settings))
        self._process.start()

    def send_signal(self, number):
        """Send a signal to a process that may have ended."""
        if self._process.is_alive():
            os.kill(self._process.pid, number)

    def kill(self):
        """End it, and wait for that."""
        self._process.kill()
        self._process.join()

    def printed(self):
        """What it has printed on stderr so far."""
        return self._files[1].read_text() if self._files[1].exists() else ""

    def is_running(self):
        """Whether it has not ended."""
        return self._process.is_alive()

    def finished(self, timeout_s=60):
        """The finished process, as `subprocess.run` returns it."""
        self._process.join(timeout_s)
        code = self._process.exitcode
        if code is None:
            self.kill()
            raise TimeoutError(f"still running after {timeout_s} s: {self._arguments}")
        return subprocess.CompletedProcess(self._arguments, code, *(file.read_text() for file in self._files))


def forked(*arguments, output, **options):
    """The finished process of `bopkit ARGUMENTS...` in a fork; arguments as of `ForkedBopkit`."""
    return ForkedBopkit(*arguments, output=output, **options).finished(timeout_s=300)


def _run_forked(arguments, files, size_bytes, cwd, environment, before):
    os.environ.update(environment)
    os.chdir(cwd)
    for number, file in enumerate(files, start=1):
        os.dup2(os.open(file, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), number)
    from bopkit.cli import main
    from bopkit.keras2 import import_tensorflow

    # As the command line does when it imports TensorFlow itself.
    import_tensorflow().get_logger().setLevel("ERROR")
    logging.getLogger("larq").setLevel(logging.ERROR)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the server that forks ignores it, and so would this
    if size_bytes is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, size_bytes))
    sys.argv = ["bopkit", *arguments]
    exec(before, {})
    code = 0
    try:
        main()
    except SystemExit as exit_:
        code = exit_.code or 0
    ctypes.pythonapi.Py_Exit(code)  # multiprocessing would end the process at once


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
