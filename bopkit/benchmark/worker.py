"""The measuring process: `run_job` measures an artifact.

A crash of a runtime ends this process only, and its peak memory is the artifact's. Latency and memory come
first, so that the dataset's memory is not counted.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from bopkit import files
from bopkit.artifacts import artifact
from bopkit.artifacts.c_sources import read_c_sources
from bopkit.artifacts.card import ModelCard
from bopkit.benchmark.accuracy import (
    artifact_preprocessing,
    check_classes,
    checkpoint_identity,
    count_classes,
    write_scores,
)
from bopkit.benchmark.evaluation_checkpoint import open_checkpoint
from bopkit.benchmark.job import CHECKPOINT_FILE, PICTURES_FILE, EvaluationPlan, Job, Timing
from bopkit.benchmark.results import BenchmarkRow
from bopkit.benchmark.row_details import describe_c_sources
from bopkit.benchmark.row_notes import training_data_note
from bopkit.benchmark.runtimes.parallel import RuntimeDiedError, one_a_core
from bopkit.benchmark.runtimes.runtime import Runtime, make_runtime, runs_on_one_core
from bopkit.benchmark.timing import NS_PER_MS, measure_latency
from bopkit.errors import BopkitError
from bopkit.failures import translate
from bopkit.host import (
    Files,
    governor,
    is_throttled,
    parse_cpu_mask,
    peak_memory_bytes,
    pin_process,
    read_system_files,
    temperature_c,
)
from bopkit.progress import Progress

T = TypeVar("T")

_SHOWN = 4  # pictures that emulated boards, which are slow, compute too


def run_job(values: Mapping[str, Any], folder: str, progress: Progress) -> dict[str, Any]:
    """Measure an artifact.

    Args:
        values: The job, as JSON has it.
        folder: Where scores and labels go.
        progress: Called with one line now and then.

    Returns:
        The row of the artifact as JSON has it, with its error if it could not be measured.
    """
    job = Job.from_dict(values)
    row = BenchmarkRow(artifact=job.artifact, threads=job.threads)
    try:
        measure(job, row, Path(folder), progress)
    except Exception as error:  # a runtime can raise anything; the row carries it
        traceback.print_exc()  # seen with --debug
        known = translate(error)
        row.error, row.hint = known.message, known.hint
    facts: dict[str, Any] = files.finite(dataclasses.asdict(row))
    return facts


def measure(job: Job, row: BenchmarkRow, folder: Path, progress: Progress) -> None:
    """Fill in the row of an artifact; scores and labels go to files in `folder`.

    Raises:
        BopkitError: The artifact cannot be read, or does not fit the dataset.
    """
    if job.timing is not None and job.timing.cpu_mask is not None:
        pin_process(parse_cpu_mask(job.timing.cpu_mask))  # before any library starts threads
    row.kind = artifact.kind(job.artifact)
    card = artifact.read_card(job.artifact)
    path = artifact.resolve(job.artifact)
    if path.is_dir() and path != Path(job.artifact):
        row.notes.append(f"Version {path.name} was measured, the newest.")
    row.architecture = card.architecture if card else ""
    row.size_bytes = files.size_bytes(path)
    if row.kind == "c":
        describe_c_sources(row, read_c_sources(path))
    row.model_sha256 = files.sha256(path) if path.is_file() else None

    runtime = make_runtime(row.kind, _threads(job, row.kind), job.runtime)
    row.runtime = runtime.name
    memory_before_bytes = peak_memory_bytes()
    system_files = read_system_files()
    picture = _load(runtime, path, card, row)
    _fit_to_dataset(job.evaluation, card, row)
    if job.timing is not None:
        _time(runtime, picture, job.timing, row)
        _describe_clocks(row, system_files, read_system_files())
        row.peak_memory_bytes = peak_memory_bytes()
        row.model_memory_bytes = row.peak_memory_bytes - memory_before_bytes
        if job.timing.with_steps:
            row.steps = runtime.steps(path, job.timing.runs, job.timing.time_limit_s)
        row.floor_bytes = runtime.floor_bytes()  # after the memory, of which it needs some
        row.layers = runtime.layers()
    if job.evaluation is not None and row.preprocessing is not None:
        _evaluate(runtime, job, job.evaluation, path, row, folder, progress)


def _threads(job: Job, kind: str) -> int:
    """Threads of the runtime: accuracy of flatbuffers and C sources is measured by one runtime a core."""
    return 1 if job.evaluation is not None and runs_on_one_core(kind) else job.threads


def _evaluate(
    runtime: Runtime,
    job: Job,
    plan: EvaluationPlan,
    path: Path,
    row: BenchmarkRow,
    folder: Path,
    progress: Progress,
) -> None:
    """Scores and labels into `folder`, on as many cores as the job has threads."""
    assert row.preprocessing is not None
    with contextlib.ExitStack() as stack:
        checkpoint = None
        if plan.resume:
            identity = checkpoint_identity(plan, row.preprocessing, runtime.name, runtime.settings, path)
            checkpoint = stack.enter_context(open_checkpoint(identity, plan.pictures, plan.classes, progress))
        predictors = stack.enter_context(one_a_core(runtime, row.kind, job.runtime, path, job.threads))
        try:
            watch = _first_pictures_into(folder / PICTURES_FILE) if row.kind == "c" else None
            written = write_scores(predictors, plan, row.preprocessing, folder, progress, checkpoint, watch)
        except RuntimeDiedError:
            raise
        except BopkitError:
            if checkpoint is not None:  # what is wrong may be the pictures, and then all scores are of wrong ones
                checkpoint.remove()
            raise
    if checkpoint is not None:
        (folder / CHECKPOINT_FILE).write_text(str(checkpoint.folder))
    row.pictures, row.images_per_second = written.pictures, written.images_per_second


def _first_pictures_into(file: Path) -> Callable[[np.ndarray, np.ndarray, np.ndarray], None]:
    """What writes the first pictures that it is called with into a file."""

    def watch(pictures: np.ndarray, scores: np.ndarray, labels: np.ndarray) -> None:
        if not file.exists():
            np.save(file, pictures[:_SHOWN])

    return watch


def _load(runtime: Runtime, path: Path, card: ModelCard | None, row: BenchmarkRow) -> np.ndarray:
    """Load the artifact and run it once; the picture it ran on."""
    row.load_ms, _ = _timed(lambda: runtime.load(path))
    row.settings = runtime.settings
    row.library_sha256 = files.sha256(runtime.library) if runtime.library is not None else None
    row.input_shape = runtime.input_shape
    picture = random_picture(runtime.input_shape, card.value_range if card else (-1.0, 1.0))
    row.first_inference_ms, scores = _timed(lambda: runtime.predict(picture))
    row.classes = count_classes(scores, path)
    return picture


def _fit_to_dataset(evaluation: EvaluationPlan | None, card: ModelCard | None, row: BenchmarkRow) -> None:
    """Choose the preprocessing, before any time is spent on an artifact that does not fit the dataset."""
    if evaluation is None:
        return
    assert row.classes is not None
    check_classes(evaluation, row.classes, card)
    row.preprocessing, row.preprocessing_source = artifact_preprocessing(evaluation, card)
    note = training_data_note(card, evaluation)
    if note:
        row.notes.append(note)


def _time(runtime: Runtime, picture: np.ndarray, timing: Timing, row: BenchmarkRow) -> None:
    latency = measure_latency(
        lambda: runtime.predict(picture), timing.warmup_runs, timing.runs, timing.time_limit_s, timing.min_duration_s
    )
    row.settings = {**runtime.settings, "timed": "arrays in, arrays out"}  # a device times `invoke` alone
    for field in dataclasses.fields(latency):
        setattr(row, field.name, getattr(latency, field.name))


def _describe_clocks(row: BenchmarkRow, before: Files, after: Files) -> None:
    row.governor = governor(after)
    row.temperature_c_before, row.temperature_c_after = temperature_c(before), temperature_c(after)
    row.is_throttled = is_throttled(before, after)


def random_picture(input_shape: tuple[int, int, int], value_range: tuple[float, float]) -> np.ndarray:
    """The picture that is timed: float32 [1, H, W, C], uniform in the value range, always the same."""
    return np.random.default_rng(0).uniform(*value_range, (1, *input_shape)).astype(np.float32)


def _timed(call: Callable[[], T]) -> tuple[float, T]:
    """Milliseconds that a call takes, and its result."""
    start_ns = time.perf_counter_ns()
    result = call()
    return (time.perf_counter_ns() - start_ns) / NS_PER_MS, result
