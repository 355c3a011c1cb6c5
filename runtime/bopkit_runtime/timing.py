"""Times a model on this machine: `measure_model`, and `measure_steps` for its steps alone."""

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
from bopkit_runtime.errors import BopkitRuntimeError, UsageError
from bopkit_runtime.interpreter import Interpreter
from bopkit_runtime.library import library_path
from bopkit_runtime.litert import import_litert
from bopkit_runtime.measurement import Latency, Machine, Measurement, Profile, Settings, Software, Step
from bopkit_runtime.model_file import check_model_file, sha256_of
from bopkit_runtime.replica import reason_of

NS_PER_MS = 1e6
NS_PER_S = 1e9

T = TypeVar("T")


def measure_model(path: str | os.PathLike[str], settings: Settings | None = None, profile: bool = False) -> Measurement:
    """Time a model on this machine, one run after the other, on inputs of the shapes that the file names.

    Args:
        path: A .tflite file.
        settings: How it runs, how often and for how long; None for the defaults.
        profile: Measure each step too.

    Raises:
        UsageError: A setting is out of its range.
        BopkitRuntimeError: The file cannot be read or run, or LiteRT is not there.
    """
    settings = settings or Settings()
    _check_amount(settings)
    file = check_model_file(path)
    import_litert()  # its time is no part of the model's
    date = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    timed = _measured_latency(file, settings)
    steps = _measured_profile(file, settings) if profile else _profile(timed.described)
    return Measurement(
        model=str(path),
        model_bytes=file.stat().st_size,
        model_sha256=sha256_of(file),
        inputs=timed.inputs,
        outputs=timed.outputs,
        date=date,
        settings=dataclasses.replace(settings, isa=timed.described["isa"]),
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
    settings = Settings(num_threads, warmup_runs=warmup_runs, runs=runs, max_seconds=max_seconds)
    _check_amount(settings)
    return _measured_profile(check_model_file(path), settings)


_FEWEST_RUNS = 5  # also of a model of which one run takes longer than the limit


class _Timed(NamedTuple):
    """What the latency's interpreter left."""

    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    latency: Latency
    where: Machine
    described: dict[str, Any]


def _check_amount(settings: Settings) -> None:
    """Refuse a number of runs, or a time for them, that cannot be; the interpreter checks the other settings.

    Raises:
        UsageError: It cannot be.
    """
    if settings.warmup_runs < 0:
        raise UsageError(f"warmup_runs is {settings.warmup_runs}.", "Use 0 or more.")
    if settings.runs < 1:
        raise UsageError(f"runs is {settings.runs}.", "Use 1 or more.")
    if not (math.isfinite(settings.min_seconds) and settings.min_seconds >= 0):
        raise UsageError(f"min_seconds is {settings.min_seconds:g}.", "Use 0 or more.")
    if settings.max_seconds is not None and not settings.max_seconds > 0:
        raise UsageError(f"max_seconds is {settings.max_seconds:g}.", "Use a number above 0.")


def _is_enough(settings: Settings, runs: int, elapsed_s: float) -> bool:
    """Whether so many timed runs in such a time are all."""
    if settings.max_seconds is not None and elapsed_s >= settings.max_seconds and runs >= _FEWEST_RUNS:
        return True
    return runs >= settings.runs and elapsed_s >= settings.min_seconds


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
        raise BopkitRuntimeError(
            f"The model cannot be run on random numbers: {reason_of(error)}.",
            "If it takes others, such as the numbers of words, run it with bopkit_runtime.Interpreter.",
        ) from error


def _time_runs(interpreter: Interpreter, settings: Settings) -> tuple[int, list[int]]:
    """Runs of the warm-up, and durations in nanoseconds of those after it, without garbage collection between them."""
    warmups = 0
    begin_s = time.perf_counter()
    while warmups < settings.warmup_runs and not (
        settings.max_seconds is not None and time.perf_counter() - begin_s >= settings.max_seconds / 5
    ):
        _invoke(interpreter)
        warmups += 1
    invoke = interpreter.litert.invoke
    durations_ns: list[int] = []
    elapsed_ns = 0
    with _no_garbage_collection():
        while not _is_enough(settings, len(durations_ns), elapsed_ns / NS_PER_S):
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


def _measured_latency(path: Path, settings: Settings) -> _Timed:
    """The latency, and the machine meanwhile.

    The interpreter ends with this call: a board may not have memory for the weights twice.
    """
    temperature_c_before, limits_before = machine.temperature_c(), machine.clock_limits()
    load_ns, interpreter = _timed(lambda: Interpreter(path, settings.threads, settings.isa, settings.claim))
    inputs = _fill_inputs(interpreter)
    outputs = [_tensor(each) for each in interpreter.litert.get_output_details()]
    first_ns, _ = _timed(lambda: _invoke(interpreter))
    warmups, durations_ns = _time_runs(interpreter, settings)
    where = _machine(temperature_c_before, machine.is_throttled(limits_before, machine.clock_limits()))
    latency = _summary(durations_ns, warmups, load_ns, first_ns)
    return _Timed(inputs, outputs, latency, where, interpreter.describe())


def _measured_profile(path: Path, settings: Settings) -> Profile:
    interpreter = Interpreter(path, settings.threads, settings.isa, settings.claim, profile=True)
    _fill_inputs(interpreter)
    _invoke(interpreter)
    measured = dataclasses.replace(settings, warmup_runs=0, min_seconds=0.0)
    # Warm-up runs as timed ones, for the limit of time that these have.
    _time_runs(interpreter, dataclasses.replace(measured, runs=max(settings.warmup_runs, 1)))
    before = interpreter.describe()
    _, durations_ns = _time_runs(interpreter, measured)
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
            macs = (step["binary_macs"], step["float_macs"], step["int8_macs"])
            steps.append(Step(index, step["name"], *macs, mean_ms, least_ms))
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
