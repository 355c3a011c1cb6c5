"""`bopkit doctor`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

from bopkit.cli.arguments import Json, complete_model
from bopkit.cli.output import print_json, print_table, say, show, size_text
from bopkit.errors import UsageError

if TYPE_CHECKING:
    from bopkit.training.throughput import ThroughputReport, ThroughputRow


def doctor(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]",
            help="With --gpu: the network to train; default: birealnet.",
            autocompletion=complete_model,
        ),
    ] = None,
    gpu: Annotated[
        bool, typer.Option("--gpu", help="Measure images per second, memory, and what limits them.")
    ] = False,
    device: Annotated[
        str | None,
        typer.Option("--device", metavar="gpu[:N]|cpu", help="With --gpu: the device to measure; default: gpu."),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size",
            min=1,
            help="With --gpu: pictures per batch; default: 32, then doubled while it fits and gets faster.",
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            "--precision", metavar="float32|bfloat16", help="With --gpu: measure only this precision; default: both."
        ),
    ] = None,
    jit: Annotated[
        bool | None,
        typer.Option("--jit/--no-jit", help="With --gpu: measure only with, or only without, XLA; default: both."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="With --gpu: at most N timed steps; default: 100, or 5 s.")
    ] = None,
    json: Json = False,
) -> None:
    """Show versions and devices, what is missing and how to install it; --gpu measures training speed."""
    if not gpu:
        if (model, device, batch_size, precision, jit, steps) != (None,) * 6:
            raise UsageError("Nothing is measured without --gpu.", "Add --gpu, or leave its options out.")
        _diagnose(json)
        return
    from bopkit.training.throughput import STEPS, measure_throughput

    report = measure_throughput(
        model or "birealnet",
        device=device or "gpu",
        batch_size=batch_size,
        precision=precision,
        jit=jit,
        steps=steps or STEPS,
        progress=say,
    )
    if json:
        print_json(dataclasses.asdict(report))
    else:
        _print_throughput(report)
    for row in report.failed:
        say(f"Error: {row.precision}, {_xla(row)}, batch {row.batch_size}: {row.error}")
    if report.failed:
        raise typer.Exit(1)


def _diagnose(json: bool) -> None:
    from bopkit.doctor import diagnose

    checks = diagnose()
    if json:
        print_json([dataclasses.asdict(check) for check in checks])
    else:
        print_table(
            ["", "part", "found", "hint"],
            [[" " if each.ok else "!", each.name, each.value, each.hint] for each in checks],
            text=["found", "hint"],
        )
    if not all(check.ok for check in checks):
        raise typer.Exit(1)


def _print_throughput(report: ThroughputReport) -> None:
    from bopkit.training.throughput import ADVICE

    print_table(
        ["precision", "XLA", "batch", "compute", "input", "both", "memory", "limit"],
        [_cells(row) for row in report.rows],
        title=f"{report.model}, input {' x '.join(map(str, report.input_shape))}, images per second",
        right=["batch", "compute", "input", "both", "memory"],
        important=["XLA", "batch", "both", "limit", "memory"],
    )
    fastest = report.fastest
    if fastest is not None and fastest.limit is not None:
        show(f"fastest: {fastest.precision}, {_xla(fastest)}, batch {fastest.batch_size}; {ADVICE[fastest.limit]}")
    show(
        f"{report.device}, {report.logical_cores} logical cores; input: synthetic JPEG files of "
        f"{size_text(report.jpeg_bytes)} in memory, imagenet preprocessing"
    )


def _xla(row: ThroughputRow) -> str:
    return "with XLA" if row.jit else "without XLA"


def _cells(row: ThroughputRow) -> list[str]:
    rates = (row.compute_images_per_second, row.input_images_per_second, row.images_per_second)
    return [
        row.precision,
        "yes" if row.jit else "no",
        str(row.batch_size),
        *("-" if rate is None else f"{rate:.1f}" for rate in rates),
        size_text(row.peak_memory_bytes),
        row.limit or "failed",
    ]
