"""What rows get after they were measured: details that this host reads from the artifact's file and model card."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from bopkit.artifacts import artifact
from bopkit.artifacts.c_sources import CSources
from bopkit.artifacts.card import ModelCard
from bopkit.benchmark.layer_bytes import flatbuffer_layers
from bopkit.benchmark.results import BenchmarkRow, LayerBytes
from bopkit.benchmark.row_notes import dataset_suggestion
from bopkit.data.opening import is_known
from bopkit.errors import BopkitError
from bopkit.hparams import HParams, default_values
from bopkit.own_code import module_here


def add_details(rows: Sequence[BenchmarkRow], suggest_datasets: bool) -> None:
    """Fill in the bytes of each layer, the smallest size of the network's weights (`floor_bytes`) and a note.

    Args:
        rows: All rows of the benchmark; those of failed artifacts stay as they are.
        suggest_datasets: Whether to note the dataset that could be named for an accuracy.
    """
    cards = [_card_of(row) for row in rows]
    _describe_flatbuffers(rows)
    _complete_floor_bytes(rows, cards)
    if suggest_datasets:
        _suggest_datasets(rows, cards)


def describe_c_sources(row: BenchmarkRow, sources: CSources) -> None:
    """Fill in what the manifest of C sources tells; their text is larger than what ends up in flash."""
    row.size_bytes = sources.weight_bytes + sources.constant_bytes
    row.weight_bytes = sources.weight_bytes
    row.floor_bytes = sources.floor_bytes


def _card_of(row: BenchmarkRow) -> ModelCard | None:
    """The card of what was measured; None if it has none, or is gone meanwhile."""
    if row.error is not None:
        return None
    try:
        return artifact.read_card(row.artifact)
    except (BopkitError, OSError):
        return None


def _describe_flatbuffers(rows: Sequence[BenchmarkRow]) -> None:
    """Fill in `layers` and `floor_bytes` of flatbuffers, each file read once; devices do not send them."""
    known: dict[str, tuple[list[LayerBytes], int | None]] = {}
    for row in rows:
        if row.error is None and row.kind == "tflite":
            if row.artifact not in known:
                known[row.artifact] = _layers_and_floor_bytes(Path(row.artifact))
            row.layers, row.floor_bytes = known[row.artifact]


def _layers_and_floor_bytes(flatbuffer: Path) -> tuple[list[LayerBytes], int | None]:
    """Of each what can be read: the file may be gone meanwhile, and its record damaged."""
    layers, floor_bytes = [], None
    with contextlib.suppress(BopkitError, OSError):
        layers = flatbuffer_layers(flatbuffer)
    with contextlib.suppress(BopkitError, OSError):
        floor_bytes = artifact.read_floor_bytes(flatbuffer)
    return layers, floor_bytes


def _complete_floor_bytes(rows: Sequence[BenchmarkRow], cards: Sequence[ModelCard | None]) -> None:
    """Copy `floor_bytes` to rows without it, from a row whose card describes the same network."""
    for row, card in zip(rows, cards, strict=True):
        if card is None or row.floor_bytes is not None:
            continue
        for other, other_card in zip(rows, cards, strict=True):
            if other.floor_bytes is not None and other_card is not None and _same_network(row, card, other, other_card):
                row.floor_bytes = other.floor_bytes
                break


def _same_network(row: BenchmarkRow, card: ModelCard, other: BenchmarkRow, other_card: ModelCard) -> bool:
    """Whether two networks have the same layers, as far as their cards and what was measured tell."""
    same_shapes = (row.input_shape, row.classes) == (other.input_shape, other.classes)
    hparams, other_hparams = ({**default_values(HParams), **each.hparams} for each in (card, other_card))
    return same_shapes and (card.architecture, hparams) == (other_card.architecture, other_hparams)


def _suggest_datasets(rows: Sequence[BenchmarkRow], cards: Sequence[ModelCard | None]) -> None:
    """Note the dataset that a card names, if it is one of ours: opening another could run code of the card's choice.

    A module of that name here would be such code.
    """
    for row, card in zip(rows, cards, strict=True):
        is_stock = card is not None and card.names_stock_dataset and module_here(card.dataset) is None
        if card is not None and is_stock and is_known(card.dataset):
            row.notes.append(dataset_suggestion(card.dataset))
