"""`bopkit init`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bopkit.cli.arguments import Hparams, HparamsSet, InputShape, Model, Seed, parse_shape
from bopkit.cli.next_step import say_export_next
from bopkit.cli.output import print_path, say, size_text


def init(
    model: Model,
    output: Annotated[Path, typer.Option("-o", "--output", help="The .h5 file to write.")] = Path("model.h5"),
    input_shape: InputShape = None,
    classes: Annotated[int | None, typer.Option("--classes", min=1, help="Default: the network's own.")] = None,
    hparams_set: HparamsSet = None,
    hparams: Hparams = None,
    seed: Seed = 0,
) -> None:
    """Write an untrained network with +-1 kernels, to export it and time it before training."""
    from bopkit.hparams import parse_overrides
    from bopkit.training.initialise import init_model

    path = init_model(
        model,
        output,
        input_shape=parse_shape(input_shape),
        classes=classes,
        hparams_set=hparams_set,
        hparams=parse_overrides(hparams or []),
        seed=seed,
    )
    say(f"{size_text(path.stat().st_size)}, untrained")
    print_path(path)
    say_export_next(model, path)
