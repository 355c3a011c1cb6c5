"""`bopkit evaluate`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from bopkit.cli.arguments import CardPreprocessFn, DataDir, Dataset, Json, Split
from bopkit.cli.next_step import say_next
from bopkit.cli.output import percent_text, print_json, print_table, say
from bopkit.text import printable

WORST_CLASSES = 5
"""Classes that a line names."""


def evaluate(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|model.h5",
            help="A run directory, a pulled network, pull:NAME or a Keras file.",
            show_default=False,
        ),
    ],
    dataset: Dataset = None,
    data_dir: DataDir = None,
    split: Split = None,
    preprocess_fn: CardPreprocessFn = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Only N pictures, drawn from the whole split.")
    ] = None,
    device: Annotated[str, typer.Option("--device", metavar="auto|cpu|gpu[:N]", help="Where to compute.")] = "auto",
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Pictures per batch.")] = 100,
    confusion: Annotated[
        Path | None,
        typer.Option("--confusion", metavar="FILE.png", help="Draw the confusion matrix; .svg and .pdf are drawn too."),
    ] = None,
    most_wrong: Annotated[
        Path | None,
        typer.Option(
            "--most-wrong", metavar="FILE.png", help="Draw the wrong predictions of which the network is surest."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Measure loss, top-1 and top-5 of a trained network; the dataset defaults to the one it was trained on."""
    from bopkit.benchmark.evaluate import evaluate_model

    found = evaluate_model(
        model,
        dataset,
        data_dir=data_dir,
        split=split,
        preprocess_fn=preprocess_fn,
        limit=limit,
        device=device,
        batch_size=batch_size,
        confusion=confusion,
        most_wrong=most_wrong,
        progress=say,
    )
    if json:
        values = dataclasses.asdict(found)
        asked = {"confusion": confusion, "mistakes": most_wrong}
        print_json({**values, **{name: values[name] if file else None for name, file in asked.items()}})
        return
    low, high = found.top1_interval
    print_table(
        ["top-1", "95 % interval", "top-5", "loss", "pictures", "dataset", "split", "preprocessing", "images/s"],
        [
            [
                percent_text(found.top1),
                f"{100 * low:.2f} to {percent_text(high)}",
                percent_text(found.top5),
                "-" if found.loss is None else f"{found.loss:.4f}",
                str(found.pictures),
                found.dataset,
                found.split,
                found.preprocessing,
                f"{found.images_per_second:,.0f}",
            ]
        ],
        right=["top-1", "top-5", "loss", "pictures", "images/s"],
        important=["95 % interval", "pictures", "dataset", "split", "top-5", "loss", "preprocessing"],
    )
    by_class = sorted(
        (share, printable(name))
        for share, name in zip(found.class_top1, found.class_names, strict=True)
        if share is not None
    )
    shown = ", ".join(f"{name} {percent_text(share)}" for share, name in by_class[:WORST_CLASSES])
    say(f"balanced accuracy {percent_text(found.balanced_accuracy)}; of {len(by_class)} classes the worst: {shown}")
    sources = {"preprocess_fn": "--preprocess-fn", "model card": "the model card"}
    say(f"{found.model} on {found.device}, preprocessing from {sources[found.preprocessing_source]}")
    for figure in found.figures:
        say(f"figure {figure}")
    say_next("bopkit", "export", model, *(("--data-dir", data_dir) if data_dir else ()))
