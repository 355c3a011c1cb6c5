"""`bopkit compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bopkit.cli.arguments import DataDir, Dataset, Json, Split
from bopkit.cli.output import print_json, print_table, say, show
from bopkit.cli.reporting import Html, check_targets, print_report, say_failures, write_targets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bopkit.benchmark.reports import Gain


def compare(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODELS",
            help="Names of networks (`bopkit models`), files, run directories, pull:NAME.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="Keep the .tflite files.")
    ] = None,
    dataset: Dataset = None,
    data_dir: DataDir = None,
    split: Split = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, help="Measure accuracy on N pictures only, drawn from the whole split."),
    ] = None,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Threads for one picture.")] = 1,
    device: Annotated[
        list[str] | None,
        typer.Option("--device", metavar="DEVICE", help="Where to measure latency; default: local. Repeatable."),
    ] = None,
    warmup_runs: Annotated[int, typer.Option("--warmup-runs", min=0, help="Runs before the timed ones.")] = 10,
    runs: Annotated[int, typer.Option("--runs", min=1, help="Minimum number of timed runs of one picture.")] = 50,
    with_steps: Annotated[bool, typer.Option("--profile", help="Also time each operator, in separate runs.")] = False,
    html: Html = None,
    svg: Annotated[str | None, typer.Option("--svg", metavar="FILE", help="Write only the chart of the page.")] = None,
    json: Json = False,
) -> None:
    """Measure what binarization buys: bit-packed networks against float32 and int8 twins of the same shape."""
    from bopkit.benchmark.results import LOCAL
    from bopkit.export.comparison.compare import compare_models

    prints_table = check_targets(json, html, svg, inputs=models)
    comparison = compare_models(
        models,
        output,
        dataset=dataset,
        data_dir=data_dir,
        split=split,
        limit=limit,
        threads=threads,
        devices=device or (LOCAL,),
        warmup_runs=warmup_runs,
        runs=runs,
        with_steps=with_steps,
        progress=say,
    )
    error = write_targets((html, comparison.html), (svg, comparison.svg))
    if json:
        print_json(comparison.to_dict())
    if prints_table:
        print_report(comparison.merged)
        if comparison.gains:
            show()
            _print_gains(comparison.gains)
    say_failures(comparison.merged)
    if error is not None:
        raise error
    if comparison.report.failed:
        raise typer.Exit(1)
    if prints_table and html is None:
        say("Next: add `--html compare.html` to see it as a page")


def _print_gains(gains: Sequence[Gain]) -> None:
    from bopkit.benchmark.reports import gain_text

    print_table(
        ["packed network", "against its", "device", "threads", "smaller by", "faster by"],
        [
            [
                gain.network,
                gain.variant,
                gain.device,
                str(gain.threads),
                gain_text(gain.size_ratio),
                gain_text(gain.latency_ratio),
            ]
            for gain in gains
        ],
        right=["threads", "smaller by", "faster by"],
        important=["against its", "smaller by", "faster by", "device"],
    )
