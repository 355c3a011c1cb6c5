"""A trained network in a folder of the user's, ready to be measured, exported or trained on."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np

from bopkit import files
from bopkit.artifacts.keras_file import model_bytes, open_model
from bopkit.errors import BopkitError, UsageError
from bopkit.pretrained.rebuild import rebuild
from bopkit.pretrained.shipped import CONFIG, FLATBUFFER, ShippedModel, read_shipped
from bopkit.progress import Progress, silent
from bopkit.tabular import Column, Tabular
from bopkit.text import percent_text, size_text

MODEL_FILE, RUN_CONFIG_FILE = "model.h5", "run_config.json"
"""Names in the user's folder. With a `config.json` in it, bopkit would take it for a run that waits to be resumed."""


@dataclasses.dataclass(frozen=True, repr=False)
class PulledModel(Tabular):
    """What `pull_model` left; plain JSON values.

    Attributes:
        name: Name of the trained network.
        folder: The folder that holds its files.
        model: The Keras file, with its model card.
        model_bytes: Size of that.
        flatbuffer: The `.tflite` file.
        flatbuffer_bytes: Size of that.
        run_config: The config of the run that trained it.
        written: Whether anything was written; else all of it was there.
        architecture: Name of the network in the catalogue.
        dataset: Name of the dataset that it was trained on.
        split: Split of the dataset that `top1` was measured on.
        pictures: Number of these pictures.
        top1: Share of them whose class the Keras network names, 0 to 1.
        flatbuffer_top1: The same of the flatbuffer.
        publisher: Who trained and published it.
        licence: Licence of the weights, as an SPDX identifier.
        command: The command that trained it.
    """

    name: str
    folder: str
    model: str
    model_bytes: int
    flatbuffer: str
    flatbuffer_bytes: int
    run_config: str
    written: bool
    architecture: str
    dataset: str
    split: str
    pictures: int
    top1: float
    flatbuffer_top1: float
    publisher: str
    licence: str
    command: str

    _columns = (
        Column("model.h5", "model_bytes", size_text),
        Column("model.tflite", "flatbuffer_bytes", size_text),
        Column("top-1", "top1", percent_text),
        Column("pictures", "pictures"),
        Column("licence", "licence"),
    )

    def _title(self) -> str:
        return f"{self.folder}: {self.architecture}, trained on {self.dataset}"


def pull_model(name: str, to: str | Path | None = None, *, progress: Progress | None = None) -> PulledModel:
    """Write a trained network that comes with bopkit into a folder: all of its files or none.

    `model.h5` is built from packed bits and floats, with the very weights that were trained. Files that are there
    already and are the same stay as they are; one that differs is never overwritten.

    Args:
        name: Name of the trained network: see `bopkit.list_pretrained`.
        to: The folder; made if it is not there. None for `name` in the working folder.
        progress: Called with one line before what is slow.

    Returns:
        The paths of the files, their sizes, accuracy, source and licence.

    Raises:
        UsageError: There is no such network, the folder is a file, or a file in it is another one.
        BopkitError: A file of bopkit is damaged.
        OSError: Nothing can be written there.
    """
    say = progress or silent
    shipped = read_shipped(name)
    folder = Path(name if to is None else to)
    if os.path.lexists(folder) and not folder.is_dir():
        raise UsageError(f"{folder} is a file where a folder must be.", "Name another folder with --to.")
    contents = {FLATBUFFER: shipped.parts[FLATBUFFER], RUN_CONFIG_FILE: shipped.parts[CONFIG]}
    missing = {}
    for file, content in contents.items():
        if not os.path.lexists(folder / file):
            missing[file] = content
        elif not _holds(folder / file, content):
            raise _other_file(folder / file)
    model = folder / MODEL_FILE
    if not os.path.lexists(model):
        say(f"Building {shipped.facts.architecture} from packed weights")
        missing[MODEL_FILE] = model_bytes(rebuild(shipped), shipped.card, model)
    elif not _is_same_network(model, shipped):
        raise _other_file(model)
    if missing:
        _write(folder, missing)
    facts = shipped.facts
    return PulledModel(
        name=name,
        folder=str(folder),
        model=str(model),
        model_bytes=model.stat().st_size,
        flatbuffer=str(folder / FLATBUFFER),
        flatbuffer_bytes=len(contents[FLATBUFFER]),
        run_config=str(folder / RUN_CONFIG_FILE),
        written=bool(missing),
        architecture=facts.architecture,
        dataset=facts.dataset,
        split=facts.split,
        pictures=facts.pictures,
        top1=facts.top1,
        flatbuffer_top1=facts.flatbuffer_top1,
        publisher=facts.publisher,
        licence=facts.licence,
        command=facts.command,
    )


def _holds(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content


def _is_same_network(path: Path, shipped: ShippedModel) -> bool:
    """Whether a file is a model file with the card and the weights of a shipped network, bit for bit.

    The rest of two such files differs: Keras counts the quantizers of a session, and writes its version down.
    """
    try:
        loaded = open_model(path)
    except BopkitError:
        return False
    found, expected = loaded.model.get_weights(), shipped.unpacked_weights()
    return (
        loaded.card == shipped.card
        and len(found) == len(expected)
        and all(np.array_equal(*pair) for pair in zip(found, expected, strict=True))
    )


def _other_file(path: Path) -> UsageError:
    return UsageError(f"{path} exists already, and is another file.", "Name another folder with --to.")


def _write(folder: Path, contents: dict[str, bytes]) -> None:
    """Write files into a folder, all of them or none."""
    with files.scratch_directory(files.existing_ancestor(folder)) as scratch:
        whole = scratch / folder.name
        whole.mkdir()
        for name, content in contents.items():
            try:
                (whole / name).write_bytes(content)
            except OSError as error:  # a full disk names no file
                raise OSError(error.errno, error.strerror, str(folder / name)) from error
        files.sync(whole)
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            whole.rename(folder)
            return
        placed: list[Path] = []
        try:
            for name in contents:
                (whole / name).rename(folder / name)
                placed.append(folder / name)
        except BaseException:  # Ctrl-C too must not leave one file without the others
            for path in placed:
                path.unlink(missing_ok=True)
            raise
