"""Reads what `python -m bopkit_runtime MODEL --json` prints into a row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bopkit.benchmark.results import BenchmarkRow, StepTime

OUTSIDE = "LiteRT's own operators"
"""Name of the step for the time outside of the delegate."""

_LATENCY_FIGURES = (
    *("latency_ms_p50", "latency_ms_p90", "latency_ms_p99", "latency_ms_mean", "latency_ms_std", "latency_ms_min"),
    *("runs", "warmup_runs", "duration_s", "samples_ms", "load_ms", "first_inference_ms"),
)
_MACHINE_FIGURES = ("governor", "temperature_c_before", "temperature_c_after", "is_throttled", "peak_memory_bytes")


def fill_row(row: BenchmarkRow, measured: Mapping[str, Any]) -> None:
    """Put into a row what was measured.

    Args:
        row: The row of the model.
        measured: The JSON, read.

    Raises:
        KeyError: It lacks something: another version of bopkit-runtime printed it.
    """
    for name in _LATENCY_FIGURES:
        setattr(row, name, measured["latency"][name])
    for name in _MACHINE_FIGURES:
        setattr(row, name, measured["machine"][name])
    settings = measured["settings"]
    row.runtime = "LiteRT"
    row.settings = {
        **{"threads": settings["threads"], "isa": settings["isa"]},
        "claimed_operators": measured["profile"]["claimed_nodes"],
        # The board's clock runs around `invoke`, tensors in place; on this host around arrays in, arrays out.
        "timed": "invoke",
        "input": "uniformly random, -1 to 1",
        "litert": f"{measured['software']['litert']} {measured['software']['litert_version']}",
    }
    row.size_bytes, row.model_sha256 = measured["model_bytes"], measured["model_sha256"]
    row.library_sha256 = measured["software"]["library_sha256"]
    row.steps = steps_of(measured["profile"])
    shapes, answers = ([each["shape"] for each in measured[name]] for name in ("inputs", "outputs"))
    if len(shapes) == 1 and len(shapes[0]) == 4:
        _, height, width, channels = shapes[0]
        row.input_shape = (height, width, channels)
    if len(answers) == 1 and len(answers[0]) == 2:
        row.classes = answers[0][1]


def steps_of(profile: Mapping[str, Any]) -> list[StepTime]:
    """Steps of a profile of bopkit-runtime, as a dict; none where there are none, or they were not measured."""
    if profile["outside_ms_mean"] is None or not profile["steps"]:
        return []
    steps = [StepTime(step["name"], step["latency_ms_mean"]) for step in profile["steps"]]
    return [*steps, StepTime(OUTSIDE, profile["outside_ms_mean"])]
