"""The output of TensorFlow Lite's `benchmark_model`, and of LCE's `lce_benchmark_model`, which is based on it.

Versions differ: lines may begin with `INFO: ` or a date, and percentiles came later. A count line tells of runs in
microseconds, first one of the warm-up, then one of the timed runs; where all were equal it says `curr` alone.
"""

from __future__ import annotations

import re

from bopkit.benchmark.results import BenchmarkRow

_COUNT = re.compile(r"\bcount=(\d+)((?: \w+=[-+.\deE]+)+)")
_VALUE = re.compile(r"(\w+)=([-+.\deE]+)")
_TIMINGS = re.compile(r"Inference timings in us: Init: ([-+.\deE]+), First inference: ([-+.\deE]+)")
_GROWTH = re.compile(r"(?:Memory footprint delta|Peak memory footprint)\b[^:]*: init=[-+.\deE]+ overall=([-+.\deE]+)")
_PEAK = re.compile(r"Overall peak memory footprint \(MB\)[^:]*: ([-+.\deE]+)")
_ERROR = re.compile(r"\bERROR:|\bError\b|error:|[Ff]ailed|FATAL|not found|Permission denied|CANNOT LINK")

_US_PER_MS = 1e3
_BYTES_PER_MB = 1 << 20


def fill_row(row: BenchmarkRow, output: str) -> bool:
    """Put into a row what the output tells.

    Args:
        row: The row of the model.
        output: What the binary printed.

    Returns:
        Whether it told of timed runs; the row is unchanged otherwise.
    """
    try:
        counts = [(int(count), _values(text)) for count, text in _COUNT.findall(output)]
        timings = _TIMINGS.search(output)
        if not counts or (timings is None and len(counts) < 2):  # only a warm-up
            return False
        row.model_memory_bytes, row.peak_memory_bytes = _megabytes(_GROWTH, output), _megabytes(_PEAK, output)
        _fill_latency(row, *counts[-1])
        row.warmup_runs = counts[-2][0] if len(counts) > 1 else 0
        if timings is not None:
            row.load_ms, row.first_inference_ms = (float(text) / _US_PER_MS for text in timings.groups())
    except (ValueError, KeyError):
        return False
    return True


def last_words(output: str) -> str:
    """The line that tells best why there are no figures: the last that speaks of an error, else the last."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    told = [line for line in lines if _ERROR.search(line)]
    return (told or lines or ["it printed nothing"])[-1].rstrip(".")[:300]


def _fill_latency(row: BenchmarkRow, count: int, values: dict[str, float]) -> None:
    only = values["curr"]
    row.runs = count
    row.latency_ms_mean = values.get("avg", only) / _US_PER_MS
    row.latency_ms_min = values.get("min", only) / _US_PER_MS
    row.latency_ms_std = values.get("std", 0.0) / _US_PER_MS
    row.duration_s = row.latency_ms_mean * count / 1000
    if "median" in values:
        row.latency_ms_p50 = values["median"] / _US_PER_MS
    elif "avg" not in values:
        row.latency_ms_p50 = only / _US_PER_MS
    unknown = "p90 and p99" if row.latency_ms_p50 is not None else "p50, p90 and p99"
    known = [f"{name} {values[name] / _US_PER_MS:.3f} ms" for name in ("p5", "p95", "max") if name in values]
    if row.model_memory_bytes is not None:
        known.append(f"memory {row.model_memory_bytes / _BYTES_PER_MB:.1f} MiB")  # as the binary itself prints it
    row.notes.append(
        f"The binary does not print single runs, so {unknown} are unknown." + (f" {', '.join(known)}." if known else "")
    )


def _values(text: str) -> dict[str, float]:
    return {name: float(value) for name, value in _VALUE.findall(text)}


def _megabytes(pattern: re.Pattern[str], output: str) -> int | None:
    found = pattern.search(output)
    megabytes = float(found[1]) if found else -1.0  # -1 where the system does not tell
    return int(megabytes * _BYTES_PER_MB) if megabytes >= 0 else None
