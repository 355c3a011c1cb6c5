"""Prepared datasets of TensorFlow Datasets (TFDS).

Pictures stay encoded (scalar strings, JPEG or PNG) until the preprocessing decodes them.
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np

from bopkit.data.catalogue import DATASETS, DatasetFacts, facts_of_pictures
from bopkit.data.dataset import Dataset, readable
from bopkit.data.tfds_builder import builder_name, check_features, prepare_command, root_of
from bopkit.errors import BopkitError, UsageError
from bopkit.keras2 import import_tensorflow

LABELS_AT_ONCE = 1024

NO_LABEL = -1
"""What TFDS gives the pictures of a split without labels."""

_counted_classes: dict[str, int] = {}
"""Numbers of classes by dataset, where reading all labels was the only way to them: a command opens a dataset often."""

FIND_DAMAGE_WITHIN_S = 20.0
"""Patience with the search for a damaged file, of which TensorFlow tells the offset but not the name."""


class TfdsDataset(Dataset):
    """A prepared dataset of TFDS.

    Args:
        builder: Its `tfds.core.DatasetBuilder`.

    Raises:
        BopkitError: It is not prepared.
        UsageError: It has no `image` with one `label`, or its labels are whole numbers that do not count classes.
    """

    def __init__(self, builder: Any):
        check_features(builder)
        if not builder.is_prepared():
            raise BopkitError(
                f"Dataset {builder.name} {builder.version} is not prepared in {root_of(builder)}.",
                f"Run `{prepare_command(builder)}` (with `--from FOLDER` if you have its archives), or name its folder "
                "with --data-dir.",
            )
        self._builder = builder
        names = _class_names(builder)
        super().__init__(_facts(builder, len(names)), names)
        if not names:
            if self.cache_identity not in _counted_classes:
                _counted_classes[self.cache_identity] = self._count_classes()
            self.class_names = tuple(map(str, range(_counted_classes[self.cache_identity])))
            self.facts = dataclasses.replace(self.facts, classes=len(self.class_names))

    @property
    def identity(self) -> str:
        """`name/config/version`."""
        return self._builder.info.full_name

    @property
    def cache_identity(self) -> str:
        """Identity and folder."""
        return f"{self.identity}|{Path(self._builder.data_path).absolute()}"

    @property
    def picture_size(self) -> tuple[int, int] | None:
        """Height and width of all pictures, where the builder's features state them."""
        height, width, _ = self._builder.info.features["image"].shape
        return (height, width) if height and width else None

    @property
    def split_names(self) -> tuple[str, ...]:
        """Names of the prepared splits."""
        return tuple(self._builder.info.splits)

    @property
    def is_shuffled(self) -> bool:
        """TFDS shuffles pictures when it prepares them, unless the builder forbids it."""
        return not self._builder.info.disable_shuffling

    def count(self, split: str) -> int:
        """Number of pictures of a split."""
        return max(int(self._checked(split).num_examples), 0)  # of `test[5:2]` TFDS has less than none

    def slices(self, split: str) -> list[tuple[str, int, int]]:
        """Files, which are those of several splits in `all`, and the pictures taken from each."""
        instructions = self._checked(split).file_instructions
        return [(str(each.filename), each.skip, each.skip + each.take) for each in instructions]

    def read(self, split: str) -> Any:
        """A `tf.data.Dataset` of (scalar string, int64 []).

        Raises:
            UsageError: There is no such split.
            BopkitError: A file is missing or has lost its end: known here, not after hours of an epoch.
        """
        import tensorflow_datasets as tfds

        tf = import_tensorflow()
        self._checked(split)
        self._check_files(split)
        examples = self._builder.as_dataset(
            split=split, shuffle_files=False, decoders={"image": tfds.decode.SkipDecoding()}
        )
        return examples.map(
            lambda example: (example["image"], tf.cast(example["label"], tf.int64)), num_parallel_calls=tf.data.AUTOTUNE
        )

    def _count_classes(self) -> int:
        """The number of classes where the features name none: that of the labels in all splits."""
        import tensorflow_datasets as tfds

        import_tensorflow()
        found: set[int] = set()
        for split in self.split_names:
            self._check_files(split)
            examples = self._builder.as_dataset(
                split=split, shuffle_files=False, decoders=tfds.decode.PartialDecoding({"label": True})
            )
            for batch in readable(examples.batch(LABELS_AT_ONCE), self, split):
                found.update(np.unique(batch["label"].numpy()).tolist())
        classes = found - {NO_LABEL}
        if classes != set(range(len(classes))) or not classes:
            numbers = f"whole numbers from {min(found)} to {max(found)}" if found else "missing"
            raise UsageError(
                f"Dataset {self.name} names no classes, and its labels are {numbers}, not all of 0, 1, 2 and so on.",
                "Give `label` of its builder the feature tfds.features.ClassLabel, or number the classes from 0 on.",
            )
        return len(classes)

    def explain_unreadable(self, split: str) -> BopkitError:
        """The error that names the damaged file, if it is found within `FIND_DAMAGE_WITHIN_S`."""
        try:
            self._check_files(split)
        except BopkitError as error:
            return error
        return self._unreadable(self._corrupt_file(split))

    def _unreadable(self, path: str | None) -> BopkitError:
        exists = import_tensorflow().io.gfile.exists
        state = "a file is damaged" if path is None else f"{path} is {'damaged' if exists(path) else 'missing'}"
        return BopkitError(
            f"Dataset {self.name} cannot be read: {state}.",
            f"Remove {self._builder.data_path} and run `{prepare_command(self._builder)}`, or copy it again.",
        )

    def _files(self, split: str) -> list[str]:
        return list(dict.fromkeys(str(each.filename) for each in self._checked(split).file_instructions))

    def _check_files(self, split: str) -> None:
        """Raise a BopkitError if a file is missing or empty, or a whole split is shorter than its pictures."""
        gfile = import_tensorflow().io.gfile
        files = self._files(split)
        sizes = [gfile.stat(path).length if gfile.exists(path) else 0 for path in files]
        if 0 in sizes:
            raise self._unreadable(files[sizes.index(0)])
        # TFRecord files are longer than their records; those of other formats may be compressed.
        splits = self._builder.info.splits
        if split in list(splits) and self._is_tfrecord() and sum(sizes) < int(splits[split].num_bytes):
            raise self._unreadable(self._corrupt_file(split))

    def _is_tfrecord(self) -> bool:
        return bool(self._builder.info.file_format.value == "tfrecord")

    def _corrupt_file(self, split: str) -> str | None:
        """The first file of a split that does not read to its end with sound checksums; None if none is found soon."""
        if not self._is_tfrecord():
            return None
        tf = import_tensorflow()
        give_up = time.monotonic() + FIND_DAMAGE_WITHIN_S
        for path in self._files(split):
            try:
                for _ in tf.data.TFRecordDataset(path).batch(64):
                    if time.monotonic() > give_up:
                        return None
            except tf.errors.OpError:
                return path
        return None

    def _checked(self, split: str) -> Any:
        try:
            return self._builder.info.splits[split]
        except (KeyError, ValueError) as error:
            raise self.no_such_split(split) from error


def _class_names(builder: Any) -> list[str]:
    """Names of the classes; none where the features do not even count them."""
    label = builder.info.features["label"]
    return label.names if getattr(label, "num_classes", None) else []


def _facts(builder: Any, classes: int) -> DatasetFacts:
    """Facts from the catalogue, else from the builder's features."""
    if builder.name in DATASETS:
        return DATASETS[builder.name]
    features = builder.info.features
    splits = {name: int(split.num_examples) for name, split in builder.info.splits.items()}
    return facts_of_pictures(builder_name(builder), features["image"].shape, classes, splits)
