"""`bopkit refresh`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from bopkit.batch_norm import DEFAULT_PICTURES
from bopkit.cli.arguments import CardPreprocessFn, DataDir, Dataset, Json, Seed, Split
from bopkit.cli.next_step import say_next
from bopkit.cli.output import percent_text, print_json, print_path, say
from bopkit.text import count_text


def refresh(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|model.h5",
            help="A run directory, a pulled network, pull:NAME or a Keras file.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="The .h5 file to write. Default: NAME_refreshed.h5 beside the model file.",
            show_default=False,
        ),
    ] = None,
    dataset: Dataset = None,
    data_dir: DataDir = None,
    train_split: Annotated[
        str | None,
        typer.Option(
            "--train-split",
            metavar="SPLIT",
            help="Split or slice that the training pictures are of, as 'train[:80%]'.",
            show_default="the model card's, else train",
        ),
    ] = None,
    split: Split = None,
    preprocess_fn: CardPreprocessFn = None,
    pictures: Annotated[
        int, typer.Option("--pictures", min=1, help="Training pictures that the statistics are estimated over.")
    ] = DEFAULT_PICTURES,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Measure accuracy on N pictures only.")] = None,
    device: Annotated[str, typer.Option("--device", metavar="auto|cpu|gpu[:N]", help="Where to compute.")] = "auto",
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Estimate the batch-norm statistics of a model file anew, and write another; says top-1 before and after."""
    from bopkit.benchmark.refresh import refresh_model

    found = refresh_model(
        model,
        output,
        dataset,
        data_dir=data_dir,
        train_split=train_split,
        split=split,
        preprocess_fn=preprocess_fn,
        pictures=pictures,
        limit=limit,
        device=device,
        seed=seed,
        progress=say,
    )
    if json:
        values = dataclasses.asdict(found)
        for measured in (values["before"], values["after"]):
            for name in ("confusion", "mistakes", "figures"):  # nobody asked for them, and there may be many
                del measured[name]
        print_json(values)
        return
    before, after = found.before, found.after
    say(
        f"top-1 {percent_text(before.top1)} before, {percent_text(after.top1)} after, on "
        f"{count_text(after.pictures, 'picture')} of {after.dataset} {after.split}; statistics of "
        f"{count_text(found.batch_norm_pictures, 'picture')} of {found.trained_on}"
    )
    if after.top1 < before.top1:
        say(f"{found.model} was better, and is as it was")
    print_path(Path(found.output))
    say_next("bopkit", "export", found.output, *(("--data-dir", data_dir) if data_dir else ()))
