"""The settings of a measurement and its figures; `Measurement.to_dict` gives them as plain values for JSON."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is asked for.

    Attributes:
        threads: Threads of one run, 1 to 256.
        isa: Instruction set, one of `bopkit_runtime.isas()`; `auto` for the fastest. In a `Measurement`, the one that
            ran.
        claim: Operators that the delegate takes: `all` that it can, or `binary` ones only.
        warmup_runs: Runs after the first before the timed ones, 0 or more.
        runs: Timed runs, at least; 1 or more.
        min_seconds: They go on until this is over: percentiles of few short runs are mostly noise.
        max_seconds: Limit for the timed runs, at which there may be fewer (but at least 5); the warm-up ends after a
            fifth of it. None for no limit.
    """

    threads: int = 1
    isa: str = "auto"
    claim: str = "all"
    warmup_runs: int = 10
    runs: int = 50
    min_seconds: float = 1.0
    max_seconds: float | None = None


@dataclasses.dataclass(frozen=True)
class Latency:
    """Latency of one run, tensors in place: what LiteRT's `benchmark_model` times.

    Attributes:
        latency_ms_p50: Median in milliseconds.
        latency_ms_p90: 90th percentile, interpolated linearly between runs.
        latency_ms_p99: 99th percentile.
        latency_ms_mean: Mean.
        latency_ms_std: Standard deviation.
        latency_ms_min: Fastest run.
        runs: Timed runs.
        warmup_runs: Runs after the first that were not timed.
        duration_s: Time of all timed runs.
        load_ms: Time to load the file and pack its weights, the import of LiteRT not included.
        first_inference_ms: Time of the first run, which is not among the timed ones.
        samples_ms: Each timed run, in order.
    """

    latency_ms_p50: float
    latency_ms_p90: float
    latency_ms_p99: float
    latency_ms_mean: float
    latency_ms_std: float
    latency_ms_min: float
    runs: int
    warmup_runs: int
    duration_s: float
    load_ms: float
    first_inference_ms: float
    samples_ms: list[float]


@dataclasses.dataclass(frozen=True)
class Step:
    """One step of the delegate.

    Attributes:
        partition: Which of the delegate's nodes it belongs to, from 0.
        name: What it computes.
        binary_macs: Multiply-accumulates of single bits in one run.
        float_macs: Those of float32 numbers.
        int8_macs: Those of int8 numbers.
        latency_ms_mean: Its mean time; None if the steps were not measured.
        latency_ms_min: Its shortest time.
    """

    partition: int
    name: str
    binary_macs: int
    float_macs: int
    int8_macs: int
    latency_ms_mean: float | None
    latency_ms_min: float | None


@dataclasses.dataclass(frozen=True)
class Profile:
    """What runs where; measured, if at all, in runs of its own, so that its clocks do not count in the latency.

    Attributes:
        claimed_nodes: Operators of the file that the delegate runs.
        partitions: Nodes that it runs them in.
        steps: What it does, in order.
        latency_ms_mean: Mean latency of the runs in which the steps were measured; None if they were not.
        outside_ms_mean: The part of it that no step took: LiteRT's own operators, and the calls of ours.
    """

    claimed_nodes: int
    partitions: int
    steps: list[Step]
    latency_ms_mean: float | None = None
    outside_ms_mean: float | None = None


@dataclasses.dataclass(frozen=True)
class Machine:
    """Where it was measured; None for what cannot be read there.

    Attributes:
        cpu: Name of the CPU, and of the board.
        logical_cores: Number of logical cores.
        os: Operating system and version.
        governor: How the first core's clock is chosen.
        temperature_c_before: Hottest thermal zone before the first run, in degrees Celsius.
        temperature_c_after: That after the last.
        is_throttled: Whether the clock was lowered meanwhile, for heat or power.
        peak_memory_bytes: Largest resident set of this process: Python, LiteRT, weights, activations.
    """

    cpu: str
    logical_cores: int
    os: str
    governor: str | None
    temperature_c_before: float | None
    temperature_c_after: float | None
    is_throttled: bool | None
    peak_memory_bytes: int | None


@dataclasses.dataclass(frozen=True)
class Software:
    """What it was measured with.

    Attributes:
        version: Version of bopkit-runtime.
        library_sha256: SHA-256 of its native library.
        litert: Name of the distribution that LiteRT is from.
        litert_version: Its version.
        python_version: Python's.
        numpy_version: numpy's.
    """

    version: str
    library_sha256: str
    litert: str
    litert_version: str
    python_version: str
    numpy_version: str


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What `measure_model` in timing.py found.

    Attributes:
        model: Path of the model, as given.
        model_bytes: Its size.
        model_sha256: Its SHA-256.
        inputs: `name`, `dtype` and `shape` of each input, which held uniform random numbers, floats from -1 to 1.
        outputs: `name`, `dtype` and `shape` of each output.
        date: Start, ISO 8601 in UTC.
        settings: What was asked for, with the instruction set that ran.
        latency: How long it took.
        profile: What runs where.
        machine: Where it was measured.
        software: What it was measured with.
    """

    model: str
    model_bytes: int
    model_sha256: str
    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    date: str
    settings: Settings
    latency: Latency
    profile: Profile
    machine: Machine
    software: Software

    def to_dict(self) -> dict[str, Any]:
        """As dictionaries, lists, strings and numbers."""
        return dataclasses.asdict(self)
