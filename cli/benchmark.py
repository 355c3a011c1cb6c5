"""`bopkit benchmark`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bopkit.cli.arguments import CardPreprocessFn, DataDir, Dataset, Json, Split
from bopkit.cli.output import print_json, say
from bopkit.cli.reporting import (
    Csv,
    Html,
    Markdown,
    check_targets,
    print_report,
    say_failures,
    write_target,
)


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
    threads: Annotated[int, typer.Option("--threads", min=1, help="Threads for one picture.")] = 1,
    warmup_runs: Annotated[int, typer.Option("--warmup-runs", min=0, help="Runs before the timed ones.")] = 10,
    runs: Annotated[int, typer.Option("--runs", min=1, help="Timed runs of one picture, at least.")] = 50,
    runtime: Annotated[
        str | None,
        typer.Option("--runtime", help="For .tflite files: litert (where bopkit-runtime is installed) or lce."),
    ] = None,
    with_steps: Annotated[
        bool, typer.Option("--profile", help="Time each operator too, in runs of its own (LiteRT).")
    ] = False,
    output: Annotated[
        str | None, typer.Option("-o", "--output", metavar="FILE", help="Write the result, for `bopkit report`.")
    ] = None,
    html: Html = None,
    markdown: Markdown = None,
    csv: Csv = None,
    json: Json = False,
) -> None:
    """Measure artifacts side by side: accuracy, agreement, latency, size and memory on this host's CPU."""
    from bopkit.benchmark import benchmark_artifacts, reports
    from bopkit.files import json_text

    prints_table = check_targets(json, html, markdown, csv, output)
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
        with_steps=with_steps,
        progress=say,
    )
    merged = reports.merge_reports([("", report)])
    write_target(output, lambda: json_text(report.to_dict()) + "\n")
    write_target(html, lambda: reports.render_page(merged))
    write_target(markdown, lambda: reports.markdown(merged))
    write_target(csv, lambda: reports.csv_table(merged))
    if json:
        print_json(report.to_dict())
    if prints_table:
        print_report(merged)
    say_failures(merged)
    if report.failed:
        raise typer.Exit(1)
