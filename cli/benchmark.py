"""`bopkit benchmark`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bopkit.cli.arguments import CardPreprocessFn, DataDir, Dataset, Json, Split
from bopkit.cli.next_step import say_next
from bopkit.cli.output import print_json, say
from bopkit.cli.reporting import (
    Csv,
    Html,
    Markdown,
    check_targets,
    is_stdout,
    print_report,
    say_failures,
    write_targets,
)
from bopkit.errors import UsageError


def benchmark(
    artifacts: Annotated[
        list[Path],
        typer.Argument(
            metavar="ARTIFACTS",
            help=".h5, .keras and .tflite files, run and SavedModel directories, C sources, pull:NAME.",
            show_default=False,
        ),
    ],
    dataset: Dataset = None,
    data_dir: DataDir = None,
    split: Split = None,
    preprocess_fn: CardPreprocessFn = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, help="Measure accuracy on N pictures only, drawn from the whole split."),
    ] = None,
    devices: Annotated[
        list[str] | None,
        typer.Option(
            "--device",
            metavar="local|ssh://HOST|adb|qemu:CORE",
            help="Where to measure latency: local, ssh://[user@]host[:port] or adb[:serial]; on qemu:cortex-m4, m3, "
            "m7, m33 or m55 instructions of C sources are counted. Repeatable. Default: local.",
            show_default=False,
        ),
    ] = None,
    threads: Annotated[
        str, typer.Option("--threads", metavar="1,2,4", help="Threads for one picture; each number gets its own rows.")
    ] = "1",
    warmup_runs: Annotated[int, typer.Option("--warmup-runs", min=0, help="Runs before the timed ones.")] = 10,
    runs: Annotated[int, typer.Option("--runs", min=1, help="Minimum number of timed runs of one picture.")] = 50,
    min_seconds: Annotated[
        float, typer.Option("--min-seconds", min=0, help="Minimum time of the timed runs, in seconds.")
    ] = 1.0,
    cool_down: Annotated[float, typer.Option("--cool-down", min=0, help="Seconds to pause before each row.")] = 0.0,
    cpu_mask: Annotated[
        str | None, typer.Option("--cpu-mask", metavar="HEX", help="Cores to run on: a mask as for taskset.")
    ] = None,
    runner: Annotated[
        Path | None,
        typer.Option("--runner", help="For adb: a lce_benchmark_model or benchmark_model binary for the device."),
    ] = None,
    runtime: Annotated[
        str | None,
        typer.Option("--runtime", help="For .tflite files: litert (where bopkit-runtime is installed) or lce."),
    ] = None,
    with_steps: Annotated[
        bool, typer.Option("--profile", help="Also time each operator, in separate runs (LiteRT).")
    ] = False,
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", metavar="FILE", help="Write the result as JSON, for `bopkit report`."),
    ] = None,
    html: Html = None,
    markdown: Markdown = None,
    csv: Csv = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            "--reference",
            metavar="ARTIFACT",
            help="Compare outputs with those of this artifact.",
            show_default="the first",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Continue the accuracy where the same command was interrupted.")
    ] = True,
    json: Json = False,
) -> None:
    """Measure artifacts side by side: accuracy, agreement, size, memory, and latency on this host or on devices."""
    from bopkit.benchmark import BenchmarkOptions, reports, run_benchmark
    from bopkit.benchmark.results import LOCAL, BenchmarkReport
    from bopkit.files import json_text

    prints_table = check_targets(json, html, markdown, csv, output, inputs=[*artifacts, reference, runner])

    def deliver(report: BenchmarkReport) -> None:
        merged = reports.merge_reports([("", report)])
        error = write_targets(
            (output, lambda: json_text(report.to_dict()) + "\n"),
            (html, lambda: reports.render_page(merged)),
            (markdown, lambda: reports.markdown(merged)),
            (csv, lambda: reports.csv_table(merged)),
        )
        if json:
            print_json(report.to_dict())
        if prints_table and len(report.failed) < len(report.rows):
            print_report(merged)
        say_failures(merged)
        if error is not None:
            raise error

    options = BenchmarkOptions(
        dataset=dataset,
        data_dir=data_dir,
        split=split,
        preprocess_fn=preprocess_fn,
        limit=limit,
        reference=reference,
        resume=resume,
        threads=_parse_threads(threads),
        warmup_runs=warmup_runs,
        runs=runs,
        min_duration_s=min_seconds,
        with_steps=with_steps,
        cpu_mask=cpu_mask,
        cool_down_s=cool_down,
        runtime=runtime,
        devices=tuple(devices or [LOCAL]),
        runner=runner,
    )
    report = run_benchmark(artifacts, options, deliver, say)
    if report.failed:
        raise typer.Exit(1)
    if output is not None and html is None and not is_stdout(output):
        say_next("bopkit", "report", output, "--html", Path(output).with_suffix(".html"))
    elif prints_table and html is None:
        say("Next: add `-o result.json --html report.html` to keep the result and see it as a page")


def _parse_threads(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.strip().isdecimal() and len(part) < 5 and int(part) for part in parts):
        raise UsageError(
            f"{text!r} is not a number of threads.", "Write for instance `--threads 4` or `--threads 1,2,4`."
        )
    return tuple(int(part) for part in parts)
