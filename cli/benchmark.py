"""`bopkit benchmark`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bopkit.cli.arguments import CardPreprocessFn, DataDir, Dataset, Json, Split
from bopkit.cli.output import percent_text, print_json, print_table, say, show, size_text
from bopkit.errors import UsageError

if TYPE_CHECKING:
    from bopkit.benchmark.report import BenchmarkReport, BenchmarkRow


def benchmark(
    artifacts: Annotated[
        list[Path],
        typer.Argument(metavar="ARTIFACTS", help=".h5, .keras, .tflite, SavedModel directories.", show_default=False),
    ],
    dataset: Dataset = None,
    data_dir: DataDir = None,
    split: Split = None,
    preprocess_fn: CardPreprocessFn = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Accuracy on that many pictures.")] = None,
    devices: Annotated[
        list[str] | None,
        typer.Option(
            "--device",
            metavar="local|ssh://[user@]host[:port]|adb[:serial]",
            help="Where to time; repeatable. Default: local.",
            show_default=False,
        ),
    ] = None,
    threads: Annotated[
        str, typer.Option("--threads", metavar="1,2,4", help="Threads for one picture; each number has its rows.")
    ] = "1",
    warmup_runs: Annotated[int, typer.Option("--warmup-runs", min=0, help="Runs before the timed ones.")] = 10,
    runs: Annotated[int, typer.Option("--runs", min=1, help="Timed runs of one picture, at least.")] = 50,
    min_seconds: Annotated[
        float, typer.Option("--min-seconds", min=0, help="Go on with the timed runs until this is over.")
    ] = 1.0,
    cool_down: Annotated[float, typer.Option("--cool-down", min=0, help="Seconds to pause before each row.")] = 0.0,
    cpu_mask: Annotated[
        str | None, typer.Option("--cpu-mask", metavar="HEX", help="Cores to run on, as taskset takes them.")
    ] = None,
    runner: Annotated[
        Path | None, typer.Option("--runner", help="For adb: lce_benchmark_model or benchmark_model for the device.")
    ] = None,
    runtime: Annotated[
        str | None,
        typer.Option("--runtime", help="For .tflite files: litert (where bopkit-runtime is installed) or lce."),
    ] = None,
    json: Json = False,
) -> None:
    """Measure artifacts side by side: accuracy, agreement, size and memory, and latency on this host or on devices."""
    from bopkit.benchmark import benchmark_artifacts
    from bopkit.benchmark.report import LOCAL

    report = benchmark_artifacts(
        [str(artifact) for artifact in artifacts],
        dataset=dataset,
        data_dir=data_dir,
        split=split,
        preprocess_fn=preprocess_fn,
        limit=limit,
        warmup_runs=warmup_runs,
        runs=runs,
        threads=_parse_threads(threads),
        runtime=runtime,
        devices=devices or [LOCAL],
        min_duration_s=min_seconds,
        cool_down_s=cool_down,
        cpu_mask=cpu_mask,
        runner=runner,
        progress=say,
    )
    if json:
        print_json(report.to_dict())
    else:
        _print_report(report)
    said: set[str | None] = set()
    for row in report.failed:
        where = "" if row.artifact in (row.error or "") else f"{row.artifact}: "
        if row.error not in said:  # a device that is not there fails all its rows for one reason
            say(f"Error: {where}{row.error} {row.hint or ''}".rstrip())
        said.add(row.error)
    if report.failed:
        raise typer.Exit(1)


def _parse_threads(text: str) -> list[int]:
    parts = text.split(",")
    if not all(part.strip().isdecimal() and int(part) for part in parts):
        raise UsageError(f"{text!r} is no number of threads.", "Write for instance `--threads 4` or `--threads 1,2,4`.")
    return [int(part) for part in parts]


def _print_report(report: BenchmarkReport) -> None:
    from bopkit.benchmark.report import LOCAL

    timing = report.protocol.timing
    places = {(row.device, row.threads) for row in report.rows if row.error is None}
    where = ["device", "threads"] if len(places) > 1 or {row.device for row in report.rows} != {LOCAL} else []
    print_table(
        [
            *where,
            "artifact",
            "runtime",
            "top-1",
            "top-5",
            "agreement",
            "size",
            "x floor",
            "p50 ms",
            "p90 ms",
            "p99 ms",
            "memory",
        ],
        [[row.device, str(row.threads or "-")][: len(where)] + _cells(row) for row in report.rows],
        title=f"{report.dataset} {report.split}" if report.dataset else None,
        right=["threads", "top-1", "top-5", "agreement", "size", "x floor", "p50 ms", "p90 ms", "p99 ms", "memory"],
    )
    pictures = next((row.pictures for row in report.rows if row.pictures), None)
    if pictures:
        show(f"accuracy on {pictures} pictures; agreement: same top-1 as {report.reference}")
    threads = ", ".join(map(str, report.protocol.threads))
    pinned = f", on cores {timing.cpu_mask}" if timing.cpu_mask else ""
    show(
        f"latency of one picture, {threads} thread(s){pinned}, {timing.warmup_runs} warm-up runs, then at least "
        f"{timing.runs} and {timing.min_duration_s:g} s (at most {timing.time_limit_s:g} s)"
    )
    for name, environment in report.environments.items():
        show(f"{name}: {environment.cpu}, {environment.logical_cores} cores")
    for row in report.rows:
        on = "" if row.device == LOCAL else f" on {row.device}"
        for note in row.notes:
            say(f"{row.artifact}{on}: {note}")


def _cells(row: BenchmarkRow) -> list[str]:
    if row.error is not None:
        return [row.artifact, row.runtime, "failed", *[""] * 8]
    over_floor = f"{row.size_bytes / row.floor_bytes:.2f}" if row.size_bytes and row.floor_bytes else "-"
    return [
        row.artifact,
        row.runtime,
        percent_text(row.top1),
        percent_text(row.top5),
        percent_text(row.top1_agreement),
        size_text(row.size_bytes),
        over_floor,
        *(_ms_text(value) for value in (row.latency_ms_p50, row.latency_ms_p90, row.latency_ms_p99)),
        size_text(row.peak_memory_bytes),
    ]


def _ms_text(value_ms: float | None) -> str:
    return "-" if value_ms is None else f"{value_ms:.3f}"
