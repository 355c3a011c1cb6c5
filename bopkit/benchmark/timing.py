"""Latency of one call: warm up, time, summarise."""

from __future__ import annotations

import dataclasses
import gc
import time
from collections.abc import Callable, Sequence

import numpy as np

from bopkit.garbage_collection import garbage_collection_paused

NS_PER_MS = 1e6
NS_PER_S = 1e9

SHORTEST_TIMING_S = 1.0
"""Unless told otherwise, calls go on beyond the number of runs until this is over: a p99 of few short calls is mostly
noise."""

FEWEST_RUNS = 5
"""Timed runs even of a network that one run takes beyond the time limit."""


@dataclasses.dataclass(frozen=True)
class Latency:
    """Latency of one picture, batch 1.

    Attributes:
        latency_ms_p50: Median in milliseconds.
        latency_ms_p90: 90th percentile, interpolated linearly between runs.
        latency_ms_p99: 99th percentile.
        latency_ms_mean: Mean.
        latency_ms_std: Standard deviation of the runs.
        latency_ms_min: Fastest run.
        runs: Timed runs.
        warmup_runs: Runs before them that were not timed.
        duration_s: Time of all timed runs.
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
    samples_ms: list[float]


def measure_latency(
    call: Callable[[], object],
    warmup_runs: int,
    runs: int,
    time_limit_s: float,
    min_duration_s: float = SHORTEST_TIMING_S,
) -> Latency:
    """Time repeated calls, one after the other, without garbage collection between them.

    Args:
        call: What is timed.
        warmup_runs: Calls before the timed ones; fewer where they take a fifth of the time limit.
        runs: Timed calls: more where they take less than `min_duration_s` together, fewer (but at least
            `FEWEST_RUNS`) where they reach the time limit.
        time_limit_s: Limit in seconds.
        min_duration_s: Calls go on until this is over.
    """
    warmups = 0
    deadline_ns = time.perf_counter_ns() + time_limit_s / 5 * NS_PER_S
    while warmups < warmup_runs and time.perf_counter_ns() < deadline_ns:
        call()
        warmups += 1
    gc.collect()
    with garbage_collection_paused():
        durations_ns = _timed_runs(call, runs, time_limit_s, min_duration_s)
    return summarise(durations_ns, warmups)


def summarise(durations_ns: Sequence[int], warmup_runs: int) -> Latency:
    """Percentiles, mean and spread of timed runs.

    Args:
        durations_ns: Duration of each run in nanoseconds.
        warmup_runs: Runs that were not timed.
    """
    durations_ms = np.asarray(durations_ns) / NS_PER_MS
    p50, p90, p99 = (float(value) for value in np.percentile(durations_ms, (50, 90, 99)))
    return Latency(
        latency_ms_p50=p50,
        latency_ms_p90=p90,
        latency_ms_p99=p99,
        latency_ms_mean=float(durations_ms.mean()),
        latency_ms_std=float(durations_ms.std()),
        latency_ms_min=float(durations_ms.min()),
        runs=len(durations_ms),
        warmup_runs=warmup_runs,
        duration_s=float(durations_ms.sum()) / 1000,
        samples_ms=[round(each, 6) for each in durations_ms.tolist()],
    )


def _timed_runs(call: Callable[[], object], runs: int, time_limit_s: float, min_duration_s: float) -> list[int]:
    durations_ns: list[int] = []
    begin_ns = time.perf_counter_ns()
    elapsed_s = 0.0
    while len(durations_ns) < FEWEST_RUNS or (
        (len(durations_ns) < runs or elapsed_s < min_duration_s) and elapsed_s < time_limit_s
    ):
        start_ns = time.perf_counter_ns()
        call()
        end_ns = time.perf_counter_ns()
        durations_ns.append(end_ns - start_ns)
        elapsed_s = (end_ns - begin_ns) / NS_PER_S
    return durations_ns
