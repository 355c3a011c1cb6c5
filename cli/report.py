"""`bopkit report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bopkit.cli.arguments import Json
from bopkit.cli.output import print_json, say
from bopkit.cli.reporting import Csv, Html, Markdown, check_targets, print_report, say_failures, write_targets


def report(
    results: Annotated[
        list[Path],
        typer.Argument(metavar="RESULTS", help="Files that `bopkit benchmark --json` or -o wrote.", show_default=False),
    ],
    baseline: Annotated[
        Path | None, typer.Option("--baseline", metavar="FILE", help="An older result to compare with.")
    ] = None,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(
            "--fail-if",
            metavar="RULE",
            help='Exit with 1 if a row matches: "latency_ms_p50 > 1.05x", "top1 < baseline - 0.005". Repeatable.',
        ),
    ] = None,
    html: Html = None,
    markdown: Markdown = None,
    csv: Csv = None,
    json: Json = False,
) -> None:
    """Merge results of several devices and days, compare them with a baseline, and fail on regressions."""
    from bopkit.benchmark.reports import build_report

    prints_table = check_targets(json, html, markdown, csv, inputs=[*results, baseline])
    built = build_report(results, baseline, fail_if or ())
    error = write_targets((html, built.html), (markdown, built.markdown), (csv, built.csv))
    if json:
        print_json(built.to_dict())
    if prints_table:
        print_report(built.merged)
    say_failures(built.merged, is_error=False)
    for text in built.texts:
        say(text)
    if error is not None:
        raise error
    if built.findings:
        raise typer.Exit(1)
