"""What a benchmark found, as plain values: `to_dict` is ready for JSON, which `bopkit.benchmark.reports` reads."""

from __future__ import annotations

import dataclasses
import datetime
import platform
from collections.abc import Mapping
from typing import Any

from bopkit import files, host
from bopkit.benchmark.job import Timing
from bopkit.metrics import SCORE_TOLERANCE
from bopkit.tabular import Column, Tabular, record
from bopkit.text import ms_text, percent_text, size_text
from bopkit.versions import RUNTIME_PACKAGES, package_versions

SCHEMA_VERSION = 1
"""Raised when a figure changes its name or meaning; what is only added keeps it."""

LOCAL = "local"
"""Name of this host among the devices."""

EMULATED = "qemu:"
"""What the names of emulated microcontrollers begin with: their instructions are counted, and no time is measured."""


@dataclasses.dataclass(frozen=True)
class StepTime:
    """One step of an inference, as its runtime divides it.

    Attributes:
        name: What it computes.
        latency_ms_mean: Its mean time, measured in separate runs that do not count in the row's latency.
    """

    name: str
    latency_ms_mean: float


@dataclasses.dataclass(frozen=True)
class LayerBytes:
    """Where the bytes of an artifact are.

    Attributes:
        name: The layer or tensor.
        size_bytes: Its size in the file.
        is_packed: Whether its weights are stored as one bit each.
    """

    name: str
    size_bytes: int
    is_packed: bool


ROW_COLUMNS = (
    Column("artifact", "artifact"),
    Column("device", "device"),
    Column("threads", "threads"),
    Column("top-1", "top1", percent_text),
    Column("p50 ms", "latency_ms_p50", ms_text),
    Column("instructions", "instructions", "{:,}".format),
    Column("size", "size_bytes", size_text),
    Column("failed", "error"),
    Column("runtime", "runtime"),
    Column("agreement", "top1_agreement", percent_text),
    Column("flash", "flash_bytes", size_text),
    Column("RAM", "ram_bytes", size_text),
    Column("stack", "stack_bytes", size_text),
    Column("memory", "peak_memory_bytes", size_text),
)
"""What Python shows of rows."""


@dataclasses.dataclass(repr=False)
class BenchmarkRow(Tabular):
    """One artifact on one device with one number of threads. What was not measured is None; figures that were
    measured before an error stay.

    Accuracy is measured on this host, once per artifact, and is the same in all of its rows.

    Attributes:
        artifact: Its path, as given.
        device: Where its latency was measured: `local`, `ssh://...` or `adb...`, as given; or `qemu:...`, where its
            instructions were counted.
        threads: Threads for one picture.
        kind: `keras`, `savedmodel`, `tflite` or `c`.
        runtime: The runtime that ran it.
        settings: Settings of the runtime by name, `threads` among them.
        error: Why it could not be measured, in one line; None if it was.
        hint: What to do about it.
        notes: What the reader should know, one sentence each.
        architecture: Name in its card; empty without a card.
        variant: Its form where several forms of one network are compared, e.g. `int8 twin`; else empty.
        input_shape: Height, width, channels of one picture.
        classes: Number of scores.
        size_bytes: Size of the file, or of all files of the SavedModel's version directory; of C sources the bytes of
            their weights and other constants.
        weight_bytes: Bytes of the weights of C sources.
        floor_bytes: One bit per binary weight and four bytes per other weight, batch-norm statistics included. Counted
            in Keras files, recorded in flatbuffers and C sources by `bopkit export`, and taken from one of these for
            other artifacts whose cards describe the same network.
        load_ms: Time to load the artifact, the import of its runtime's libraries not included.
        first_inference_ms: Time of the first picture, tracing and weight packing included.
        latency_ms_p50: Median latency of one picture (batch 1) in milliseconds, from array to scores.
        latency_ms_p90: 90th percentile.
        latency_ms_p99: 99th percentile.
        latency_ms_mean: Mean.
        latency_ms_std: Standard deviation.
        latency_ms_min: Fastest run.
        runs: Timed runs.
        warmup_runs: Untimed runs before them.
        peak_memory_bytes: Largest resident set of the process that loaded and timed the artifact: Python, the
            runtime's libraries (TensorFlow for Keras and SavedModel), weights, activations; no dataset.
        model_memory_bytes: How much loading and running raised that peak above the peak after the import of the
            libraries. A lower bound: memory that the import freed is used first.
        instructions: Of one random picture on an emulated microcontroller; how long they take there is not known.
        flash_bytes: Machine code and constants of the network's own sources on it, without start-up code and libraries.
        code_bytes: The machine code among them.
        ram_bytes: Its arena and variables, without stack, input and output.
        stack_bytes: The most that it takes of the stack.
        preprocessing: Name of the preprocessing that made its input.
        preprocessing_source: `preprocess_fn` or `model card`.
        pictures: Number of pictures that accuracy was measured on.
        top1: Share of them whose class has the highest score, 0 to 1.
        top1_interval: Ends of the 95 % Wilson interval of `top1`: the range to expect on other pictures of that kind.
        top5: Share of them whose class is among the five highest scores; None with fewer than six classes.
        top5_interval: Ends of its 95 % Wilson interval.
        loss: Mean cross-entropy (natural logarithm); None where the scores are not probabilities.
        calibration_error: Expected calibration error of the highest score, 0 to 1, in 15 bins of equal width (Guo et
            al. 2017, section 2); None where the scores are not probabilities.
        class_top1: `top1` of the pictures of each class; None for a class without pictures.
        balanced_accuracy: Mean of `class_top1`: each class counts alike, however many pictures it has.
        confusion: `[class, predicted class, pictures]` of each pair that occurs, in ascending order.
        top1_agreement: Share of the pictures for which it predicts the same class as the reference.
        top1_agreement_interval: Ends of its 95 % Wilson interval.
        within_tolerance: Share of the pictures all of whose scores are within the tolerance of the reference's.
        images_per_second: Pictures per second while accuracy was measured, reading and preprocessing included.
        samples_ms: Each timed run, in order, in milliseconds.
        duration_s: Time of all timed runs.
        governor: How the device chooses the clock of its first core; None if unknown.
        temperature_c_before: Its hottest thermal zone before the first run, in degrees Celsius.
        temperature_c_after: The same after the last run.
        is_throttled: Whether its clock was lowered during the runs because of heat or power; None if unknown.
        model_sha256: SHA-256 of the file; None for directories.
        library_sha256: SHA-256 of the native library that ran it, if that is one file.
        steps: The steps of an inference and their times; empty if the runtime does not report them.
        layers: Where the bytes of the artifact are; empty if the file does not show it.
    """  # noqa: D205

    artifact: str
    device: str = LOCAL
    threads: int | None = None
    kind: str = ""
    runtime: str = ""
    settings: dict[str, str | int | bool] = dataclasses.field(default_factory=dict)
    error: str | None = None
    hint: str | None = None
    notes: list[str] = dataclasses.field(default_factory=list)
    architecture: str = ""
    variant: str = ""
    input_shape: tuple[int, int, int] | None = None
    classes: int | None = None
    size_bytes: int | None = None
    weight_bytes: int | None = None
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
    instructions: int | None = None
    flash_bytes: int | None = None
    code_bytes: int | None = None
    ram_bytes: int | None = None
    stack_bytes: int | None = None
    preprocessing: str | None = None
    preprocessing_source: str | None = None
    pictures: int | None = None
    top1: float | None = None
    top1_interval: tuple[float, float] | None = None
    top5: float | None = None
    top5_interval: tuple[float, float] | None = None
    loss: float | None = None
    calibration_error: float | None = None
    class_top1: list[float | None] = dataclasses.field(default_factory=list)
    balanced_accuracy: float | None = None
    confusion: list[tuple[int, int, int]] = dataclasses.field(default_factory=list)
    top1_agreement: float | None = None
    top1_agreement_interval: tuple[float, float] | None = None
    within_tolerance: float | None = None
    images_per_second: float | None = None
    samples_ms: list[float] = dataclasses.field(default_factory=list)
    duration_s: float | None = None
    governor: str | None = None
    temperature_c_before: float | None = None
    temperature_c_after: float | None = None
    is_throttled: bool | None = None
    model_sha256: str | None = None
    library_sha256: str | None = None
    steps: list[StepTime] = dataclasses.field(default_factory=list)
    layers: list[LayerBytes] = dataclasses.field(default_factory=list)

    _columns = ROW_COLUMNS

    @property
    def is_emulated(self) -> bool:
        """Whether its device is an emulated microcontroller."""
        return self.device.startswith(EMULATED)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> BenchmarkRow:
        """Read what `dataclasses.asdict` and JSON made of a row.

        Raises:
            TypeError: It has other keys than a row.
        """
        known = dict(values)
        for name in ("input_shape", "top1_interval", "top5_interval", "top1_agreement_interval"):
            if known.get(name) is not None:
                known[name] = tuple(known[name])
        known["confusion"] = [tuple(each) for each in known.get("confusion", ())]
        known["steps"] = [StepTime(**each) for each in known.get("steps", ())]
        known["layers"] = [LayerBytes(**each) for each in known.get("layers", ())]
        return cls(**known)


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How it was measured.

    Attributes:
        threads: Threads for one picture; each number has a row.
        timing: Warm-up, runs and limits; each row has its number of runs.
        cool_down_s: Pause before each row, in which the device cools down.
        date: Start, ISO 8601 in UTC.
        latency_input: What the timed picture was.
        score_tolerance: Absolute difference of two scores that `within_tolerance` allows.
    """

    threads: tuple[int, ...]
    timing: Timing
    cool_down_s: float = 0.0
    date: str = dataclasses.field(
        default_factory=lambda: datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    )
    latency_input: str = "one uniformly random picture over the card's value range (-1 to 1 without a card)"
    score_tolerance: float = SCORE_TOLERANCE


@dataclasses.dataclass(frozen=True)
class Environment:
    """A device on which something was measured: always on its CPU, also where it has a GPU.

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
            versions=package_versions(RUNTIME_PACKAGES),
        )


@dataclasses.dataclass(frozen=True, repr=False)
class BenchmarkReport(Tabular):
    """What `benchmark_artifacts` found.

    Attributes:
        rows: One for each artifact, device and number of threads, by device, then in the order given.
        reference: Path of the artifact that the others are compared with: the one that `--reference` names, else the
            first whose accuracy could be measured; None without a dataset.
        dataset: Name of the dataset; None if only latency, size and memory were measured.
        split: Split of the dataset.
        class_names: Of the dataset; empty without one.
        protocol: How it was measured.
        environments: Where it was measured, by the name of the device; only devices that answered.
    """

    rows: tuple[BenchmarkRow, ...]
    reference: str | None
    dataset: str | None
    split: str | None
    class_names: tuple[str, ...]
    protocol: Protocol
    environments: dict[str, Environment]

    _columns = ROW_COLUMNS

    @property
    def failed(self) -> tuple[BenchmarkRow, ...]:
        """The rows with an error."""
        return tuple(row for row in self.rows if row.error is not None)

    def to_dict(self) -> dict[str, Any]:
        """The report as dictionaries, lists, strings and finite numbers, for JSON; every row has every key."""
        return {"schema_version": SCHEMA_VERSION, **files.finite(dataclasses.asdict(self))}

    def _title(self) -> str:
        return f"{self.dataset} {self.split}" if self.dataset else ""

    def _records(self) -> list[dict[str, Any]]:
        of_all = {"dataset": self.dataset, "split": self.split, "date": self.protocol.date}
        return [{**record(row), **of_all} for row in self.rows]

    def _shown_records(self) -> list[dict[str, Any]]:
        return without_what_is_usual(self._records())


def without_what_is_usual(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records of rows without their device and threads, where all were measured on this host with one thread."""
    usual = {"device": LOCAL, "threads": 1}
    dropped = {name: None for name, value in usual.items() if all(each[name] in (value, None) for each in records)}
    return [{**each, **dropped} for each in records]
