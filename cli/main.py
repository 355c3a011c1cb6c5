"""Entry point of `bopkit`, and the list of its commands."""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated

import typer

from bopkit import keras2
from bopkit.card import package_versions
from bopkit.cli import (
    benchmark,
    datasets,
    doctor,
    errors,
    export,
    hparams,
    init,
    install_completion,
    models,
    prepare,
    tensorboard,
    train,
)

app = typer.Typer(
    name="bopkit",
    help="Train binarized neural networks with Bop, export them bit-packed, measure them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for name, function in (
    ("train", train.train),
    ("export", export.export),
    ("benchmark", benchmark.benchmark),
    ("init", init.init),
    ("models", models.models),
    ("hparams", hparams.hparams),
    ("datasets", datasets.datasets),
    ("prepare", prepare.prepare),
    ("tensorboard", tensorboard.tensorboard),
    ("doctor", doctor.doctor),
    ("install-completion", install_completion.install_completion),
):
    app.command(name)(errors.reported(function))


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(package_versions().get("bopkit", "unknown"))
        raise typer.Exit()


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error; goes anywhere.")] = False,
) -> None:
    """Train binarized neural networks with Bop, export them bit-packed, measure them."""
    errors.debug = debug


def main() -> None:
    """Run the command line."""
    arguments = sys.argv[1:]
    keras2.quiet = "--debug" not in arguments
    if keras2.quiet:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "--debug" in arguments:  # also behind the command, where most people type it
        arguments = ["--debug", *(argument for argument in arguments if argument != "--debug")]
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # clean up as on an error
    app(arguments, prog_name="bopkit")
