"""A trained network in a folder of the user's, ready to be measured, exported or trained on."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from bopkit import files
from bopkit.architecture import Architecture
from bopkit.artifacts.card import ModelCard
from bopkit.artifacts.keras_file import LoadedModel, model_bytes, open_model
from bopkit.errors import BopkitError, UsageError
from bopkit.pretrained.named import check_name, kept_model
from bopkit.pretrained.rebuild import rebuild
from bopkit.pretrained.releases import RELEASES, Release
from bopkit.pretrained.shipped import CONFIG, FLATBUFFER, ShippedModel, read_shipped
from bopkit.progress import Progress, silent
from bopkit.registry import MODELS
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
        flatbuffer: The `.tflite` file; None where there is none.
        flatbuffer_bytes: Size of that.
        run_config: The config of the run that trained it; None where bopkit did not.
        written: Whether anything was written; else all of it was there.
        architecture: Name of the network in the catalogue.
        dataset: Name of the dataset that it was trained on.
        split: Split of the dataset that `top1` was measured on.
        pictures: Number of these pictures; None where the publisher measured.
        top1: Share of them whose class the Keras network names, 0 to 1.
        flatbuffer_top1: The same of the flatbuffer; None where there is none.
        publisher: Who trained and published it.
        licence: Licence of the weights, as an SPDX identifier.
        command: The command that trained it; None where bopkit did not.
        top5: Share whose class is among the five highest scores; None where that is not known.
        measured_by: Who measured all that: `bopkit`, or the publisher.
        source: Address of the weights; None where they come with bopkit.
    """

    name: str
    folder: str
    model: str
    model_bytes: int
    flatbuffer: str | None
    flatbuffer_bytes: int | None
    run_config: str | None
    written: bool
    architecture: str
    dataset: str
    split: str
    pictures: int | None
    top1: float
    flatbuffer_top1: float | None
    publisher: str
    licence: str
    command: str | None
    top5: float | None = None
    measured_by: str = "bopkit"
    source: str | None = None

    _columns = (
        Column("model.h5", "model_bytes", size_text),
        Column("model.tflite", "flatbuffer_bytes", size_text),
        Column("top-1", "top1", percent_text),
        Column("pictures", "pictures"),
        Column("licence", "licence"),
    )

    def _title(self) -> str:
        return f"{self.folder}: {self.architecture}, trained on {self.dataset}"


def pull_model(
    name: str,
    to: str | Path | None = None,
    *,
    mirror: str | None = None,
    progress: Progress | None = None,
) -> PulledModel:
    """Write a trained network into a folder: all of its files or none.

    One that comes with bopkit is built from packed bits and floats. One that others released is built from their
    weights, which are downloaded once, checked by their SHA-256 and kept in the user's cache folder. Either has the
    very weights that were trained. Files that are there already and are the same stay as they are; one that differs is
    never overwritten.

    Args:
        name: Name of the trained network: see `bopkit.list_pretrained`.
        to: The folder, made if it is not there, or the `.h5` file to write of it alone. None for `name` in the working
            folder.
        mirror: Address of a copy of Larq Zoo's releases, `https:`, `http:` or `file:`; None for the original.
        progress: Called with one line before what is slow, and during a download.

    Returns:
        The paths of the files, their sizes, accuracy, source and licence.

    Raises:
        UsageError: There is no such network, the folder is a file, or a file in it is another one.
        BopkitError: A file of bopkit is damaged, or weights cannot be downloaded.
        OSError: Nothing can be written there.
    """
    check_name(name)
    target = Path(name if to is None else to)
    if target.suffix == ".h5":
        if target.is_dir():
            raise UsageError(f"{target} is a folder where a file must be.", "Name another file with --to.")
    elif os.path.lexists(target) and not target.is_dir():
        raise UsageError(f"{target} is a file where a folder must be.", "Name another folder with --to.")
    if name in RELEASES:
        return _pull_released(RELEASES[name], target, mirror, progress or silent)
    if mirror is not None:
        raise UsageError(f"{name} comes with bopkit: there is nothing to download.", "Leave out --mirror.")
    return _pull_shipped(read_shipped(name), target, progress or silent)


def _pull_released(release: Release, target: Path, mirror: str | None, say: Progress) -> PulledModel:
    architecture: Architecture = MODELS.load(release.architecture)
    model = target if target.suffix == ".h5" else target / MODEL_FILE
    kept = kept_model(release.name, say, mirror)
    written = not os.path.lexists(model)
    if written:
        _place(model, {MODEL_FILE: kept.read_bytes()}, target)
    elif not (_holds(model, kept.read_bytes()) or _is_network_of(model, open_model(kept))):
        raise _other_file(model)
    return PulledModel(
        name=release.name,
        folder=str(model.parent),
        model=str(model),
        model_bytes=model.stat().st_size,
        flatbuffer=None,
        flatbuffer_bytes=None,
        run_config=None,
        written=written,
        architecture=architecture.name,
        dataset=release.dataset,
        split=release.split,
        pictures=None,
        top1=release.top1,
        top5=release.top5,
        flatbuffer_top1=None,
        measured_by=release.publisher,
        publisher=release.publisher,
        licence=release.licence,
        command=None,
        source=release.address(),
    )


def _pull_shipped(shipped: ShippedModel, target: Path, say: Progress) -> PulledModel:
    is_alone = target.suffix == ".h5"
    folder, model = (target.parent, target) if is_alone else (target, target / MODEL_FILE)
    contents = {} if is_alone else {FLATBUFFER: shipped.parts[FLATBUFFER], RUN_CONFIG_FILE: shipped.parts[CONFIG]}
    missing = {}
    for file, content in contents.items():
        if not os.path.lexists(folder / file):
            missing[file] = content
        elif not _holds(folder / file, content):
            raise _other_file(folder / file)
    if not os.path.lexists(model):
        say(f"Building {shipped.facts.architecture} from packed weights")
        missing[MODEL_FILE] = model_bytes(rebuild(shipped), shipped.card, model)
    elif not _is_same_network(model, shipped):
        raise _other_file(model)
    if missing:
        _place(model, missing, target)
    facts = shipped.facts
    return PulledModel(
        name=facts.name,
        folder=str(folder),
        model=str(model),
        model_bytes=model.stat().st_size,
        flatbuffer=None if is_alone else str(folder / FLATBUFFER),
        flatbuffer_bytes=None if is_alone else len(contents[FLATBUFFER]),
        run_config=None if is_alone else str(folder / RUN_CONFIG_FILE),
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


def _place(model: Path, contents: dict[str, bytes], target: Path) -> None:
    """Write files into the folder that the user named, or the model alone into the file."""
    if target == model:
        files.write_bytes(model, contents[MODEL_FILE])
    else:
        _write(target, contents)


def _holds(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content


def _is_same_network(path: Path, shipped: ShippedModel) -> bool:
    """Whether a file is a model file with the card and the weights of a shipped network, bit for bit.

    The rest of two such files differs: Keras counts the quantizers of a session, and writes its version down.
    """
    return _is_network(path, shipped.card, shipped.unpacked_weights())


def _is_network_of(path: Path, kept: LoadedModel) -> bool:
    """Whether a file has the network of another one, which may have been built with other versions of packages."""
    return _is_network(path, kept.card, kept.model.get_weights(), ignored={"versions": {}})


def _is_network(
    path: Path, card: ModelCard | None, weights: list[np.ndarray], ignored: Mapping[str, Any] = MappingProxyType({})
) -> bool:
    try:
        loaded = open_model(path)
    except BopkitError:
        return False
    if loaded.card is None or card is None:
        return False
    found = loaded.model.get_weights()
    return (
        dataclasses.replace(loaded.card, **ignored) == dataclasses.replace(card, **ignored)
        and len(found) == len(weights)
        and all(np.array_equal(*pair) for pair in zip(found, weights, strict=True))
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
