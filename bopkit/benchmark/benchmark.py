"""`benchmark_artifacts`: one process an artifact, one after the other, into one report."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bopkit import artifact
from bopkit.benchmark.child import measure_in_child
from bopkit.benchmark.evaluation import plan_evaluation
from bopkit.benchmark.job import LABELS_FILE, SCORES_FILE, Evaluation, Job
from bopkit.benchmark.metrics import TOP_K, share_within_tolerance, top1_agreement, top_k_accuracy
from bopkit.benchmark.report import BenchmarkReport, BenchmarkRow, Environment, Protocol
from bopkit.benchmark.runtime import TFLITE_RUNTIMES
from bopkit.card import ModelCard
from bopkit.errors import BopkitError, UsageError
from bopkit.progress import Progress, silent


def benchmark_artifacts(
    artifacts: Sequence[str | Path],
    dataset: str | None = None,
    data_dir: str | Path | None = None,
    split: str | None = None,
    preprocess_fn: str | None = None,
    limit: int | None = None,
    warmup_runs: int = 10,
    runs: int = 50,
    threads: int = 1,
    batch_size: int = 32,
    time_limit_s: float = 30.0,
    runtime: str | None = None,
    progress: Progress | None = None,
) -> BenchmarkReport:
    """Measure artifacts side by side on this host's CPU: accuracy, latency, size and memory.

    Each is measured in a process of its own, one after the other. One that cannot be measured becomes a row
    with its error; the others are still measured.

    Args:
        artifacts: Paths of `.h5`, `.keras` and `.tflite` files and of SavedModel directories, with or without
            the version.
        dataset: Name of a prepared dataset for the accuracy; None for latency, size and memory only.
        data_dir: Where TFDS keeps prepared datasets; None for its default.
        split: Split of the dataset; None for its test split.
        preprocess_fn: Name of the preprocessing for all artifacts, `default` for the dataset's; None for what
            each artifact's card names, else the dataset's default.
        limit: Measure accuracy on that many pictures; None for all.
        warmup_runs: Runs before the timed ones.
        runs: Timed runs of one picture. Networks that take less than a second for all get more, and those
            that reach the time limit fewer.
        threads: Threads for one picture.
        batch_size: Pictures at a time while accuracy is measured; flatbuffers take one at a time.
        time_limit_s: Limit for the timed runs of one artifact, in seconds.
        runtime: What runs flatbuffers: `litert` or `lce`; None for `litert` where bopkit-runtime is installed,
            else `lce`.
        progress: Called with one line now and then.

    Returns:
        One row an artifact. `report.failed` holds those with an error.

    Raises:
        UsageError: A name or number cannot be right, whatever the artifacts.
        BopkitError: The dataset is not prepared.
    """
    _check_numbers(
        runs=runs,
        threads=threads,
        batch_size=batch_size,
        limit=limit,
        warmup_runs=warmup_runs,
        time_limit_s=time_limit_s,
    )
    if not artifacts:
        raise UsageError("No artifact was named.", "Give a .h5, .keras or .tflite file or a SavedModel.")
    if runtime is not None and runtime not in TFLITE_RUNTIMES:
        raise UsageError(f"There is no runtime {runtime!r}.", f"Use one of: {', '.join(TFLITE_RUNTIMES)}.")
    progress = progress or silent
    evaluation = _plan_evaluation(dataset, data_dir, split, preprocess_fn, limit, batch_size)
    protocol = Protocol(threads, warmup_runs, runs, time_limit_s)
    jobs = [Job(str(path), threads, warmup_runs, runs, time_limit_s, evaluation, runtime) for path in artifacts]
    rows, reference = _measure_all(jobs, progress)
    _share_floors(rows)
    return BenchmarkReport(
        rows=tuple(rows),
        reference=reference,
        dataset=dataset,
        split=evaluation.split if evaluation else None,
        protocol=protocol,
        environment=Environment.of_this_host(),
    )


def _check_numbers(warmup_runs: int, **at_least_one: float | None) -> None:
    if warmup_runs < 0:
        raise UsageError(f"warmup_runs is {warmup_runs}.", "Use a number from 0.")
    for name, value in at_least_one.items():
        if value is not None and value <= 0:
            raise UsageError(f"{name} is {value:g}.", "Use a number above 0.")


def _plan_evaluation(
    name: str | None,
    data_dir: str | Path | None,
    split: str | None,
    preprocess_fn: str | None,
    limit: int | None,
    batch_size: int,
) -> Evaluation | None:
    """Open the dataset once, so that what is wrong with it is one error and not one a row.

    Raises:
        UsageError: An unknown name, or an option that needs a dataset without one.
        BopkitError: The dataset is not prepared.
    """
    if name is None:
        for option, value in {"split": split, "preprocess_fn": preprocess_fn, "limit": limit}.items():
            if value is not None:
                raise UsageError(f"--{option.replace('_', '-')} needs a dataset.", "Name one with --dataset.")
        return None
    return plan_evaluation(name, data_dir, split, preprocess_fn, limit, batch_size)


def _measure_all(jobs: Sequence[Job], progress: Progress) -> tuple[list[BenchmarkRow], str | None]:
    """Measure one artifact after the other, and compare each with the first that has scores."""
    rows: list[BenchmarkRow] = []
    reference: str | None = None
    reference_scores: np.ndarray | None = None
    with tempfile.TemporaryDirectory(prefix="bopkit-benchmark-") as scratch:
        for index, job in enumerate(jobs):
            progress(f"{job.artifact} ({index + 1} of {len(jobs)})")
            folder = Path(scratch, str(index))
            folder.mkdir()
            row = _measure(job, folder, progress)
            rows.append(row)
            if row.error is not None or job.evaluation is None:
                continue
            scores = _score(row, folder)
            if reference_scores is None:
                reference, reference_scores = job.artifact, scores
            else:
                row.top1_agreement = top1_agreement(scores, reference_scores)
                row.within_tolerance = share_within_tolerance(scores, reference_scores)
    return rows, reference


def _measure(job: Job, folder: Path, progress: Progress) -> BenchmarkRow:
    try:
        return measure_in_child(job, folder, progress)
    except BopkitError as error:
        return BenchmarkRow(artifact=job.artifact, error=error.message, hint=error.hint)


def _score(row: BenchmarkRow, folder: Path) -> np.ndarray:
    """Fill in the accuracy of a row; float32 [n, classes], still on disk."""
    scores = np.load(folder / SCORES_FILE, mmap_mode="r")
    labels = np.load(folder / LABELS_FILE)
    row.top1 = top_k_accuracy(scores, labels, 1)
    row.top5 = top_k_accuracy(scores, labels, TOP_K) if scores.shape[1] > TOP_K else None
    return scores


def _share_floors(rows: Sequence[BenchmarkRow]) -> None:
    """Give artifacts that do not tell their floor that of a row whose card describes the same network."""
    cards = [artifact.read_card(row.artifact) if row.error is None else None for row in rows]
    for row, card in zip(rows, cards, strict=True):
        if card is None or row.floor_bytes is not None:
            continue
        for other, other_card in zip(rows, cards, strict=True):
            if other.floor_bytes is not None and other_card is not None and _same_network(row, card, other, other_card):
                row.floor_bytes = other.floor_bytes
                break


def _same_network(row: BenchmarkRow, card: ModelCard, other: BenchmarkRow, other_card: ModelCard) -> bool:
    """Whether two networks have the same layers, as far as their cards and what was measured tell."""
    same_ends = (row.input_shape, row.classes) == (other.input_shape, other.classes)
    return same_ends and (card.architecture, card.hparams) == (other_card.architecture, other_card.hparams)
