"""`bopkit benchmark`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bopkit.cli.accuracy import print_accuracy
from bopkit.cli.arguments import CardPreprocessFn, DataDir, Dataset, Json, Split
from bopkit.cli.output import percent_text, print_json, print_table, say, show, size_text

if TYPE_CHECKING:
    from bopkit.benchmark.report import BenchmarkReport, BenchmarkRow


def benchmark(
    artifacts: Annotated[
        list[Path],
        typer.Argument(
            metavar="ARTIFACTS", help=".h5, .keras, .tflite, runs, SavedModel directories.", show_default=False
        ),
    ],
    dataset: Dataset = None,
    data_dir: DataDir = None,
    split: Split = None,
    preprocess_fn: CardPreprocessFn = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Accuracy on that many pictures.")] = None,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Threads for one picture.")] = 1,
    warmup_runs: Annotated[int, typer.Option("--warmup-runs", min=0, help="Runs before the timed ones.")] = 10,
    runs: Annotated[int, typer.Option("--runs", min=1, help="Timed runs of one picture, at least.")] = 50,
    runtime: Annotated[
        str | None,
        typer.Option("--runtime", help="For .tflite files: litert (where bopkit-runtime is installed) or lce."),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option("--reference", metavar="ARTIFACT", help="Compare with its answers.", show_default="the first"),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Go on with accuracy where the same command was interrupted.")
    ] = True,
    json: Json = False,
) -> None:
    """Measure artifacts side by side: accuracy, agreement, latency, size and memory on this host's CPU."""
    from bopkit.benchmark import benchmark_artifacts

    report = benchmark_artifacts(
        [str(artifact) for artifact in artifacts],
        dataset=dataset,
        data_dir=data_dir,
        split=split,
        preprocess_fn=preprocess_fn,
        limit=limit,
        warmup_runs=warmup_runs,
        runs=runs,
        threads=threads,
        runtime=runtime,
        reference=reference,
        resume=resume,
        progress=say,
    )
    if json:
        print_json(report.to_dict())
    else:
        _print_report(report)
    for row in report.failed:
        where = "" if row.artifact in (row.error or "") else f"{row.artifact}: "
        say(f"Error: {where}{row.error} {row.hint or ''}".rstrip())
    if report.failed:
        raise typer.Exit(1)


def _print_report(report: BenchmarkReport) -> None:
    (environment,), timing = report.environments.values(), report.protocol.timing
    print_table(
        [
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
        [_cells(row) for row in report.rows],
        title=f"{report.dataset} {report.split}" if report.dataset else None,
        right=["top-1", "top-5", "agreement", "size", "x floor", "p50 ms", "p90 ms", "p99 ms", "memory"],
    )
    print_accuracy(report.rows, report.reference)
    threads = ", ".join(map(str, report.protocol.threads))
    show(
        f"latency of one picture, {threads} thread(s), {timing.warmup_runs} warm-up runs, then at least "
        f"{timing.runs} (at most {timing.time_limit_s:g} s); {environment.cpu}, {environment.logical_cores} cores"
    )
    for row in report.rows:
        for note in row.notes:
            say(f"{row.artifact}: {note}")


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
