"""Splits by name: which one a network was trained on, and which one it is measured on."""

from __future__ import annotations

from bopkit.artifacts.card import ModelCard
from bopkit.data.dataset import Dataset, names_in

USUAL_TRAINING_SPLIT = "train"


def training_split(dataset: Dataset, card: ModelCard | None = None) -> str:
    """The split that a network was trained on, else `train`, else the largest but the test split.

    Args:
        dataset: An opened dataset.
        card: The network's.
    """
    if card is not None and card.trained_on and card.dataset == dataset.name:
        return card.trained_on
    if not dataset.split_names or USUAL_TRAINING_SPLIT in dataset.split_names:
        return USUAL_TRAINING_SPLIT
    others = [name for name in dataset.split_names if name != dataset.test_split]
    return max(others or dataset.split_names, key=dataset.count)


def measuring_split(dataset: Dataset, card: ModelCard | None = None) -> str:
    """The test split, else the one that a network was validated on; empty where there is neither.

    Args:
        dataset: An opened dataset.
        card: The network's.
    """
    if dataset.test_split or card is None or card.dataset != dataset.name:
        return dataset.test_split
    return card.evaluated_on


def last_tenth(dataset: Dataset, card: ModelCard | None = None) -> str:
    """The last tenth of the training split: what serves where a dataset has no other pictures to measure on."""
    return f"{names_in(training_split(dataset, card))[0]}[90%:]"
