"""What a benchmark found, as plain values: `to_dict` is ready for JSON."""

from __future__ import annotations

import dataclasses
import datetime
import platform
from typing import Any

from bopkit.benchmark import host
from bopkit.benchmark.metrics import SCORE_TOLERANCE
from bopkit.card import package_versions


@dataclasses.dataclass
class BenchmarkRow:
    """One artifact. What was not measured is None; figures that were measured before an error stay.

    Attributes:
        artifact: Its path, as given.
        kind: `keras`, `savedmodel` or `tflite`.
        runtime: What ran it.
        settings: Settings of the runtime by name, `threads` among them.
        error: Why it could not be measured, in one line; None if it was.
        hint: What to do about it.
        notes: What the reader should know, one sentence each.
        architecture: Name in its card; empty without a card.
        input_shape: Height, width, channels of one picture.
        classes: Number of scores.
        size_bytes: Size of the file, or of all files of the SavedModel's version directory.
        floor_bytes: One bit a binary weight and four bytes any other, batch-norm statistics included. Counted
            in Keras files, and taken from them for other artifacts whose cards describe the same network.
        load_ms: Time to load the artifact, the import of its runtime's libraries not included.
        first_inference_ms: Time of the first picture, tracing and weight packing included.
        latency_ms_p50: Median latency of one picture (batch 1) in milliseconds, from array to scores.
        latency_ms_p90: 90th percentile.
        latency_ms_p99: 99th percentile.
        latency_ms_mean: Mean.
        latency_ms_std: Standard deviation.
        latency_ms_min: Fastest run.
        runs: Timed runs.
        warmup_runs: Runs before them.
        peak_memory_bytes: Largest resident set of the process that loaded and timed the artifact: Python, the
            runtime's libraries (TensorFlow for Keras and SavedModel), weights, activations; no dataset.
        model_memory_bytes: How far loading and running raised that peak above the one after the import of the
            libraries. A lower bound: what the import freed again is used first.
        preprocessing: Name of the preprocessing that made its input.
        preprocessing_source: `preprocess_fn`, `model card` or `dataset default`.
        pictures: Number of pictures that accuracy was measured on.
        top1: Share of them whose class has the highest score, 0 to 1.
        top5: Share of them whose class is among the five highest scores; None with fewer than six classes.
        top1_agreement: Share of them for which it names the class that the reference names.
        within_tolerance: Share of them all of whose scores are within the tolerance of the reference's.
    """

    artifact: str
    kind: str = ""
    runtime: str = ""
    settings: dict[str, str | int | bool] = dataclasses.field(default_factory=dict)
    error: str | None = None
    hint: str | None = None
    notes: list[str] = dataclasses.field(default_factory=list)
    architecture: str = ""
    input_shape: tuple[int, int, int] | None = None
    classes: int | None = None
    size_bytes: int | None = None
    floor_bytes: int | None = None
    load_ms: float | None = None
    first_inference_ms: float | None = None
    latency_ms_p50: float | None = None
    latency_ms_p90: float | None = None
    latency_ms_p99: float | None = None
    latency_ms_mean: float | None = None
    latency_ms_std: float | None = None
    latency_ms_min: float | None = None
    runs: int | None = None
    warmup_runs: int | None = None
    peak_memory_bytes: int | None = None
    model_memory_bytes: int | None = None
    preprocessing: str | None = None
    preprocessing_source: str | None = None
    pictures: int | None = None
    top1: float | None = None
    top5: float | None = None
    top1_agreement: float | None = None
    within_tolerance: float | None = None


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How it was measured.

    Attributes:
        threads: Threads for one picture.
        warmup_runs: Runs before the timed ones.
        runs: Timed runs that were asked for; each row says how many it got.
        time_limit_s: Limit for the timed runs of one artifact, in seconds.
        date: Start, ISO 8601 in UTC.
        latency_input: What the timed picture was.
        score_tolerance: Absolute difference of two scores that `within_tolerance` allows.
    """

    threads: int
    warmup_runs: int
    runs: int
    time_limit_s: float
    date: str = dataclasses.field(
        default_factory=lambda: datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    )
    latency_input: str = "one uniformly random picture over the card's value range (-1 to 1 without a card)"
    score_tolerance: float = SCORE_TOLERANCE


@dataclasses.dataclass(frozen=True)
class Environment:
    """Where it was measured: always on the CPU, also where there is a GPU.

    Attributes:
        cpu: Name of the CPU.
        logical_cores: Number of logical cores.
        memory_bytes: Main memory.
        os: Operating system and version.
        machine: Instruction set, e.g. `x86_64`.
        versions: Versions of Python and of the packages that decide the figures.
    """

    cpu: str
    logical_cores: int
    memory_bytes: int
    os: str
    machine: str
    versions: dict[str, str]

    @classmethod
    def of_this_host(cls) -> Environment:
        """The environment of this process."""
        return cls(
            cpu=host.cpu_name(),
            logical_cores=host.logical_cores(),
            memory_bytes=host.memory_bytes(),
            os=platform.platform(),
            machine=platform.machine(),
            versions=package_versions(),
        )


@dataclasses.dataclass(frozen=True)
class BenchmarkReport:
    """What `benchmark_artifacts` found.

    Attributes:
        rows: One an artifact, in the order given.
        reference: Path of the artifact that the others are compared with, the first whose accuracy could be
            measured; None without a dataset.
        dataset: Name of the dataset; None if only latency, size and memory were measured.
        split: Split of the dataset.
        protocol: How it was measured.
        environment: Where it was measured.
    """

    rows: tuple[BenchmarkRow, ...]
    reference: str | None
    dataset: str | None
    split: str | None
    protocol: Protocol
    environment: Environment

    @property
    def failed(self) -> tuple[BenchmarkRow, ...]:
        """The rows with an error."""
        return tuple(row for row in self.rows if row.error is not None)

    def to_dict(self) -> dict[str, Any]:
        """The report as dictionaries, lists, strings and numbers; every row has every key."""
        return dataclasses.asdict(self)
