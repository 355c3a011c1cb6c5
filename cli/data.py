"""`bopkit data`: list, prepare, check and preview datasets."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bopkit.cli.arguments import DataDir, Json, PicturesShape, Seed, complete_dataset, parse_shape
from bopkit.cli.datasets import datasets as list_
from bopkit.cli.output import print_json, print_path, print_table, say, show
from bopkit.cli.prepare import prepare
from bopkit.errors import BopkitError
from bopkit.text import count_text, printable, shortened_list

if TYPE_CHECKING:
    from bopkit.data.check import DatasetCheck

__all__ = ["check", "list_", "prepare", "preview"]

MOST_LISTED = 10
"""Damaged pictures, and pairs of the same, that a terminal gets; `--json` has all."""

DatasetName = Annotated[
    str,
    typer.Argument(metavar="DATASET", help="Name of a dataset.", autocompletion=complete_dataset, show_default=False),
]


def check(dataset: DatasetName, data_dir: DataDir = None, json: Json = False) -> None:
    """Read every picture: counts by class and split, sizes, damaged files, and the same pictures twice."""
    from bopkit.data.check import check_dataset

    found = check_dataset(dataset, data_dir, progress=say)
    if json:
        print_json(dataclasses.asdict(found))
    else:
        print_table(
            ["class", *found.pictures],
            [
                [name, *(f"{counts[label]:,}" for counts in found.pictures.values())]
                for label, name in enumerate(found.class_names)
            ],
            right=list(found.pictures),
        )
        for line in _lines(found):
            show(line)
        for split, counts in found.pictures.items():
            lacking = [name for name, count in zip(found.class_names, counts, strict=True) if not count]
            if lacking:
                say(f"Warning: split {split} has no picture of {shortened_list(list(map(printable, lacking)))}")
    _list("cannot be used", [f"{path} {problem}" for path, problem in found.damaged.items()])
    _list("same picture in several splits", [", ".join(group) for group in found.shared])
    _list("same picture twice in a split", [", ".join(group) for group in found.same if group not in found.shared])
    if found.damaged:
        raise BopkitError(
            f"{count_text(len(found.damaged), 'picture')} of {found.dataset} cannot be used.",
            "Repair or remove them, or train with --skip-damaged.",
        )


def _lines(found: DatasetCheck) -> list[str]:
    """What a check found beside the table."""
    smallest, median, largest = (f"{height} x {width}" for height, width in found.sizes_px)
    sizes = f"all {smallest}" if smallest == largest else f"{smallest} to {largest}, the median {median}"
    totals = ", ".join(f"{split} {sum(counts):,}" for split, counts in found.pictures.items())
    mean, deviation = (", ".join(f"{each:.1f}" for each in values) for values in (found.mean, found.deviation))
    shape = " x ".join(map(str, found.input_shape))
    return [
        f"pictures: {totals}",
        f"sizes: {sizes} pixels, height x width",
        f"pixels, 0 to 255: mean {mean}; standard deviation {deviation}",
        f"by default training shows them as {shape}, preprocessing {found.preprocessing}",
    ]


def _list(what: str, lines: list[str]) -> None:
    """Say the first lines, and how many more there are."""
    for line in lines[:MOST_LISTED]:
        say(f"{what}: {printable(line)}")
    if len(lines) > MOST_LISTED:
        say(f"{what}: {len(lines) - MOST_LISTED:,} more; --json lists all")


def preview(
    dataset: DatasetName,
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
