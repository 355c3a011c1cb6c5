"""`bopkit pull`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bopkit.cli.arguments import Json
from bopkit.cli.next_step import say_next, say_pulled_next
from bopkit.cli.output import percent_text, print_json, print_path, print_table, say, say_command, size_text

if TYPE_CHECKING:
    from bopkit.pretrained import PretrainedModels


def complete_pretrained(incomplete: str) -> list[str]:
    """Names of trained networks that begin with what was typed."""
    from bopkit.pretrained.shipped import shipped_names

    return [name for name in shipped_names() if name.startswith(incomplete)]


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
        typer.Option("--to", metavar="FOLDER", help="Where to write. Default: a folder NAME here.", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """Write a trained network into a folder: model.h5, its flatbuffer, and the config of the run that trained it."""
    from bopkit.errors import UsageError
    from bopkit.pretrained import list_pretrained, pull_model

    if name is None:
        if to is not None:
            raise UsageError("--to names a folder for a network that is not named.", "List them with `bopkit pull`.")
        _list(list_pretrained(), json)
        return
    pulled = pull_model(name, to, progress=say)
    if json:
        print_json(dataclasses.asdict(pulled))
        return
    say(f"Published by {pulled.publisher}, licence {pulled.licence}")
    say_command(f"Trained by: {pulled.command}")
    say(
        f"model.h5 {size_text(pulled.model_bytes)}, model.tflite {size_text(pulled.flatbuffer_bytes)}; top-1 "
        f"{percent_text(pulled.top1)} on {pulled.pictures:,} pictures of {pulled.dataset} {pulled.split}"
    )
    if not pulled.written:
        say("All of it was there already.")
    print_path(pulled.folder)
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
        right=["top-1", "flatbuffer"],
        important=["top-1", "flatbuffer", "dataset"],
    )
    if found.models:
        say_next("bopkit", "pull", found.models[0].name)
