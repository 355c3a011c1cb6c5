"""`bopkit tensorboard`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bopkit.cli.arguments import complete_model


def tensorboard(
    model: Annotated[
        str | None, typer.Argument(help="Only runs of this network.", autocompletion=complete_model)
    ] = None,
    output_prefix: Annotated[Path, typer.Option("--output-prefix", help="The folder that runs are in.")] = Path("runs"),
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 for any free port.")] = 6006,
) -> None:
    """Show the logs of all runs below a folder in TensorBoard."""
    from bopkit.runs.tensorboard import serve_tensorboard

    serve_tensorboard(model, output_prefix, port)
