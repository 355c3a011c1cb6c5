"""`benchmark_artifacts`: accuracy on this host, then latency on each device, into one report."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from bopkit.artifacts import artifact
from bopkit.artifacts.card import ModelCard
from bopkit.benchmark.accuracy import plan_evaluation
from bopkit.benchmark.devices import Device, DeviceLostError, open_device
from bopkit.benchmark.devices.local import LocalDevice
from bopkit.benchmark.devices.names import AdbName, parse_device_name
from bopkit.benchmark.job import LABELS_FILE, SAVED_SCORES_FILE, SCORES_FILE, Evaluation, Job, Timing
from bopkit.benchmark.layer_bytes import flatbuffer_layers
from bopkit.benchmark.notes import add_timing_notes, dataset_suggestion
from bopkit.benchmark.results import LOCAL, BenchmarkReport, BenchmarkRow, Environment, LayerBytes, Protocol
from bopkit.benchmark.runtimes.parallel import usable_cores
from bopkit.benchmark.runtimes.runtime import TFLITE_RUNTIMES
from bopkit.benchmark.scoring import ACCURACY_FIGURES, compare, score
from bopkit.benchmark.timing import SHORTEST_TIMING_S
from bopkit.errors import BopkitError, UsageError
from bopkit.failures import translate
from bopkit.host import parse_cpu_mask
from bopkit.progress import Progress, silent

MOST_THREADS = 256
"""As many as the native runtime takes."""


def benchmark_artifacts(
    artifacts: Sequence[str | Path],
    dataset: str | None = None,
    data_dir: str | Path | None = None,
    split: str | None = None,
    preprocess_fn: str | None = None,
    limit: int | None = None,
    warmup_runs: int = 10,
    runs: int = 50,
    threads: int | Sequence[int] = 1,
    batch_size: int = 32,
    time_limit_s: float = 30.0,
    runtime: str | None = None,
    devices: Sequence[str] = (LOCAL,),
    min_duration_s: float = SHORTEST_TIMING_S,
    cool_down_s: float = 0.0,
    with_steps: bool = False,
    cpu_mask: str | None = None,
    runner: str | Path | None = None,
    reference: str | Path | None = None,
    resume: bool = True,
    deliver: Callable[[BenchmarkReport], None] | None = None,
    progress: Progress | None = None,
) -> BenchmarkReport:
    """Measure artifacts side by side on CPUs: accuracy, latency, size and memory.

    On this host each is measured in a process of its own, one after the other. One that cannot be measured becomes a
    row with its error; the others are still measured.

    Args:
        artifacts: Paths of `.h5`, `.keras` and `.tflite` files, of run directories, whose `model.h5` is meant, and of
            SavedModel directories, with or without the version.
        dataset: Name of a prepared dataset for the accuracy; None for latency, size and memory only.
        data_dir: Where TFDS keeps prepared datasets; None for its default.
        split: Split of the dataset; None for its test split.
        preprocess_fn: Name of the preprocessing for all artifacts, `default` for the dataset's; None for what
            each artifact's card names, else the dataset's default.
        limit: Measure accuracy on that many pictures; None for all.
        warmup_runs: Runs before the timed ones.
        runs: Timed runs of one picture. Networks that take less than `min_duration_s` for all get more, and those
            that reach the time limit fewer.
        threads: Threads for one picture; of several numbers each has rows of its own.
        batch_size: Pictures at a time while accuracy is measured; flatbuffers take one after the other, on each core.
        time_limit_s: Limit for the timed runs of one artifact, in seconds.
        runtime: What runs flatbuffers: `litert` or `lce`; None for `litert` where bopkit-runtime is installed,
            else `lce`.
        devices: Where latency is measured: `local`, `ssh://[user@]host[:port]` or `adb[:serial]`. One that drops out
            keeps the rows that it has; each of the others says why.
        min_duration_s: Time of all timed runs of one row, at least.
        cool_down_s: Pause before each row, in which the device cools down.
        with_steps: Measure the steps of an inference too, where the runtime can, in runs of their own.
        cpu_mask: Cores to run on, in hexadecimal as `taskset` takes them; None for all.
        runner: Benchmark binary for devices over adb: LCE's `lce_benchmark_model`, or TensorFlow Lite's
            `benchmark_model` with our library beside it.
        reference: Artifact that the others' answers are compared with, one of them or another; None for the first whose
            accuracy can be measured.
        resume: Keep scores in the user's cache folder until the report is delivered, and go on with those that an
            interrupted call with the same arguments left.
        deliver: Called with the report, to write it; where that fails the kept scores stay.
        progress: Called with one line now and then.

    Returns:
        One row an artifact, device and number of threads. `report.failed` holds those with an error.

    Raises:
        UsageError: A name or number cannot be right, whatever the artifacts.
        BopkitError: The dataset is not prepared, or the reference's accuracy cannot be measured.
    """
    threads = check_threads(threads)
    _check_numbers(
        {"warmup_runs": warmup_runs, "cool_down_s": cool_down_s, "min_duration_s": min_duration_s},
        {"runs": runs, "batch_size": batch_size, "limit": limit, "time_limit_s": time_limit_s},
    )
    if not artifacts:
        raise UsageError("No artifact was named.", "Give a .h5, .keras or .tflite file or a SavedModel.")
    if runtime is not None and runtime not in TFLITE_RUNTIMES:
        raise UsageError(f"There is no runtime {runtime!r}.", f"Use one of: {', '.join(TFLITE_RUNTIMES)}.")
    devices = tuple(dict.fromkeys(devices))
    _check_devices(devices, runner)
    if cpu_mask is not None:
        parse_cpu_mask(cpu_mask)
    progress = progress or silent
    evaluation = _plan_evaluation(dataset, data_dir, split, preprocess_fn, limit, batch_size, reference, resume)
    timing = Timing(warmup_runs, runs, min_duration_s, max(time_limit_s, min_duration_s), with_steps, cpu_mask)
    protocol = Protocol(threads, timing, cool_down_s)  # now: it holds the date of the start
    session = _Session(
        tuple(map(str, artifacts)),
        threads,
        timing,
        evaluation,
        runtime,
        cool_down_s,
        progress,
        str(reference) if reference else None,
    )
    rows, environments = session.run(devices, Path(runner) if runner is not None else None)
    cards = [_card_of(row) for row in rows]
    _describe_flatbuffers(rows)
    _share_floors(rows, cards)
    if evaluation is None:
        _suggest_datasets(rows, cards)
    report = BenchmarkReport(
        rows=tuple(rows),
        reference=session.reference,
        dataset=dataset,
        split=evaluation.split if evaluation else None,
        class_names=evaluation.class_names if evaluation else (),
        protocol=protocol,
        environments=environments,
    )
    if deliver is not None:
        deliver(report)
    session.remove_saved_scores()
    return report


def check_threads(threads: int | Sequence[int]) -> tuple[int, ...]:
    """The numbers of threads, each once.

    Raises:
        UsageError: There is none, or one is out of range.
    """
    numbers = (threads,) if isinstance(threads, int) else tuple(dict.fromkeys(threads))
    if not numbers:
        raise UsageError("No number of threads was named.", "Give one or several numbers from 1.")
    for number in numbers:
        if not 1 <= number <= MOST_THREADS:
            raise UsageError(f"threads is {number}.", f"Use a number from 1 to {MOST_THREADS}.")
    return numbers


def check_dataset_options(dataset: str | None, **options: object) -> None:
    """Refuse options of accuracy without a dataset.

    Args:
        dataset: Name of the dataset; None for no accuracy.
        options: Their values by name; None for those that were not given.

    Raises:
        UsageError: One was given, and no dataset.
    """
    for option, value in options.items():
        if dataset is None and value is not None:
            raise UsageError(f"--{option.replace('_', '-')} needs a dataset.", "Name one with --dataset.")


def _check_numbers(from_zero: Mapping[str, float], above_zero: Mapping[str, float | None]) -> None:
    for name, value in from_zero.items():
        if not 0 <= value < math.inf:
            raise UsageError(f"{name} is {value:g}.", "Use a number from 0.")
    for name, number in above_zero.items():
        if number is not None and not 0 < number < math.inf:
            raise UsageError(f"{name} is {number:g}.", "Use a number above 0.")


def _check_devices(names: Sequence[str], runner: str | Path | None) -> None:
    """Refuse what cannot be, before hours of accuracy; whether a device answers is known when it is its turn.

    Raises:
        UsageError: A name is none of a device, or the binary is missing, no file, or for no device.
    """
    if runner is not None and not Path(runner).is_file():
        raise UsageError(f"{runner} is no file.", "Give lce_benchmark_model or benchmark_model with --runner.")
    over_adb = [name for name in names if isinstance(parse_device_name(name), AdbName)]
    if runner is not None and not over_adb:
        raise UsageError("--runner is for devices over adb, and none is named.", "Add --device adb.")
    if runner is None and over_adb:
        raise UsageError(
            f"{over_adb[0]} needs a benchmark binary.",
            "Give LCE's lce_benchmark_model, or TensorFlow Lite's benchmark_model, with --runner.",
        )


def _plan_evaluation(
    name: str | None,
    data_dir: str | Path | None,
    split: str | None,
    preprocess_fn: str | None,
    limit: int | None,
    batch_size: int,
    reference: str | Path | None,
    resume: bool,
) -> Evaluation | None:
    """Open the dataset once, so that what is wrong with it is one error and not one a row.

    Raises:
        UsageError: An unknown name, or an option that needs a dataset without one.
        BopkitError: The dataset is not prepared.
    """
    check_dataset_options(name, split=split, preprocess_fn=preprocess_fn, limit=limit, reference=reference)
    if name is None:
        return None
    return plan_evaluation(name, data_dir, split, preprocess_fn, limit, batch_size, resume)


@dataclasses.dataclass
class _Session:
    """One call of `benchmark_artifacts`: what all rows share."""

    artifacts: tuple[str, ...]
    threads: tuple[int, ...]
    timing: Timing
    evaluation: Evaluation | None
    runtime: str | None
    cool_down_s: float
    progress: Progress
    reference: str | None = None
    saved_scores: list[Path] = dataclasses.field(default_factory=list)

    def run(self, devices: Sequence[str], runner: Path | None) -> tuple[list[BenchmarkRow], dict[str, Environment]]:
        """All rows, and the devices that answered. Accuracy comes first: it tells what does not fit the dataset."""
        rows: list[BenchmarkRow] = []
        environments: dict[str, Environment] = {}
        with tempfile.TemporaryDirectory(prefix="bopkit-benchmark-") as scratch:
            accuracies = self._measure_accuracies(Path(scratch))
            for name in devices:
                try:
                    device = open_device(name, runner)
                except (BopkitError, OSError) as error:
                    rows += [_failed(artifact_path, translate(error), name) for artifact_path in self.artifacts]
                    continue
                environments[name] = device.environment
                try:
                    rows += self._measure_on(device, accuracies, Path(scratch))
                finally:
                    device.close()
            for row in rows:
                _take_accuracy(row, accuracies.get(row.artifact))
            self.saved_scores = [Path(note.read_text()) for note in Path(scratch).glob(f"*/{SAVED_SCORES_FILE}")]
        return rows, environments

    def remove_saved_scores(self) -> None:
        """What was kept for the case of an interruption is delivered now."""
        for folder in self.saved_scores:
            shutil.rmtree(folder, ignore_errors=True)

    def _measure_accuracies(self, scratch: Path) -> dict[str, BenchmarkRow]:
        """Of each artifact, on this host; agreement is with the named reference, else with the first that has scores.

        Raises:
            BopkitError: The named reference cannot be measured.
        """
        accuracies: dict[str, BenchmarkRow] = {}
        reference_scores: np.ndarray | None = None
        if self.evaluation is None:
            return accuracies
        host, named = LocalDevice(), self.reference
        for artifact_path in dict.fromkeys([*([named] if named else []), *self.artifacts]):
            self.progress(f"{artifact_path}: accuracy")
            folder = _new_folder(scratch)
            job = Job(artifact_path, usable_cores(), None, self.evaluation, self.runtime)
            row = accuracies[artifact_path] = _measured(host, job, folder, self.progress)
            if row.error is not None:
                if artifact_path == named:
                    raise BopkitError(f"The reference {named} cannot be measured: {row.error}", row.hint or "")
                continue
            scores = np.load(folder / SCORES_FILE, mmap_mode="r")
            score(row, scores, np.load(folder / LABELS_FILE, mmap_mode="r"))
            if reference_scores is None:
                self.reference, reference_scores = artifact_path, scores
            else:
                compare(row, scores, reference_scores)
        return accuracies

    def _measure_on(self, device: Device, accuracies: Mapping[str, BenchmarkRow], scratch: Path) -> list[BenchmarkRow]:
        rows: list[BenchmarkRow] = []
        lost: DeviceLostError | None = None
        for artifact_path in self.artifacts:
            accuracy = accuracies.get(artifact_path)
            if accuracy is not None and accuracy.error is not None:
                rows.append(dataclasses.replace(accuracy, device=device.name, threads=None))
                continue
            for threads in self.threads:
                if lost is not None:
                    rows.append(_failed(artifact_path, lost, device.name, threads))
                    continue
                on = "" if device.name == LOCAL else f" on {device.name}"
                self.progress(f"{artifact_path}: latency{on}, {threads} thread(s)")
                time.sleep(self.cool_down_s)
                job = Job(artifact_path, threads, self.timing, runtime=self.runtime)
                try:
                    rows.append(_measured(device, job, _new_folder(scratch), self.progress))
                except DeviceLostError as error:
                    lost = error
                    rows.append(_failed(artifact_path, error, device.name, threads))
        return rows


def _new_folder(scratch: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=scratch))


def _measured(device: Device, job: Job, folder: Path, progress: Progress) -> BenchmarkRow:
    try:
        row = device.measure(job, folder, progress)
    except DeviceLostError:
        raise
    except (BopkitError, OSError) as error:
        return _failed(job.artifact, translate(error), device.name, job.threads)
    row.device = device.name
    if job.timing is not None and row.error is None:
        add_timing_notes(row, job.timing)
    return row


def _failed(artifact_path: str, error: BopkitError, device: str, threads: int | None = None) -> BenchmarkRow:
    return BenchmarkRow(artifact_path, device, threads, error=error.message, hint=error.hint)


def _take_accuracy(row: BenchmarkRow, accuracy: BenchmarkRow | None) -> None:
    """Put the accuracy of an artifact into one of its rows."""
    if accuracy is None or accuracy.error is not None:
        return
    for name in ACCURACY_FIGURES:
        setattr(row, name, getattr(accuracy, name))
    row.notes = list(dict.fromkeys([*row.notes, *accuracy.notes]))


def _card_of(row: BenchmarkRow) -> ModelCard | None:
    """The card of what was measured; None if it has none, or is gone meanwhile."""
    if row.error is not None:
        return None
    try:
        return artifact.read_card(row.artifact)
    except (BopkitError, OSError):
        return None


def _suggest_datasets(rows: Sequence[BenchmarkRow], cards: Sequence[ModelCard | None]) -> None:
    for row, card in zip(rows, cards, strict=True):
        if card is not None and card.names_stock_dataset:
            row.notes.append(dataset_suggestion(card.dataset))


def _describe_flatbuffers(rows: Sequence[BenchmarkRow]) -> None:
    """Fill in where the bytes of flatbuffers are, and the floor: read here, since no device has to know."""
    known: dict[str, tuple[list[LayerBytes], int | None]] = {}
    for row in rows:
        if row.error is None and row.kind == "tflite":
            if row.artifact not in known:
                known[row.artifact] = _layers_and_floor_bytes(Path(row.artifact))
            row.layers, row.floor_bytes = known[row.artifact]


def _layers_and_floor_bytes(flatbuffer: Path) -> tuple[list[LayerBytes], int | None]:
    """Of each what can be read: the file may be gone meanwhile, and its record damaged."""
    layers, floor_bytes = [], None
    with contextlib.suppress(BopkitError, OSError):
        layers = flatbuffer_layers(flatbuffer)
    with contextlib.suppress(BopkitError, OSError):
        floor_bytes = artifact.read_floor_bytes(flatbuffer)
    return layers, floor_bytes


def _share_floors(rows: Sequence[BenchmarkRow], cards: Sequence[ModelCard | None]) -> None:
    """Give artifacts that do not tell their floor that of a row whose card describes the same network."""
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
