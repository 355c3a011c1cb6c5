"""What can be measured or served: a Keras file, a SavedModel directory, a flatbuffer or C sources; the card of each.

A run directory stands for its `model.h5`. A file's kind is read from its contents, not from its name. Nothing here
imports TensorFlow or runs a model.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bopkit.artifacts import checkpoint, checksum, keras_file, tflite_schema
from bopkit.artifacts.c_sources import is_c_sources, read_c_sources
from bopkit.artifacts.card import CARD_ATTRIBUTE, ModelCard, parse_card
from bopkit.artifacts.tflite_file import TfliteFile
from bopkit.errors import BopkitError
from bopkit.runs.directory import MODEL_FILE, is_run, run_state

SAVED_MODEL_CARD = "assets.extra/bopkit_card.json"
"""Where a SavedModel's version directory keeps the card; TensorFlow Serving ignores it there."""

EXPORT_RECORD = "bopkit_export"
"""Metadata entry of a flatbuffer with bopkit's own record of the export, JSON: input contract, precision, accuracy,
the network's floor, provenance."""


def kind(path: str | Path) -> str:
    """What an artifact is, by its contents, after its checksum, if it carries one, was found right.

    Args:
        path: A file, a run directory, a SavedModel directory, a directory of numbered SavedModel versions, or a folder
            of C sources.

    Returns:
        `keras`, `savedmodel`, `tflite` or `c`.

    Raises:
        BopkitError: There is no such artifact, it is damaged, or it is none of the four.
    """
    path = resolve(path)
    if is_c_sources(path):
        read_c_sources(path)
        return "c"
    if path.is_dir():
        checksum.check(path)
        return "savedmodel"
    if _is_tflite(path):
        read_flatbuffer(path)
        return "tflite"
    keras_file.read_config(path)
    return "keras"


def resolve(path: str | Path) -> Path:
    """The path to load: a run's `model.h5`, a SavedModel's newest version directory, a file or C sources as they are.

    A folder without a run's config and without a SavedModel stands for the `model.h5` in it, or for its newest
    checkpoint of TensorFlow. That, and each of its files, stands for the checkpoint's prefix.

    Raises:
        BopkitError: A directory that holds no SavedModel, a run without a model, or several checkpoints.
    """
    path = Path(path)
    if not path.is_dir():
        return checkpoint.prefix_of(path) or path
    if is_c_sources(path):
        return path
    return _model_of_run(path) if is_run(path) else _version_directory(path)


def read_card(path: str | Path) -> ModelCard | None:
    """The model card of an artifact of any kind; None where it carries none.

    Raises:
        BopkitError: There is no such artifact, or it or its card is damaged.
    """
    path = resolve(path)
    if is_c_sources(path):
        return read_c_sources(path).card
    if path.is_dir():
        card = path / SAVED_MODEL_CARD
        return parse_card(card.read_bytes(), card) if card.is_file() else None
    if _is_tflite(path):
        text = read_flatbuffer(path).metadata(CARD_ATTRIBUTE)
        return None if text is None else parse_card(text, path)
    return keras_file.read_card(path)


def read_record(path: str | Path) -> dict[str, Any] | None:
    """What a flatbuffer says of its export: input, output, precision, accuracy, floor, source and versions.

    Returns:
        None for an artifact without such a record.

    Raises:
        BopkitError: There is no such artifact, or it or its record is damaged.
    """
    path = Path(path)
    if path.is_dir() or not _is_tflite(path):
        return None
    text = read_flatbuffer(path).metadata(EXPORT_RECORD)
    if text is None:
        return None
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        raise BopkitError(f"The record of the export in {path} is damaged.", "Copy the file again, or export it again.")
    return record


def read_floor_bytes(path: str | Path) -> int | None:
    """One bit a binary weight and 32 bits any other of the network that a flatbuffer or C sources were exported from.

    Returns:
        None for an artifact whose record does not tell it, or that has none.

    Raises:
        BopkitError: There is no such artifact, or it or its record is damaged.
    """
    path = Path(path)
    if is_c_sources(path):
        return read_c_sources(path).floor_bytes
    floor_bytes = (read_record(path) or {}).get("floor_bytes")
    return floor_bytes if type(floor_bytes) is int and floor_bytes > 0 else None  # True is no number of bytes


def pixel_preprocessing(path: str | Path) -> str | None:
    """Name of the preprocessing whose normalisation is inside a flatbuffer or C sources that take uint8 pixels.

    Returns:
        None for any artifact that takes preprocessed floats, or names no preprocessing.

    Raises:
        BopkitError: It or its card is damaged.
    """
    path = Path(path)
    if is_c_sources(path):
        sources = read_c_sources(path)
        if sources.input.kind != "uint8" or sources.card is None:
            return None
        return sources.card.preprocessing or None
    if path.is_dir() or not _is_tflite(path):
        return None
    (graph, *_) = read_flatbuffer(path).graphs
    if [graph.tensors[index].type for index in graph.inputs] != ["uint8"]:
        return None
    card = read_card(path)
    return card.preprocessing or None if card is not None else None


def read_flatbuffer(path: Path) -> TfliteFile:
    """Read and check a `.tflite` file, its checksum included if it carries one.

    Raises:
        BopkitError: It is damaged or no TensorFlow Lite model.
    """
    data = path.read_bytes()
    checksum.check(path, data)
    return TfliteFile(data, path)


def _model_of_run(path: Path) -> Path:
    """The `model.h5` of a run directory.

    Raises:
        BopkitError: It has none yet.
    """
    model = path / MODEL_FILE
    if not model.is_file():
        is_running = run_state(path) == "running"
        hint = "Wait until the run ends." if is_running else "Resume it with the same train command."
        raise BopkitError(f"{path} has no {model.name} yet.", hint)
    return model


def _version_directory(path: Path) -> Path:
    """`path` itself where it is a SavedModel, else its highest numbered version, else the model that was kept of a run.

    Raises:
        BopkitError: It holds none of them.
    """
    if (path / "saved_model.pb").is_file():
        return path
    try:
        numbered = [each for each in path.iterdir() if each.name.isdecimal()]
    except OSError as error:
        raise BopkitError(f"{path} cannot be read: {error.strerror}.", "Check its permissions.") from error
    versions = [each for each in numbered if (each / "saved_model.pb").is_file()]
    if not versions and (path / MODEL_FILE).is_file():
        return path / MODEL_FILE
    if not versions and (prefix := checkpoint.prefix_of(path)) is not None:
        return prefix
    if not versions and (path / "checkpoints").is_dir():
        raise BopkitError(f"{path} has no {MODEL_FILE} yet.", "Resume its training, then try again.")
    if not versions:
        hint = "Give the directory of a run, or one made by `bopkit export --savedmodel`, or a version in it."
        raise BopkitError(f"{path} holds no SavedModel.", hint)
    return max(versions, key=lambda each: int(each.name))


def _is_tflite(path: Path) -> bool:
    """By its contents; a file that is nothing at all is what its name says."""
    try:
        with open(path, "rb") as file:
            start = file.read(8)
    except OSError:
        return False  # the reader of Keras files says what is wrong with the path
    if start[4:] == tflite_schema.IDENTIFIER:
        return True
    return path.suffix == ".tflite" and not start.startswith((keras_file.HDF5_MAGIC, keras_file.ZIP_MAGIC))
