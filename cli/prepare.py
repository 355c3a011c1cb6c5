"""`bopkit data prepare`, and `bopkit prepare`, its older name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bopkit.cli.arguments import DataDir, complete_dataset
from bopkit.cli.next_step import say_next
from bopkit.cli.output import say, show


def prepare(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="DATASETS", help="Names of datasets.", autocompletion=complete_dataset, show_default=False
        ),
    ],
    data_dir: DataDir = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="FOLDER",
            help="Folder with the archives that would be downloaded: prepare from them, without network.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Download and prepare datasets, as TFDS does, or prepare them from archives that you have."""
    from bopkit.data import prepare_datasets
    from bopkit.data.preprocessing import SMALL_PICTURE_PX

    prepared = prepare_datasets(names, data_dir, progress=say, source=source)
    for dataset in prepared:
        size = " x ".join(map(str, dataset.input_shape))
        show(f"{dataset.name} is ready: {len(dataset.class_names)} classes, input {size}")
    model = "binarynet" if max(prepared[0].input_shape[:2]) <= SMALL_PICTURE_PX else "birealnet"
    place = () if data_dir is None else ("--data-dir", data_dir)
    say_next("bopkit", "train", model, "--dataset", names[0], *place)
