"""Runs `bopkit` as a shell would: in a process of its own."""

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


def start_bopkit(*arguments, **options):
    """The started process of `bopkit ARGUMENTS...`."""
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


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
