"""How many pictures each class has in a split."""

from __future__ import annotations

import numpy as np

from bopkit.data.dataset import Dataset, readable
from bopkit.errors import BopkitError
from bopkit.keras2 import import_tensorflow

BATCH_PICTURES = 1000


def count_classes(dataset: Dataset, split: str) -> np.ndarray:
    """Count the labels of a split: where they are not known, all of it is read, and no picture decoded.

    Returns:
        int64 [classes].

    Raises:
        BopkitError: The split cannot be read, or has a label that is no class.
    """
    classes = len(dataset.class_names)
    known = dataset.labels(split)
    if known is not None:
        return np.bincount(known, minlength=classes)
    tf = import_tensorflow()

    @tf.autograph.experimental.do_not_convert
    def label_of(image: object, label: object) -> object:
        return label

    counts = np.zeros(classes, np.int64)
    for labels in readable(dataset.read(split).map(label_of).batch(BATCH_PICTURES), dataset, split):
        values = labels.numpy()
        if values.min() < 0 or values.max() >= classes:
            raise BopkitError(
                f"Split {split} of dataset {dataset.name} has a label outside of its {classes} classes.",
                "Repair the dataset, or name another split with --train-split.",
            )
        counts += np.bincount(values, minlength=classes)
    return counts
