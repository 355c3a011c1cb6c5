"""What is known of a trained network before anything of it is built."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Weight:
    """One variable of the network, in the order of Keras' `get_weights`.

    Attributes:
        name: Keras' name of it, e.g. `conv1/kernel:0`.
        shape: Its shape.
        binary: Whether all its values are -1 and +1, so that it is stored as bits.
    """

    name: str
    shape: tuple[int, ...]
    binary: bool


@dataclasses.dataclass(frozen=True)
class Part:
    """One of the files that a trained network consists of.

    Attributes:
        size_bytes: Its size.
        sha256: SHA-256 of its content, 64 hexadecimal digits.
    """

    size_bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class PretrainedFacts:
    """Where a trained network comes from, how good it is, and which files it consists of; plain JSON values.

    Attributes:
        name: As users type it.
        architecture: Name of the network in the catalogue.
        dataset: Name of the dataset that it was trained on.
        publisher: Who trained and published it.
        licence: Licence of the weights, as an SPDX identifier.
        command: The command that trained it.
        seed: Seed of that training.
        epoch_row: The run's row of the epoch that the network is of.
        split: Split of the dataset that `top1` was measured on; no training saw its pictures.
        pictures: Number of these pictures.
        top1: Share of them whose class the Keras network names, 0 to 1.
        flatbuffer_top1: The same of the flatbuffer.
        weights: All weights of the network.
        parts: The files by name.
    """

    name: str
    architecture: str
    dataset: str
    publisher: str
    licence: str
    command: str
    seed: int
    epoch_row: dict[str, int | float | str]
    split: str
    pictures: int
    top1: float
    flatbuffer_top1: float
    weights: tuple[Weight, ...]
    parts: dict[str, Part]
