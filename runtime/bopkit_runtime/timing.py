"""How fast a model is on this machine: `measure_model`."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import gc
import math
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

import bopkit_runtime
from bopkit_runtime import machine
from bopkit_runtime.errors import BopkitRuntimeError, UsageError, first_line
from bopkit_runtime.interpreter import Interpreter
from bopkit_runtime.library import library_path
from bopkit_runtime.litert import import_litert
from bopkit_runtime.model_file import check_model_file, sha256_of

NS_PER_MS = 1e6
NS_PER_S = 1e9

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Settings:
    """What was asked for.

    Attributes:
        threads: Threads of one run.
        isa: Instruction set: the one that ran, also where `auto` was asked for.
        claim: Operators that the delegate took: `all` that it can, or `binary` ones only.
        warmup_runs: Runs after the first that were not timed.
        runs: Timed runs, at least.
        min_seconds: Time of all timed runs, at least.
        max_seconds: Limit of it, at which there are fewer runs; None for none.
    """

    threads: int
    isa: str
    claim: str
    warmup_runs: int
    runs: int
    min_seconds: float
    max_seconds: float | None


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
        latency_ms_mean: Its mean time; None if the steps were not measured.
        latency_ms_min: Its shortest time.
    """

    partition: int
    name: str
    binary_macs: int
    float_macs: int
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
    """What `measure_model` found.

    Attributes:
        model: Path of the model, as given.
        model_bytes: Its size.
        model_sha256: Its SHA-256.
        inputs: `name`, `dtype` and `shape` of each input, which held uniform random numbers, floats from -1 to 1.
        outputs: `name`, `dtype` and `shape` of each output.
        date: Start, ISO 8601 in UTC.
        settings: What was asked for.
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


def measure_model(
    path: str | os.PathLike[str],
    num_threads: int = 1,
    isa: str = "auto",
    claim: str = "all",
    warmup_runs: int = 10,
    runs: int = 50,
    min_seconds: float = 1.0,
    profile: bool = False,
    max_seconds: float | None = None,
) -> Measurement:
    """Time a model on this machine, one run after the other, on inputs of the shapes that the file names.

    Args:
        path: A .tflite file.
        num_threads: Threads for one run, 1 to 256.
        isa: Instruction set, one of `bopkit_runtime.isas()`; `auto` for the fastest.
        claim: `all`, or `binary` to leave every float operator to LiteRT.
        warmup_runs: Runs after the first before the timed ones, 0 or more.
        runs: Timed runs, at least; 1 or more.
        min_seconds: They go on until this is over: percentiles of few short runs are mostly noise.
        profile: Measure each step too.
        max_seconds: Limit for the timed runs, at which there may be fewer (but at least 5); the warm-up ends after
            a fifth of it. None for no limit.

    Raises:
        UsageError: An argument is out of its range.
        BopkitRuntimeError: The file cannot be read or run, or LiteRT is not there.
    """
    amount = _checked(_Amount(warmup_runs, runs, min_seconds, max_seconds))
    file = check_model_file(path)
    import_litert()  # its time is no part of the model's
    date = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    timed = _measured_latency(file, num_threads, isa, claim, amount)
    steps = _measured_profile(file, num_threads, isa, claim, amount) if profile else _profile(timed.described)
    return Measurement(
        model=str(path),
        model_bytes=file.stat().st_size,
        model_sha256=sha256_of(file),
        inputs=timed.inputs,
        outputs=timed.outputs,
        date=date,
        settings=Settings(num_threads, timed.described["isa"], claim, warmup_runs, runs, min_seconds, max_seconds),
        latency=timed.latency,
        profile=steps,
        machine=timed.where,
        software=_software(),
    )


def measure_steps(
    path: str | os.PathLike[str], num_threads: int = 1, warmup_runs: int = 10, runs: int = 50, max_seconds: float = 30.0
) -> Profile:
    """Time each step of a model, without the latency of whole runs.

    Args:
        path: A .tflite file.
        num_threads: Threads for one run, 1 to 256.
        warmup_runs: Runs after the first before the measured ones, 0 or more.
        runs: Measured runs; 1 or more.
        max_seconds: Limit for them, at which there may be fewer, but at least 5.

    Raises:
        UsageError: An argument is out of its range.
        BopkitRuntimeError: The file cannot be read or run, or LiteRT is not there.
    """
    amount = _checked(_Amount(warmup_runs, runs, 0.0, max_seconds))
    return _measured_profile(check_model_file(path), num_threads, "auto", "all", amount)


_FEWEST_RUNS = 5  # also of a model of which one run takes longer than the limit


class _Amount(NamedTuple):
    """How many runs, and for how long."""

    warmup_runs: int
    runs: int
    min_seconds: float
    max_seconds: float | None

    def is_enough(self, runs: int, elapsed_s: float) -> bool:
        """Whether so many timed runs in such a time are all."""
        if self.max_seconds is not None and elapsed_s >= self.max_seconds and runs >= _FEWEST_RUNS:
            return True
        return runs >= self.runs and elapsed_s >= self.min_seconds


class _Timed(NamedTuple):
    """What the latency's interpreter left."""

    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    latency: Latency
    where: Machine
    described: dict[str, Any]


def _checked(amount: _Amount) -> _Amount:
    """The amount, if it can be one.

    Raises:
        UsageError: It cannot.
    """
    if amount.warmup_runs < 0:
        raise UsageError(f"warmup_runs is {amount.warmup_runs}.", "Use a number from 0.")
    if amount.runs < 1:
        raise UsageError(f"runs is {amount.runs}.", "Use a number from 1.")
    if not (math.isfinite(amount.min_seconds) and amount.min_seconds >= 0):
        raise UsageError(f"min_seconds is {amount.min_seconds:g}.", "Use a number from 0.")
    if amount.max_seconds is not None and not amount.max_seconds > 0:
        raise UsageError(f"max_seconds is {amount.max_seconds:g}.", "Use a number above 0.")
    return amount


def _fill_inputs(interpreter: Interpreter) -> list[dict[str, Any]]:
    """Uniform random numbers into all inputs, always the same ones; what the inputs are."""
    random = np.random.default_rng(0)
    filled = []
    for each in interpreter.litert.get_input_details():
        dtype, shape = np.dtype(each["dtype"]), tuple(int(size) for size in each["shape"])
        if dtype.kind == "f":
            values = random.uniform(-1, 1, shape).astype(dtype)
        elif dtype.kind == "b":
            values = random.integers(0, 2, shape).astype(dtype)
        elif dtype.kind in "iu":
            values = random.integers(-128 if dtype.kind == "i" else 0, 128, shape).astype(dtype)
        else:
            raise BopkitRuntimeError(f"Input {each['name']!r} takes {dtype}.", "Only inputs of numbers can be timed.")
        interpreter.litert.set_tensor(each["index"], values)
        filled.append(_tensor(each))
    return filled


def _tensor(details: dict[str, Any]) -> dict[str, Any]:
    shape = [int(size) for size in details["shape"]]
    return {"name": details["name"], "dtype": np.dtype(details["dtype"]).name, "shape": shape}


def _invoke(interpreter: Interpreter) -> None:
    try:
        interpreter.litert.invoke()
    except (ValueError, RuntimeError) as error:
        raise BopkitRuntimeError(f"The model cannot be run: {first_line(error)}.", "Export it again.") from error


def _time_runs(interpreter: Interpreter, amount: _Amount) -> tuple[int, list[int]]:
    """Runs of the warm-up, and durations in nanoseconds of those after it, without garbage collection between them."""
    warmups = 0
    begin_s = time.perf_counter()
    while warmups < amount.warmup_runs and not (
        amount.max_seconds is not None and time.perf_counter() - begin_s >= amount.max_seconds / 5
    ):
        _invoke(interpreter)
        warmups += 1
    invoke = interpreter.litert.invoke
    durations_ns: list[int] = []
    elapsed_ns = 0
    with _no_garbage_collection():
        while not amount.is_enough(len(durations_ns), elapsed_ns / NS_PER_S):
            start_ns = time.perf_counter_ns()
            invoke()
            durations_ns.append(time.perf_counter_ns() - start_ns)
            elapsed_ns += durations_ns[-1]
    return warmups, durations_ns


def _summary(durations_ns: Sequence[int], warmup_runs: int, load_ns: int, first_ns: int) -> Latency:
    durations_ms = np.asarray(durations_ns) / NS_PER_MS
    p50, p90, p99 = (float(value) for value in np.percentile(durations_ms, (50, 90, 99)))
    return Latency(
        latency_ms_p50=p50,
        latency_ms_p90=p90,
        latency_ms_p99=p99,
        latency_ms_mean=float(durations_ms.mean()),
        latency_ms_std=float(durations_ms.std()),
        latency_ms_min=float(durations_ms.min()),
        runs=len(durations_ns),
        warmup_runs=warmup_runs,
        duration_s=sum(durations_ns) / NS_PER_S,
        load_ms=load_ns / NS_PER_MS,
        first_inference_ms=first_ns / NS_PER_MS,
        samples_ms=[round(each, 6) for each in durations_ms.tolist()],  # the clock counts nanoseconds
    )


def _measured_latency(path: Path, num_threads: int, isa: str, claim: str, amount: _Amount) -> _Timed:
    """The latency, and the machine meanwhile.

    The interpreter ends with this call: a board may not have memory for the weights twice.
    """
    temperature_c_before, limits_before = machine.temperature_c(), machine.clock_limits()
    load_ns, interpreter = _timed(lambda: Interpreter(path, num_threads, isa, claim))
    inputs = _fill_inputs(interpreter)
    outputs = [_tensor(each) for each in interpreter.litert.get_output_details()]
    first_ns, _ = _timed(lambda: _invoke(interpreter))
    warmups, durations_ns = _time_runs(interpreter, amount)
    where = _machine(temperature_c_before, machine.is_throttled(limits_before, machine.clock_limits()))
    latency = _summary(durations_ns, warmups, load_ns, first_ns)
    return _Timed(inputs, outputs, latency, where, interpreter.describe())


def _measured_profile(path: Path, num_threads: int, isa: str, claim: str, amount: _Amount) -> Profile:
    interpreter = Interpreter(path, num_threads, isa, claim, profile=True)
    _fill_inputs(interpreter)
    _invoke(interpreter)
    _time_runs(interpreter, _Amount(0, max(amount.warmup_runs, 1), 0.0, amount.max_seconds))
    before = interpreter.describe()
    _, durations_ns = _time_runs(interpreter, _Amount(0, amount.runs, 0.0, amount.max_seconds))
    profile = _profile(interpreter.describe(), before, len(durations_ns))
    latency_ms = sum(durations_ns) / len(durations_ns) / NS_PER_MS
    inside_ms = sum(step.latency_ms_mean or 0.0 for step in profile.steps)
    return dataclasses.replace(profile, latency_ms_mean=latency_ms, outside_ms_mean=latency_ms - inside_ms)


def _profile(described: dict[str, Any], before: dict[str, Any] | None = None, runs: int = 1) -> Profile:
    """What the delegate describes, with the mean times of the runs since `before`, if they were measured."""
    steps = []
    for index, partition in enumerate(described["partitions"]):
        for number, step in enumerate(partition["steps"]):
            mean_ms = least_ms = None
            if before is not None:
                earlier_ns = before["partitions"][index]["steps"][number]["total_ns"]
                mean_ms = (step["total_ns"] - earlier_ns) / runs / NS_PER_MS
                least_ms = step["least_ns"] / NS_PER_MS
            steps.append(Step(index, step["name"], step["binary_macs"], step["float_macs"], mean_ms, least_ms))
    return Profile(described["claimed_nodes"], len(described["partitions"]), steps)


def _machine(temperature_c_before: float | None, is_throttled: bool | None) -> Machine:
    return Machine(
        cpu=machine.cpu_name(),
        logical_cores=machine.logical_cores(),
        os=platform.platform(),
        governor=machine.governor(),
        temperature_c_before=temperature_c_before,
        temperature_c_after=machine.temperature_c(),
        is_throttled=is_throttled,
        peak_memory_bytes=machine.peak_memory_bytes(),
    )


def _software() -> Software:
    litert = import_litert()
    return Software(
        version=bopkit_runtime.version,
        library_sha256=sha256_of(library_path()),
        litert=litert.name,
        litert_version=litert.version,
        python_version=platform.python_version(),
        numpy_version=np.__version__,
    )


def _timed(call: Callable[[], T]) -> tuple[int, T]:
    """Nanoseconds that a call takes, and its result."""
    start_ns = time.perf_counter_ns()
    result = call()
    return time.perf_counter_ns() - start_ns, result


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
