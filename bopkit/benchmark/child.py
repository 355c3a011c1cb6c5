"""Run one measuring process, and turn whatever ends it early into an error."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from bopkit import keras2
from bopkit.benchmark.job import Job
from bopkit.benchmark.results import BenchmarkRow
from bopkit.isolation import Child
from bopkit.progress import Progress

_HINT = "The file is damaged, or memory ran out: export it again, or measure it on a host with more memory."
_RUN_JOB = "bopkit.benchmark.worker:run_job"


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
    with Child(name="The process that ran {subject}", hint=_HINT) as process:
        try:
            values = process.call(
                _RUN_JOB, dataclasses.asdict(job), str(folder), subject=job.artifact, progress=progress
            )
        finally:
            if not keras2.quiet:  # --debug: its traceback is there
                sys.stderr.write(process.printed())
        row = BenchmarkRow.from_dict(values)
        if row.error is not None:
            row.notes += _tflite_errors(process.printed())
        return row


def _tflite_errors(printed: str) -> list[str]:
    """What TensorFlow Lite printed: its exceptions do not say which operator or tensor is wrong."""
    return [line.removeprefix("ERROR: ") for line in printed.splitlines() if line.startswith("ERROR: ")]
