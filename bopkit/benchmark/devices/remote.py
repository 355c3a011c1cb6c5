"""What devices over ssh and adb have in common: they run flatbuffers, and a run has a limit."""

from __future__ import annotations

from pathlib import Path

from bopkit import files
from bopkit.artifacts import artifact
from bopkit.benchmark.job import Job, Timing
from bopkit.benchmark.results import BenchmarkRow
from bopkit.errors import BopkitError


def flatbuffer_of(artifact_path: str, device: str) -> Path:
    """The flatbuffer that an artifact is.

    Raises:
        BopkitError: It is none, which is all that devices run, or there is no such file.
    """
    kind = artifact.kind(artifact_path)
    if kind != "tflite":
        source = artifact_path if kind == "keras" else "MODEL.h5"  # a SavedModel is no source of flatbuffers
        raise BopkitError(
            f"{artifact_path} does not run on {device}: devices run .tflite files.",
            f"Export one: `bopkit export {source} --tflite`.",
        )
    return artifact.resolve(artifact_path)


def row_of(job: Job, path: Path) -> BenchmarkRow:
    """The row of a flatbuffer, with what this host can tell of it."""
    card = artifact.read_card(job.artifact)
    return BenchmarkRow(
        artifact=job.artifact,
        threads=job.threads,
        kind="tflite",
        architecture=card.architecture if card else "",
        size_bytes=files.size_bytes(path),
        model_sha256=files.sha256(path),
    )


def run_limit_s(timing: Timing) -> float:
    """Seconds after which a run on a device is given up: it keeps to its own limits, unless something hangs."""
    return 120 + 4 * max(timing.time_limit_s, timing.min_duration_s)
