"""`bopkit data`: list, prepare and preview datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bopkit.cli.arguments import DataDir, PicturesShape, Seed, complete_dataset, parse_shape
from bopkit.cli.datasets import datasets as list_
from bopkit.cli.output import print_path, say
from bopkit.cli.prepare import prepare

__all__ = ["list_", "prepare", "preview"]


def preview(
    dataset: Annotated[
        str,
        typer.Argument(
            metavar="DATASET", help="Name of a dataset.", autocompletion=complete_dataset, show_default=False
        ),
    ],
    preprocess_fn: Annotated[
        str, typer.Option("--preprocess-fn", metavar="NAME", help="Preprocessing; default: the dataset's own.")
    ] = "default",
    input_shape: PicturesShape = None,
    data_dir: DataDir = None,
    split: Annotated[
        str | None, typer.Option("--split", help="Split, such as train or test[:10%].", show_default="train")
    ] = None,
    count: Annotated[int, typer.Option("--count", min=1, help="Number of pictures.")] = 8,
    seed: Seed = 0,
    hparams: Annotated[
        list[str] | None,
        typer.Option(
            "--hparams",
            metavar="a=1,b=2",
            help="Of the run, for instance mixup=0.2,random_erasing=0.3.",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="PNG file; default: DATASET_preview.png.", show_default=False)
    ] = None,
) -> None:
    """Draw what a network sees: pictures after the preprocessing of evaluation and of three training epochs."""
    from bopkit.data.preview import preview as draw
    from bopkit.data.recipe import PictureRecipe
    from bopkit.hparams import parse_overrides

    recipe = PictureRecipe.of_values(parse_overrides(hparams or []))
    usual = Path(dataset.replace("/", "_").replace(":", "_") + "_preview.png")
    path = draw(
        dataset,
        output or usual,
        preprocess_fn=preprocess_fn,
        input_shape=parse_shape(input_shape),
        data_dir=data_dir,
        split=split,
        count=count,
        seed=seed,
        recipe=recipe,
    )
    print_path(path)
    say("Network values are shown as pixels from 0 to 255. The epochs are those of a run with the same --seed.")
    if recipe.mixing:
        say("Each picture is mixed with the next one here; a run draws its partners anew each epoch.")
