"""Entry point of `bopkit`, and the list of its commands."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from inspect import getdoc
from typing import Annotated, Any

import typer

from bopkit import keras2
from bopkit.cli import (
    benchmark,
    compare,
    data,
    datasets,
    device,
    diff,
    doctor,
    errors,
    evaluate,
    export,
    hparams,
    init,
    inspect,
    install_completion,
    models,
    plot,
    predict,
    prepare,
    pull,
    refresh,
    report,
    runs,
    streams,
    sweep,
    tensorboard,
    train,
    verify,
)
from bopkit.cli.help_text import Command, Group
from bopkit.cli.output import show
from bopkit.scratch import use_own_temporary_folder
from bopkit.versions import package_versions

app = typer.Typer(
    name="bopkit",
    help="Train binarized neural networks with Bop, export them bit-packed, measure them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain text: [user@]host is no markup
    cls=Group,
)
data_app = typer.Typer(help="List, prepare, check and preview datasets.", no_args_is_help=True, cls=Group)
device_app = typer.Typer(help="List, set up and clean the devices to measure on.", no_args_is_help=True, cls=Group)
_COMMANDS: tuple[tuple[typer.Typer, str, Callable[..., Any]], ...] = (
    (app, "train", train.train),
    (app, "sweep", sweep.sweep),
    (app, "evaluate", evaluate.evaluate),
    (app, "refresh", refresh.refresh),
    (app, "predict", predict.predict),
    (app, "runs", runs.runs),
    (app, "plot", plot.plot),
    (app, "export", export.export),
    (app, "verify", verify.verify),
    (app, "inspect", inspect.inspect),
    (app, "diff", diff.diff),
    (app, "benchmark", benchmark.benchmark),
    (app, "report", report.report),
    (app, "compare", compare.compare),
    (app, "init", init.init),
    (app, "pull", pull.pull),
    (app, "models", models.models),
    (app, "hparams", hparams.hparams),
    (data_app, "list", data.list_),
    (data_app, "prepare", data.prepare),
    (data_app, "check", data.check),
    (data_app, "preview", data.preview),
    (device_app, "list", device.list_),
    (device_app, "info", device.info),
    (device_app, "setup", device.setup),
    (device_app, "remove", device.remove),
    (app, "doctor", doctor.doctor),
    (app, "install-completion", install_completion.install_completion),
)
_OLDER_NAMES: tuple[tuple[str, Callable[..., Any], str], ...] = (
    ("datasets", datasets.datasets, "The older name of `bopkit data list`."),
    ("prepare", prepare.prepare, "The older name of `bopkit data prepare`."),
    ("tensorboard", tensorboard.tensorboard, "Show all runs below a folder, as `tensorboard --logdir runs` does."),
)
"""Commands that double others: they still work, and `bopkit --help` leaves them out."""
for group, name, function in _COMMANDS:
    group.command(name, cls=Command, short_help=getdoc(function))(errors.reported(function))
for name, function, text in _OLDER_NAMES:
    app.command(name, cls=Command, help=text, short_help=text, hidden=True)(errors.reported(function))
app.add_typer(data_app, name="data", short_help=data_app.info.help)
app.add_typer(device_app, name="device", short_help=device_app.info.help)


def _print_version(wanted: bool) -> None:
    if wanted:
        show(package_versions().get("bopkit", "unknown"))
        raise typer.Exit()


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; works before or after the command.")
    ] = False,
) -> None:
    """Train binarized neural networks with Bop, export them bit-packed, measure them."""
    errors.debug = debug


def main() -> None:
    """Run the command line."""
    streams.open_and_tolerant()
    arguments = sys.argv[1:]
    keras2.quiet = "--debug" not in arguments
    if keras2.quiet:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "--debug" in arguments:  # also behind the command, where most people type it
        arguments = ["--debug", *(argument for argument in arguments if argument != "--debug")]
    for name in ("SIGTERM", "SIGHUP"):  # the second, where there is one, when a terminal is closed
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, lambda number, frame: sys.exit(128 + number))  # clean up as on an error
    use_own_temporary_folder()
    with streams.flushed():
        app(arguments, prog_name="bopkit")
