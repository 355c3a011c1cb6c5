"""`benchmark_artifacts`: accuracy on this host, then latency on each device, into one report.

`run_benchmark` has the order of events; `_Session` measures. What one measuring process does is in
`bopkit.benchmark.worker`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from bopkit import files
from bopkit.artifacts import artifact
from bopkit.artifacts.c_sources import is_c_sources
from bopkit.artifacts.card import ModelCard
from bopkit.benchmark.accuracy import plan_evaluation
from bopkit.benchmark.accuracy_figures import ACCURACY_FIGURES, fill_accuracy, fill_agreement
from bopkit.benchmark.devices import Device, DeviceLostError, open_device
from bopkit.benchmark.devices.local import LocalDevice
from bopkit.benchmark.job import CHECKPOINT_FILE, LABELS_FILE, PICTURES_FILE, SCORES_FILE, EvaluationPlan, Job, Timing
from bopkit.benchmark.options import BenchmarkOptions
from bopkit.benchmark.results import LOCAL, BenchmarkReport, BenchmarkRow, Environment, Protocol
from bopkit.benchmark.row_details import add_details
from bopkit.benchmark.row_notes import add_timing_notes
from bopkit.errors import BopkitError, UsageError
from bopkit.failures import translate
from bopkit.host import usable_cores
from bopkit.pretrained import model_path
from bopkit.progress import Progress, silent
from bopkit.text import threads_text


def benchmark_artifacts(
    artifacts: Sequence[str | Path],
    dataset: str | None = None,
    data_dir: str | Path | None = None,
    split: str | None = None,
    preprocess_fn: str | None = None,
    limit: int | None = None,
    warmup_runs: int = Timing.warmup_runs,
    runs: int = Timing.runs,
    threads: int | Sequence[int] = 1,
    batch_size: int = 32,
    time_limit_s: float = Timing.time_limit_s,
    runtime: str | None = None,
    devices: Sequence[str] = (LOCAL,),
    min_duration_s: float = Timing.min_duration_s,
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

    On this host each is measured in its own process, one after the other. One that cannot be measured becomes a
    row with its error; the others are still measured.

    Args:
        artifacts: Paths of `.h5`, `.keras` and `.tflite` files, of run directories, whose `model.h5` is meant, of
            SavedModel directories, with or without the version, and of folders of C sources; `pull:NAME` for trained
            networks.
        dataset: Name of a prepared dataset for the accuracy; None for latency, size and memory only.
        data_dir: Where TFDS keeps prepared datasets; None for its default.
        split: Split of the dataset; None for its test split, or where it has none for the one that validated the first
            artifact.
        preprocess_fn: Name of the preprocessing for all artifacts, `default` for the dataset's; None for what
            each artifact's card names, else the dataset's default.
        limit: Measure accuracy on that many pictures; None for all.
        warmup_runs: Untimed runs before the timed ones.
        runs: Timed runs of one picture. Networks that take less than `min_duration_s` for all get more, and those
            that reach the time limit fewer.
        threads: Threads for one picture; each of several numbers has its own rows.
        batch_size: Pictures per batch while accuracy is measured; flatbuffers take one picture at a time on each core.
        time_limit_s: Limit for the timed runs of one artifact, in seconds.
        runtime: The runtime of flatbuffers: `litert` or `lce`; None for `litert` where bopkit-runtime is installed,
            else `lce`.
        devices: Where latency is measured: `local`, `ssh://[user@]host[:port]` or `adb[:serial]`; or where instructions
            of C sources are counted: `qemu:CORE`. One that disconnects keeps its finished rows; each of its other rows
            says why it failed.
        min_duration_s: Minimum time of all timed runs of one row.
        cool_down_s: Pause before each row, in which the device cools down.
        with_steps: Also measure the steps of an inference, in separate runs, if the runtime can.
        cpu_mask: Cores to run on, in hexadecimal as `taskset` takes them; None for all.
        runner: Benchmark binary for devices over adb: LCE's `lce_benchmark_model`, or TensorFlow Lite's
            `benchmark_model` with our library beside it.
        reference: Artifact that the others' outputs are compared with, one of them or another; None for the first whose
            accuracy can be measured.
        resume: Keep scores in the user's cache folder until the report is delivered, and resume from those that an
            interrupted call with the same arguments left.
        deliver: Called with the report, to write it; if that fails, the saved scores are kept.
        progress: Called with one line now and then.

    Returns:
        One row for each artifact, device and number of threads. `report.failed` holds those with an error.

    Raises:
        UsageError: A name or number is wrong, whatever the artifacts.
        BopkitError: The dataset is not prepared, or the reference's accuracy cannot be measured.
    """
    options = BenchmarkOptions(
        dataset=dataset,
        data_dir=data_dir,
        split=split,
        preprocess_fn=preprocess_fn,
        limit=limit,
        batch_size=batch_size,
        reference=reference,
        resume=resume,
        threads=(threads,) if isinstance(threads, int) else tuple(threads),
        warmup_runs=warmup_runs,
        runs=runs,
        min_duration_s=min_duration_s,
        time_limit_s=time_limit_s,
        with_steps=with_steps,
        cpu_mask=cpu_mask,
        cool_down_s=cool_down_s,
        runtime=runtime,
        devices=tuple(devices),
        runner=runner,
    )
    return run_benchmark(artifacts, options, deliver, progress)


def run_benchmark(
    artifacts: Sequence[str | Path],
    options: BenchmarkOptions,
    deliver: Callable[[BenchmarkReport], None] | None = None,
    progress: Progress | None = None,
) -> BenchmarkReport:
    """`benchmark_artifacts` with its options in one object; the same errors are raised."""
    if not artifacts:
        raise UsageError("No artifact was named.", "Give a .h5, .keras or .tflite file or a SavedModel.")
    artifacts = [model_path(each, progress) for each in artifacts]
    if options.reference:
        options = dataclasses.replace(options, reference=model_path(options.reference, progress))
    plan = _plan_evaluation(artifacts, options)
    protocol = Protocol(options.threads, options.timing, options.cool_down_s)  # now: it has the date of the start
    with files.temporary_directory("benchmark") as scratch:
        session = _Session(tuple(map(str, artifacts)), options, Path(scratch), progress or silent)
        # First: accuracy tells which artifacts do not fit the dataset.
        accuracies = session.measure_accuracies(plan) if plan is not None else _Accuracies()
        rows, environments = session.measure_latencies(accuracies)
    for row in rows:
        _copy_accuracy(row, accuracies.rows.get(row.artifact))
    add_details(rows, suggest_datasets=plan is None)
    report = BenchmarkReport(
        rows=tuple(rows),
        reference=accuracies.reference,
        dataset=options.dataset,
        split=plan.split if plan else None,
        class_names=plan.class_names if plan else (),
        protocol=protocol,
        environments=environments,
    )
    if deliver is not None:
        deliver(report)
    for checkpoint in accuracies.checkpoints:
        shutil.rmtree(checkpoint, ignore_errors=True)
    return report


def _plan_evaluation(artifacts: Sequence[str | Path], options: BenchmarkOptions) -> EvaluationPlan | None:
    """Open the dataset once, so that what is wrong with it is one error and not one a row.

    Raises:
        UsageError: An unknown name, or a split without pictures.
        BopkitError: The dataset is not prepared.
    """
    if options.dataset is None:
        return None
    return plan_evaluation(
        options.dataset,
        data_dir=options.data_dir,
        split=options.split,
        preprocess_fn=options.preprocess_fn,
        limit=options.limit,
        batch_size=options.batch_size,
        resume=options.resume,
        card=_first_card(artifacts),
    )


def _first_card(artifacts: Sequence[str | Path]) -> ModelCard | None:
    """The card of the first artifact; None where it has none, or cannot be read, which its row will say."""
    with contextlib.suppress(BopkitError, OSError):
        return artifact.read_card(artifacts[0])
    return None


@dataclasses.dataclass
class _Accuracies:
    """The accuracies of all artifacts.

    Attributes:
        rows: By the artifact's path: its accuracy, or its error.
        reference: Path of the artifact that the others were compared with.
        shown: By the artifact's path: a file with a few of the dataset's pictures as C sources took them.
        checkpoints: Folders of scores that are kept until the report is delivered.
    """

    rows: dict[str, BenchmarkRow] = dataclasses.field(default_factory=dict)
    reference: str | None = None
    shown: dict[str, str] = dataclasses.field(default_factory=dict)
    checkpoints: list[Path] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class _Session:
    """One call of `run_benchmark`: what all measurements share."""

    artifacts: tuple[str, ...]
    options: BenchmarkOptions
    scratch: Path
    progress: Progress

    def measure_accuracies(self, plan: EvaluationPlan) -> _Accuracies:
        """Of each artifact, on this host; agreement is with the named reference, else with the first that has scores.

        Raises:
            BopkitError: The named reference cannot be measured.
        """
        host = LocalDevice()
        named = str(self.options.reference) if self.options.reference else None
        found = _Accuracies(reference=named)
        reference_scores: np.ndarray | None = None
        for path in dict.fromkeys([*([named] if named else []), *self.artifacts]):
            self.progress(f"{path}: accuracy")
            folder = self._new_folder()
            row = self._measure(host, Job(path, usable_cores(), None, plan, self.options.runtime), folder)
            found.rows[path] = row
            if (folder / PICTURES_FILE).exists():
                found.shown[path] = str(folder / PICTURES_FILE)
            if (folder / CHECKPOINT_FILE).exists():
                found.checkpoints.append(Path((folder / CHECKPOINT_FILE).read_text()))
            if row.error is not None:
                if path == named:
                    raise BopkitError(f"The reference {named} cannot be measured: {row.error}", row.hint or "")
                continue
            scores = np.load(folder / SCORES_FILE, mmap_mode="r")
            fill_accuracy(row, scores, np.load(folder / LABELS_FILE, mmap_mode="r"))
            if reference_scores is None:
                found.reference, reference_scores = path, scores
            else:
                fill_agreement(row, scores, reference_scores)
        return found

    def measure_latencies(self, accuracies: _Accuracies) -> tuple[list[BenchmarkRow], dict[str, Environment]]:
        """Rows of all devices, and the environments of those that answered, by their names.

        An artifact whose accuracy could not be measured is not timed: its rows have that error.
        """
        rows: list[BenchmarkRow] = []
        environments: dict[str, Environment] = {}
        for name in self.options.devices:
            try:
                device = open_device(name, Path(self.options.runner) if self.options.runner is not None else None)
            except (BopkitError, OSError) as error:
                rows += [_failed(path, translate(error), name) for path in self.artifacts]
                continue
            environments[name] = device.environment
            try:
                rows += self._measure_on(device, accuracies)
            finally:
                device.close()
        return rows, environments

    def _measure_on(self, device: Device, accuracies: _Accuracies) -> list[BenchmarkRow]:
        rows: list[BenchmarkRow] = []
        lost: DeviceLostError | None = None
        for path in self.artifacts:
            accuracy = accuracies.rows.get(path)
            if accuracy is not None and accuracy.error is not None:
                rows.append(dataclasses.replace(accuracy, device=device.name, threads=None))
                continue
            # C sources compute on one thread, and so does whatever an emulated board is shown.
            one = device.has_one_core or is_c_sources(Path(path))
            for threads in (1,) if one else self.options.threads:
                if lost is not None:
                    rows.append(_failed(path, lost, device.name, threads))
                    continue
                on = "" if device.name == LOCAL else f" on {device.name}"
                self.progress(f"{path}:{on}" if one and on else f"{path}: latency{on}, {threads_text(threads)}")
                time.sleep(0 if device.has_one_core else self.options.cool_down_s)
                shown = accuracies.shown.get(path)
                job = Job(path, threads, self.options.timing, runtime=self.options.runtime, pictures=shown)
                try:
                    row = self._measure(device, job, self._new_folder())
                    row.threads = None if device.has_one_core else row.threads
                    rows.append(row)
                except DeviceLostError as error:
                    lost = error
                    rows.append(_failed(path, error, device.name, threads))
        return rows

    def _measure(self, device: Device, job: Job, folder: Path) -> BenchmarkRow:
        """The row of one job; whatever goes wrong is its error.

        Raises:
            DeviceLostError: The device dropped out.
        """
        try:
            row = device.measure(job, folder, self.progress)
        except DeviceLostError:
            raise
        except (BopkitError, OSError) as error:
            return _failed(job.artifact, translate(error), device.name, job.threads)
        row.device = device.name
        if job.timing is not None and row.error is None:
            add_timing_notes(row, job.timing)
        return row

    def _new_folder(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self.scratch))


def _failed(path: str, error: BopkitError, device: str, threads: int | None = None) -> BenchmarkRow:
    return BenchmarkRow(path, device, threads, error=error.message, hint=error.hint)


def _copy_accuracy(row: BenchmarkRow, accuracy: BenchmarkRow | None) -> None:
    """Copy the accuracy of an artifact into one of its rows."""
    if accuracy is None or accuracy.error is not None:
        return
    for name in ACCURACY_FIGURES:
        setattr(row, name, getattr(accuracy, name))
    row.notes = list(dict.fromkeys([*row.notes, *accuracy.notes]))
