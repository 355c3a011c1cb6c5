"""The decoded pictures of a small split, kept in memory for all epochs.

Reading a picture of 28 x 28 pixels from a prepared dataset and decoding it takes as long as a tenth of a training step
of a small network on it, each epoch anew.
"""

from __future__ import annotations

import math
from typing import Any

from bopkit.data.dataset import Dataset, reading
from bopkit.data.preprocessing import Preprocessing
from bopkit.keras2 import import_tensorflow

MOST_KEPT_BYTES = 256 * 2**20
"""Of pixels: more than those of CIFAR-10 (154 MB), less than 2,000 pictures of ImageNet."""

_PICTURES_AT_ONCE = 1024


def can_keep(dataset: Dataset, split: str, preprocessing: Preprocessing) -> bool:
    """Whether the pixels of a split, as a preprocessing makes them, are few enough."""
    return dataset.count(split) * math.prod(preprocessing.input_shape) <= MOST_KEPT_BYTES


def keep_pixels(
    dataset: Dataset, split: str, preprocessing: Preprocessing, pictures: Any, cache: str | None = None
) -> tuple[Any, Any] | None:
    """Read and decode a split, if it is small and a preprocessing augments decoded pictures.

    Args:
        dataset: An opened dataset.
        split: For instance `train[:90%]`.
        preprocessing: Whose input they are kept for.
        pictures: Those of the split, a `tf.data.Dataset` as `Dataset.read` returns it.
        cache: Where they come from, for errors.

    Returns:
        uint8 [n, H, W, C] and int64 [n], in the split's order; None where the pictures stay as they are stored.

    Raises:
        BopkitError: The split cannot be read.
    """
    tf = import_tensorflow()
    if not can_keep(dataset, split, preprocessing) or not preprocessing.augments_batches:
        return None

    @tf.autograph.experimental.do_not_convert
    def decode(image: Any, label: Any) -> tuple[Any, Any]:
        return preprocessing.pixels(image, dataset.picture_size), label

    decoded = pictures.map(decode, tf.data.AUTOTUNE, deterministic=True)
    if decoded.element_spec[0].dtype != tf.uint8:  # resized
        return None
    with reading(dataset, split, cache):
        batches = list(decoded.batch(_PICTURES_AT_ONCE))
    if sum(len(labels) for _, labels in batches) != dataset.count(split) or not batches:
        return None
    with tf.device("CPU:0"):
        pixels, labels = (tf.concat(parts, 0) for parts in zip(*batches, strict=True))
    return pixels, labels
