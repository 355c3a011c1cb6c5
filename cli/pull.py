"""`bopkit pull`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bopkit.cli.arguments import Json
from bopkit.cli.next_step import say_next, say_pulled_next
from bopkit.cli.output import percent_text, print_json, print_path, print_table, say, say_command, show, size_text

if TYPE_CHECKING:
    from bopkit.pretrained import PretrainedModels
    from bopkit.pretrained.listing import ReleasedFacts


def complete_pretrained(incomplete: str) -> list[str]:
    """Names of trained networks that begin with what was typed."""
    from bopkit.pretrained.named import known_names

    return [name for name in known_names() if name.startswith(incomplete)]


def pull(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="A trained network; without a name, all are listed.",
            autocompletion=complete_pretrained,
            show_default=False,
        ),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to",
            metavar="FOLDER|FILE.h5",
            help="Where to write, or the .h5 file to write alone. Default: a folder NAME here.",
            show_default=False,
        ),
    ] = None,
    mirror: Annotated[
        str | None,
        typer.Option(
            "--mirror",
            metavar="URL",
            help="A copy of Larq Zoo's releases, in place of those on GitHub.",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Write a trained network into a folder, one that comes with bopkit, or one whose weights Larq Zoo released."""
    from bopkit.errors import UsageError
    from bopkit.pretrained import list_pretrained, pull_model

    if name is None:
        for option, value in (("--to", to), ("--mirror", mirror)):
            if value is not None:
                raise UsageError(f"{option} is for a network that is not named.", "List them with `bopkit pull`.")
        _list(list_pretrained(), json)
        return
    pulled = pull_model(name, to, mirror=mirror, progress=say)
    if json:
        print_json(dataclasses.asdict(pulled))
        return
    say(f"Published by {pulled.publisher}, licence {pulled.licence}")
    if pulled.command is not None:
        say_command(f"Trained by: {pulled.command}")
    flatbuffer = "" if pulled.flatbuffer_bytes is None else f", model.tflite {size_text(pulled.flatbuffer_bytes)}"
    top5 = "" if pulled.top5 is None else f", top-5 {percent_text(pulled.top5)}"
    pictures = "" if pulled.pictures is None else f"{pulled.pictures:,} pictures of "
    by = "" if pulled.source is None else f", as {pulled.measured_by} published it; bopkit has not measured it"
    sizes = f"{Path(pulled.model).name} {size_text(pulled.model_bytes)}{flatbuffer}"
    say(f"{sizes}; top-1 {percent_text(pulled.top1)}{top5} on {pictures}{pulled.dataset} {pulled.split}{by}")
    if not pulled.written:
        say("All of it was there already.")
    print_path(pulled.model if to is not None and to.suffix == ".h5" else pulled.folder)
    say_pulled_next(pulled)


def _list(found: PretrainedModels, json: bool) -> None:
    if json:
        print_json(found.to_dicts())
        return
    print_table(
        ["name", "top-1", "flatbuffer", "dataset", "licence"],
        [
            [
                model.name,
                percent_text(model.top1),
                size_text(model.parts["model.tflite"].size_bytes),
                model.dataset,
                model.licence,
            ]
            for model in found.models
        ],
        title="Come with bopkit, which measured their top-1:",
        right=["top-1", "flatbuffer"],
        important=["top-1", "flatbuffer", "dataset"],
    )
    for publisher, dataset in dict.fromkeys((each.release.publisher, each.release.dataset) for each in found.released):
        show()
        _list_released(
            f"Weights that {publisher} released, of {dataset}; top-1 as published:",
            [each for each in found.released if (each.release.publisher, each.release.dataset) == (publisher, dataset)],
        )
    if found.models:
        say_next("bopkit", "pull", found.models[0].name)


def _list_released(title: str, released: list[ReleasedFacts]) -> None:
    print_table(
        ["name", "top-1", "top-5", "size", "licence", "downloaded"],
        [
            [
                each.release.name,
                percent_text(each.release.top1),
                percent_text(each.release.top5),
                size_text(each.weights_bytes),
                each.release.licence,
                "yes" if each.is_kept else "no",
            ]
            for each in released
        ],
        title=title,
        right=["top-1", "top-5", "size"],
        important=["top-1", "downloaded", "size", "licence"],
    )
