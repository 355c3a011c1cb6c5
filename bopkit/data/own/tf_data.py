"""A dataset of the user's own `tf.data.Dataset`s."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bopkit.data.catalogue import facts_of_own_pictures, facts_of_pictures
from bopkit.data.dataset import Dataset, joined
from bopkit.data.own.arrays import number_classes
from bopkit.errors import BopkitError, UsageError, first_line
from bopkit.keras2 import import_tensorflow

LABELS_AT_ONCE = 1024


class TfDataDataset(Dataset):
    """Pictures and labels that `tf.data` pipelines yield, by split.

    Args:
        name: Of the dataset.
        splits: A `tf.data.Dataset` of each split; see `dataset_from_tf_data`.
        class_names: Of the labels; None for the labels themselves, for which all are read.

    Raises:
        UsageError: Elements are no pictures with labels, or labels are not 0, 1, 2 and so on.
    """

    def __init__(self, name: str, splits: Mapping[str, Any], class_names: Sequence[str] | None):
        tf = import_tensorflow()
        for split, each in splits.items():
            if not isinstance(each, tf.data.Dataset):
                raise UsageError(f"{name}: {split} is {type(each).__name__}.", "Give a tf.data.Dataset.")
            if each.cardinality() == tf.data.INFINITE_CARDINALITY:
                raise UsageError(f"{name}: {split} never ends.", "Leave out .repeat(): training repeats it.")
        shapes = {split: _checked_shape(f"{name}: {split}", each.element_spec) for split, each in splits.items()}
        counts = {split: int(each.cardinality()) for split, each in splits.items()}
        if class_names is None or min(counts.values()) < 0:
            labels = {split: _labels(f"{name}: {split}", each) for split, each in splits.items()}
            counts = {split: len(each) for split, each in labels.items()}
            numbered, class_names = number_classes(labels, class_names, name)
            if any((numbered[split] != labels[split]).any() for split in splits):
                raise UsageError(f"{name}: labels are not all of 0, 1, 2 and so on.", "Number the classes from 0 on.")
        height, width, channels = shapes["train"] if len(set(shapes.values())) == 1 else (None, None, None)
        if height and width and channels:
            facts = facts_of_own_pictures(name, [(height, width)], channels, len(class_names), counts)
        else:
            facts = facts_of_pictures(name, (height, width, channels), len(class_names), counts)
        super().__init__(facts, class_names)
        self._size = (height, width) if height and width else None
        self._splits = {
            split: each.map(lambda image, label: (image, tf.cast(tf.reshape(label, []), tf.int64)))
            for split, each in splits.items()
        }

    @property
    def identity(self) -> str:
        """Name and numbers of pictures: the pictures themselves are not read for it."""
        return f"{self.name}@{'-'.join(map(str, self.facts.pictures.values()))}"

    @property
    def picture_size(self) -> tuple[int, int] | None:
        """Height and width, where the pipelines state them."""
        return self._size

    def read(self, split: str) -> Any:
        """A `tf.data.Dataset` of (scalar string or uint8 [h, w, c], int64 [])."""
        return joined(self._splits[name].skip(begin).take(end - begin) for name, begin, end in self.slices(split))


def dataset_from_tf_data(
    train: Any, test: Any = None, *, class_names: Sequence[str] | None = None, name: str = "tf_data"
) -> TfDataDataset:
    """A dataset of `tf.data.Dataset`s: for `train_model(..., dataset=this)`.

    Args:
        train: Yields (uint8 [h, w, c] or a scalar string with an encoded picture, label from 0), in the same order each
            time: no `shuffle`, no `batch`; bopkit shuffles, augments and batches.
        test: The same of pictures that training does not see; None for none.
        class_names: Of the labels; None for the labels themselves, for which all are read.
        name: In the model card and in the folder of runs.

    Raises:
        UsageError: Elements are something else, or labels are not 0, 1, 2 and so on.
    """
    return TfDataDataset(name, {"train": train, **({} if test is None else {"test": test})}, class_names)


def _labels(name: str, dataset: Any) -> np.ndarray:
    try:
        batches = [labels.numpy() for labels in dataset.map(lambda image, label: label).batch(LABELS_AT_ONCE)]
    except import_tensorflow().errors.OpError as error:
        raise BopkitError(f"{name} cannot be read: {first_line(error)[:200]}.", "Mend the pipeline.") from error
    return np.concatenate(batches).astype(np.int64).ravel() if batches else np.zeros(0, np.int64)


def _checked_shape(name: str, spec: Any) -> tuple[int | None, int | None, int | None]:
    """Height, width, channels of the pictures, as far as they are known.

    Raises:
        UsageError: The elements are no pictures with labels.
    """
    tf = import_tensorflow()
    hint = "Yield (uint8 [h, w, c] or a scalar string with an encoded picture, whole number from 0)."
    if not isinstance(spec, tuple) or len(spec) != 2 or not all(isinstance(each, tf.TensorSpec) for each in spec):
        raise UsageError(f"{name} does not yield pairs of a picture and a label.", hint)
    image, label = spec
    if not label.dtype.is_integer or label.shape.rank not in (0, 1) or label.shape.num_elements() not in (1, None):
        raise UsageError(f"{name} yields labels {label.dtype.name} {label.shape}.", hint)
    if image.dtype == tf.string and image.shape.rank == 0:
        return None, None, None
    if image.dtype != tf.uint8 or image.shape.rank != 3:
        is_batched = image.shape.rank == 4 and image.dtype == tf.uint8
        raise UsageError(
            f"{name} yields pictures {image.dtype.name} {image.shape}.", "Add .unbatch()." if is_batched else hint
        )
    return tuple(image.shape)
