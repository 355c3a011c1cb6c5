"""Run one measuring process, and turn whatever ends it early into an error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from bopkit import keras2
from bopkit.benchmark.job import JOB_FILE, PROGRESS_PREFIX, ROW_FILE, Job
from bopkit.benchmark.results import BenchmarkRow
from bopkit.errors import BopkitError
from bopkit.isolation import ENVIRONMENT, describe_end, python_command
from bopkit.progress import Progress

_START = """
from bopkit.benchmark.worker import end_with_parent, main
end_with_parent()
main(sys.argv[1])
"""
_STDERR_FILE = "stderr.txt"


def measure_in_child(job: Job, folder: Path, progress: Progress) -> BenchmarkRow:
    """Measure an artifact in a process of its own, which ends with this call whatever happens.

    Args:
        job: What to measure.
        folder: An empty folder; scores and labels are left in it.
        progress: Called with one line now and then.

    Returns:
        The row of the artifact, with its error if it could not be measured.

    Raises:
        BopkitError: The process ended without a row: it crashed or was killed.
    """
    (folder / JOB_FILE).write_text(job.to_json())
    return_code = _run([*python_command(_START), str(folder)], folder, progress)
    if not keras2.quiet:  # --debug: its traceback is there
        sys.stderr.write((folder / _STDERR_FILE).read_text(errors="replace"))
    if return_code != 0 or not (folder / ROW_FILE).is_file():
        raise BopkitError(
            f"The process that ran {job.artifact} {describe_end(return_code, folder / _STDERR_FILE)}.", _HINT
        )
    row = BenchmarkRow.from_dict(json.loads((folder / ROW_FILE).read_text()))
    if row.error is not None:
        row.notes += _runtime_errors(folder)
    return row


_HINT = "The file is damaged, or memory ran out: export it again, or measure it on a host with more memory."


def _run(command: list[str], folder: Path, progress: Progress) -> int:
    with (
        open(folder / _STDERR_FILE, "wb") as stderr,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,  # never written to: its end tells the process that we are gone
            stdout=subprocess.PIPE,
            stderr=stderr,
            env={**os.environ, **ENVIRONMENT},
            encoding="utf-8",
            errors="replace",
        ) as process,
    ):
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if line.startswith(PROGRESS_PREFIX):
                    progress(line.removeprefix(PROGRESS_PREFIX).rstrip())
            process.wait()  # its standard input must stay open to its end
        except BaseException:
            process.kill()
            raise
    return process.returncode


def _runtime_errors(folder: Path) -> list[str]:
    """What TensorFlow Lite printed: its exceptions do not say which operator or tensor is wrong."""
    lines = (folder / _STDERR_FILE).read_text(errors="replace").splitlines()
    return [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
