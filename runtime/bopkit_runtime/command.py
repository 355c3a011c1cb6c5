"""`python -m bopkit_runtime model.tflite`: times a model on this machine.

Figures go to stdout, the rest to stderr. Exit codes: 0 done, 1 failed, 2 asked for what cannot be, 130 interrupted.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import bopkit_runtime
from bopkit_runtime.errors import BopkitRuntimeError, UsageError, first_line
from bopkit_runtime.library import CLAIMS
from bopkit_runtime.measurement import Measurement, Settings
from bopkit_runtime.timing import measure_model

_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    wants_traceback = "--debug" in (sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names that the terminal has no letters for
    try:
        _run(arguments)
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return _INTERRUPTED
    except BopkitRuntimeError as error:
        if wants_traceback:
            raise
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    except Exception as error:  # the traceback helps nobody but us
        if wants_traceback:
            raise
        name, reason = type(error).__name__, first_line(error)
        print(f"Error: {name}: {reason}. It looks like a bug: run again with --debug and report it.", file=sys.stderr)
        return 1
    return 0


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as everything else here does."""

    def error(self, message: str) -> NoReturn:
        """Raise in place of printing the usage.

        Raises:
            UsageError: Always.
        """
        raise UsageError(f"{message[:1].upper()}{message[1:]}.", f"Type `{self.prog} --help`.")


def _parser() -> _Parser:
    parser = _Parser(
        prog="python -m bopkit_runtime",
        description="Time a model on this machine: load it, run it once, warm up, and time runs one after the other.",
    )
    parser.add_argument("model", help="a .tflite file")
    parser.add_argument("--runs", type=int, default=50, metavar="N", help="minimum number of timed runs (default: 50)")
    parser.add_argument(
        "--warmup", type=int, default=10, metavar="N", help="untimed runs before the timed ones (default: 10)"
    )
    parser.add_argument(
        "--min-seconds", type=float, default=1.0, metavar="S", help="go on for at least so many seconds (default: 1)"
    )
    parser.add_argument(
        "--max-seconds",
        type=float,
        metavar="S",
        help="stop after so many seconds, even with fewer runs (default: no limit)",
    )
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads of one run, 1 to 256 (default: 1)")
    parser.add_argument("--isa", default="auto", metavar="NAME", help="instruction set (default: auto, the fastest)")
    parser.add_argument(
        "--claim", default="all", choices=CLAIMS, help="binary: leave float operators to LiteRT (default: all)"
    )
    parser.add_argument("--profile", action="store_true", help="also time each step, in separate runs")
    parser.add_argument("--json", action="store_true", help="print every figure as JSON")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.add_argument("--version", action="version", version=f"bopkit-runtime {bopkit_runtime.version}")
    return parser


def _run(arguments: Sequence[str] | None) -> None:
    options = _parser().parse_args(arguments)
    print(f"Timing {options.model}: {options.warmup} warm-up runs, then at least {options.runs}.", file=sys.stderr)
    settings = Settings(
        threads=options.threads,
        isa=options.isa,
        claim=options.claim,
        warmup_runs=options.warmup,
        runs=options.runs,
        min_seconds=options.min_seconds,
        max_seconds=options.max_seconds,
    )
    measurement = measure_model(options.model, settings, profile=options.profile)
    _write(json.dumps(measurement.to_dict(), indent=2) if options.json else "\n".join(_lines(measurement)))
    if not measurement.profile.claimed_nodes:
        print("Note: nothing in this model is binarized, so LiteRT ran all of it.", file=sys.stderr)


def _write(text: str) -> None:
    """Print to stdout; what reads it may stop early.

    Raises:
        BopkitRuntimeError: The disk is full, or the like.
    """
    try:
        print(text, flush=True)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more when it ends
        if not isinstance(error, BrokenPipeError):
            what = f"The figures cannot be written: {error.strerror}."
            raise BopkitRuntimeError(what, "Write them elsewhere.") from error


def _lines(measurement: Measurement) -> list[str]:
    settings, latency, profile = measurement.settings, measurement.latency, measurement.profile
    machine, software = measurement.machine, measurement.software
    inputs = ", ".join(f"{each['dtype']} {each['shape']}" for each in measurement.inputs)
    facts = [f"{machine.cpu}, {machine.logical_cores} cores"]
    if machine.governor:
        facts.append(f"governor {machine.governor}")
    if machine.temperature_c_after is not None:
        facts.append(
            f"{_number(machine.temperature_c_before, 1)} °C before, {machine.temperature_c_after:.1f} °C after"
        )
    if machine.is_throttled:
        facts.append("throttled")
    rows = [
        ("model", f"{measurement.model}, {measurement.model_bytes / 1e6:.2f} MB, {inputs}"),
        ("machine", ", ".join(facts)),
        ("runtime", f"bopkit-runtime {software.version} in {software.litert} {software.litert_version}"),
        ("settings", f"{settings.isa}, {settings.threads} thread(s), claim {settings.claim}"),
        ("claimed", f"{profile.claimed_nodes} operators in {profile.partitions} partition(s)"),
        ("load", f"{latency.load_ms:.2f} ms, first run {latency.first_inference_ms:.3f} ms"),
        ("memory", "-" if machine.peak_memory_bytes is None else f"{machine.peak_memory_bytes / 1e6:.1f} MB at most"),
        ("runs", f"{latency.runs} in {latency.duration_s:.2f} s, after {latency.warmup_runs} warm-up runs"),
    ]
    lines = [f"{name:<10}{value}" for name, value in rows]
    names = ("p50", "p90", "p99", "mean", "std", "min")
    values = [getattr(latency, f"latency_ms_{name}") for name in names]
    lines += ["", *_table([("", *names), ("ms", *(f"{value:.3f}" for value in values))])]
    if profile.latency_ms_mean is not None:
        lines += ["", *_profile_lines(measurement)]
    return lines


def _profile_lines(measurement: Measurement) -> list[str]:
    profile = measurement.profile
    whole_ms = profile.latency_ms_mean or 0.0
    rows: list[tuple[str, ...]] = [("step", "mean ms", "min ms", "share", "binary MMAC", "float MMAC", "int8 MMAC")]
    for step in profile.steps:
        counts = (step.binary_macs, step.float_macs, step.int8_macs)
        macs = (f"{count / 1e6:.1f}" if count else "-" for count in counts)
        times = (_number(step.latency_ms_mean, 3), _number(step.latency_ms_min, 3))
        rows.append((step.name, *times, _share(step.latency_ms_mean, whole_ms), *macs))
    outside_ms = profile.outside_ms_mean
    rows.append(("outside", _number(outside_ms, 3), "", _share(outside_ms, whole_ms), "", "", ""))
    rows.append(("all", f"{whole_ms:.3f}", "", "100.0 %", "", "", ""))
    return _table(rows)


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with the first column flush left and the others flush right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for first, *others in rows:
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:]))]
        lines.append("  ".join(cells).rstrip())
    return lines


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _share(value: float | None, whole: float) -> str:
    return "-" if value is None or not whole else f"{100 * value / whole:.1f} %"
