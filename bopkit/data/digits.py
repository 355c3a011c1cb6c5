"""scikit-learn's 1,797 handwritten digits: embedded in its wheel, so that they need no network.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998.
uint8 [8, 8, 1], 0 to 255 (the original's 0 to 16 stretched); int64 labels 0 to 9.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bopkit.data.catalogue import DATASETS
from bopkit.data.dataset import Dataset
from bopkit.keras2 import import_tensorflow

TEST_EVERY = 5
"""Of each class, every fifth picture belongs to the test split: stratified, and the same on every machine."""


class Digits(Dataset):
    """The embedded digits, with the splits `train` and `test` and slices of them (`train[:90%]`)."""

    def __init__(self) -> None:
        from sklearn.datasets import load_digits

        super().__init__(DATASETS["digits"], [str(digit) for digit in range(10)])
        bunch = load_digits()
        images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
        labels = bunch.target.astype(np.int64)
        rank_in_class = np.array([np.sum(labels[:i] == label) for i, label in enumerate(labels)])
        is_test = rank_in_class % TEST_EVERY == 0
        self._splits = {"train": (images[~is_test], labels[~is_test]), "test": (images[is_test], labels[is_test])}

    def arrays(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """uint8 [n, 8, 8, 1] and int64 [n] of a split.

        Raises:
            UsageError: There is no such split.
        """
        parts = [[each[begin:end] for each in self._splits[name]] for name, begin, end in self.slices(split)]
        images, labels = (np.concatenate(each) for each in zip(*parts, strict=True))
        return images, labels

    def count(self, split: str) -> int:
        """Number of pictures of a split."""
        return len(self.arrays(split)[1])

    def read(self, split: str) -> Any:
        """A `tf.data.Dataset` of (uint8 [8, 8, 1], int64 [])."""
        return import_tensorflow().data.Dataset.from_tensor_slices(self.arrays(split))


def open_dataset(data_dir: str | Path | None = None) -> Digits:
    """Open the digits; `data_dir` is not needed."""
    return Digits()
