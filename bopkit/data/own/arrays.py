"""A dataset of arrays: in memory, or in files that hold one picture after the other.

Pixels: uint8 [n, h, w, c], 0 to 255, c from 1 to 4 (a second or fourth channel is transparency). Labels: int64 [n].
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bopkit.data.catalogue import facts_of_own_pictures
from bopkit.data.dataset import Dataset, joined
from bopkit.errors import BopkitError, UsageError
from bopkit.keras2 import import_tensorflow
from bopkit.text import one_line

MOST_CHANNELS = 4


class Pixels(Protocol):
    """Pictures of one size, in order."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Pictures, height, width, channels."""

    def read(self, begin: int, end: int) -> Any:
        """A `tf.data.Dataset` of the pictures from `begin` to before `end`, uint8 [h, w, c]."""


@dataclasses.dataclass(frozen=True)
class PixelsInMemory:
    """Pixels of an array, uint8 [n, h, w, c]."""

    array: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Pictures, height, width, channels."""
        return self.array.shape  # type: ignore[return-value]

    def read(self, begin: int, end: int) -> Any:
        """A `tf.data.Dataset` of uint8 [h, w, c]."""
        return import_tensorflow().data.Dataset.from_tensor_slices(self.array[begin:end])


@dataclasses.dataclass(frozen=True)
class PixelsInFile:
    """Pixels that lie in a file one picture after the other: they are read as they are needed.

    Attributes:
        path: The file.
        offset_bytes: Where the first picture begins.
        shape: Pictures, height, width, channels.
        size_bytes: Of the file; None for one that is compressed with gzip.
    """

    path: Path
    offset_bytes: int
    shape: tuple[int, int, int, int]
    size_bytes: int | None

    def read(self, begin: int, end: int) -> Any:
        """A `tf.data.Dataset` of uint8 [h, w, c]."""
        tf = import_tensorflow()
        count, *shape = self.shape
        picture_bytes = int(np.prod(shape))
        footer_bytes = 0
        if self.size_bytes is not None:
            footer_bytes = self.size_bytes - self.offset_bytes - count * picture_bytes
        records = tf.data.FixedLengthRecordDataset(
            str(self.path),
            picture_bytes,
            header_bytes=self.offset_bytes,
            footer_bytes=footer_bytes,
            compression_type="GZIP" if self.size_bytes is None else None,
        )

        @tf.autograph.experimental.do_not_convert
        def pixels(record: Any) -> Any:
            return tf.reshape(tf.io.decode_raw(record, tf.uint8), shape)

        return records.skip(begin).take(end - begin).map(pixels)


class ArrayDataset(Dataset):
    """Pictures of one size with labels, by split.

    Args:
        name: That opened it.
        splits: Pixels and labels, int64 [n] from 0, of each split.
        class_names: Of the labels.
        identity: Tells the pictures from others; None for a checksum of the arrays, which are then in memory.

    Raises:
        UsageError: Splits have pictures of several sizes, or a split has more pictures than labels.
    """

    def __init__(
        self,
        name: str,
        splits: Mapping[str, tuple[Pixels, np.ndarray]],
        class_names: Sequence[str],
        identity: str | None = None,
    ):
        shapes = {split: pixels.shape for split, (pixels, _) in splits.items()}
        (first, (_, *picture)), *others = shapes.items()
        for split, (_, *other) in others:
            if other != picture:
                sizes = " and ".join(shape_text(tuple(each)) for each in (picture, other))
                raise UsageError(f"{name}: the pictures of {first} and {split} are {sizes}.", "Give them one size.")
        for split, (pixels, labels) in splits.items():
            if len(labels) != pixels.shape[0]:
                raise UsageError(
                    f"{name}: split {split} has {pixels.shape[0]:,} pictures and {len(labels):,} labels.",
                    "Give one label a picture.",
                )
        counts = {split: len(labels) for split, (_, labels) in splits.items()}
        super().__init__(
            facts_of_own_pictures(name, [(picture[0], picture[1])], picture[2], len(class_names), counts), class_names
        )
        self._splits = splits
        self._identity = identity

    @property
    def identity(self) -> str:
        """Name and a checksum of the pictures."""
        if self._identity is None:
            digest = hashlib.sha256()
            for split, (pixels, labels) in self._splits.items():
                assert isinstance(pixels, PixelsInMemory)
                digest.update(split.encode())
                for array in (pixels.array, labels):
                    digest.update(np.ascontiguousarray(array).data)
            self._identity = f"{self.name}@{digest.hexdigest()[:12]}"
        return self._identity

    @property
    def cache_identity(self) -> str:
        """The identity: it tells all pictures."""
        return self.identity

    @property
    def picture_size(self) -> tuple[int, int]:
        """Height and width of all pictures."""
        pixels, _ = next(iter(self._splits.values()))
        return pixels.shape[1:3]

    def labels(self, split: str) -> np.ndarray:
        """Labels of a split, int64 [n]."""
        return np.concatenate([self._splits[name][1][begin:end] for name, begin, end in self.slices(split)])

    def read(self, split: str) -> Any:
        """A `tf.data.Dataset` of (uint8 [h, w, c], int64 [])."""
        tf = import_tensorflow()
        pictures = joined(self._splits[name][0].read(begin, end) for name, begin, end in self.slices(split))
        return tf.data.Dataset.zip(pictures, tf.data.Dataset.from_tensor_slices(self.labels(split)))


def checked_shape(shape: tuple[int, ...], name: str) -> tuple[int, int, int, int]:
    """The shape of pictures, [n, h, w] or [n, h, w, c], as [n, h, w, c].

    Args:
        shape: Of an array.
        name: Of the array, in errors.

    Raises:
        UsageError: It is that of something else.
    """
    four = (*shape, 1) if len(shape) == 3 else shape
    if len(four) != 4 or not 1 <= four[3] <= MOST_CHANNELS or 0 in four[1:]:
        raise UsageError(
            f"{name} is {shape_text(shape)}, and pictures are n x height x width, or n x height x width x channels (1 "
            f"to {MOST_CHANNELS}).",
            "Save it in that shape.",
        )
    return four


def shape_text(shape: tuple[int, ...]) -> str:
    """A shape as people write it: `20x32x32x3`."""
    return "x".join(map(str, shape)) or "one number"


def _checked_pixels(array: Any, name: str) -> np.ndarray:
    """An array of pictures as uint8 [n, h, w, c].

    Raises:
        UsageError: Its shape or its type is another.
    """
    array = _as_array(array, name)
    if array.dtype != np.uint8:
        raise UsageError(
            f"{name} is {array.dtype}, {shape_text(array.shape)}, and pictures are uint8, 0 to 255.",
            "Scale its values to that range if they have another, and save `array.astype('uint8')`.",
        )
    return array.reshape(checked_shape(array.shape, name))


def checked_labels(array: Any, name: str) -> np.ndarray:
    """Labels as they are given, in one dimension: whole numbers from 0, or text.

    Args:
        array: Integers or text, [n] or [n, 1].
        name: Of the array, in errors.

    Raises:
        UsageError: Its shape or its type is another, or a label is negative.
    """
    array = _as_array(array, name)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        hint = f"Save `{name.rpartition(' ')[2]}.argmax(1)`." if array.ndim == 2 else "Save one label a picture."
        raise UsageError(f"{name} has {array.ndim} dimensions, and labels have one.", hint)
    if array.dtype.kind in "US":
        return np.array([_class_name(each, name) for each in array.tolist()], str)
    if array.dtype.kind not in "iu":
        raise UsageError(f"{name} is {array.dtype}, and labels are whole numbers or text.", "Save them as such.")
    if len(array) and array.max() > np.iinfo(np.int64).max:
        raise UsageError(f"{name} has the label {array.max()}.", "Number the classes from 0 on.")
    if len(array) and array.min() < 0:
        raise UsageError(
            f"{name} has the label {array.min()}: labels are whole numbers from 0.",
            "Leave out pictures without a label, and save the labels anew.",
        )
    return array.astype(np.int64)


def number_classes(
    labels: Mapping[str, np.ndarray], class_names: Sequence[str] | None, name: str
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Labels from 0 on, and the names of the classes.

    Args:
        labels: Of each split, as `checked_labels` returns them.
        class_names: By the labels, which are then whole numbers; None where each label is the name of a class.
        name: Of the dataset, in errors.

    Returns:
        int64 labels of each split; names in the order of the labels, sorted where none are given.

    Raises:
        UsageError: A label has no name, splits have labels of two kinds, or there are less than two classes.
    """
    if len({values.dtype.kind for values in labels.values()}) > 1:
        raise UsageError(f"{name}: labels are numbers in one split and text in another.", "Save one kind.")
    found = np.unique(np.concatenate(list(labels.values())))
    if class_names is None:
        numbered = {split: np.searchsorted(found, values).astype(np.int64) for split, values in labels.items()}
        names = tuple(map(str, found))
    else:
        names = tuple(_class_name(each, f"{name}: class_names") for each in class_names)
        twice = [each for place, each in enumerate(names) if each in names[:place]]
        if twice:
            raise UsageError(f"{name}: two classes are named {twice[0]}.", "Give each class a name of its own.")
        if found.dtype.kind == "U" or (len(found) and found[-1] >= len(names)):
            raise UsageError(
                f"{name}: {len(names)} classes have names, and there is the label {found[-1]}.",
                f"Labels go from 0 to {len(names) - 1}.",
            )
        numbered = {split: values.astype(np.int64) for split, values in labels.items()}
    if len(names) < 2:
        raise UsageError(f"{name} has {len(names)} class: a network tells classes apart.", "Give it two or more.")
    return numbered, names


def _as_array(values: Any, name: str) -> np.ndarray:
    try:
        return np.asarray(values)
    except ValueError as error:
        raise UsageError(f"{name} is no array: its parts have several shapes.", "Bring them to one shape.") from error


def _class_name(value: object, where: str) -> str:
    """The name of a class on one line, as files of labels have one name a line.

    Raises:
        UsageError: It is empty, or no text.
    """
    try:
        name = one_line(value.decode() if isinstance(value, bytes) else str(value))
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{where}: {value!r} is no text in UTF-8.", "Save text as `numpy.array(labels, dtype=str)`."
        ) from error
    if not name:
        raise UsageError(f"{where}: a name is empty.", "Name every class.")
    return name


def dataset_from_arrays(
    x_train: Any,
    y_train: Any,
    x_test: Any = None,
    y_test: Any = None,
    *,
    class_names: Sequence[str] | None = None,
    name: str = "arrays",
) -> ArrayDataset:
    """A dataset of arrays, as Keras' own datasets come: for `train_model(..., dataset=this)`.

    Args:
        x_train: uint8 [n, h, w] or [n, h, w, c], 0 to 255.
        y_train: Whole numbers from 0 or text, [n] or [n, 1].
        x_test: Pictures that training does not see; None for none.
        y_test: Their labels.
        class_names: By the labels; None for the labels themselves, sorted.
        name: In the model card and in the folder of runs.

    Raises:
        UsageError: An array has another shape or type, a label is out of range, or an array is missing.
    """
    arrays = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
    return dataset_of_named_arrays(name, {key: each for key, each in arrays.items() if each is not None}, class_names)


def dataset_of_named_arrays(
    name: str, arrays: Mapping[str, Any], class_names: Sequence[str] | None = None, identity: str | None = None
) -> ArrayDataset:
    """A dataset of arrays named `x_train`, `y_train`, and the same of `validation` and `test`.

    Args:
        name: Of the dataset.
        arrays: By name; pictures as arrays, or as `PixelsInFile`.
        class_names: As for `dataset_from_arrays`.
        identity: As for `ArrayDataset`.

    Raises:
        UsageError: As `dataset_from_arrays`.
    """
    splits = [split for split in SPLITS if split == "train" or {f"x_{split}", f"y_{split}"} & set(arrays)]
    missing = [each for split in splits for each in (f"x_{split}", f"y_{split}") if each not in arrays]
    if missing:
        raise UsageError(
            f"{name} has {', '.join(sorted(arrays)) or 'no arrays'}, and not {missing[0]}.",
            "Save x_train and y_train, and x_test and y_test of pictures that training does not see.",
        )
    labels = {split: checked_labels(arrays[f"y_{split}"], f"{name}: y_{split}") for split in splits}
    numbered, names = number_classes(labels, class_names, name)
    pixels = {split: _pixels(arrays[f"x_{split}"], f"{name}: x_{split}") for split in splits}
    return ArrayDataset(name, {split: (pixels[split], numbered[split]) for split in splits}, names, identity)


def _pixels(pictures: Any, name: str) -> Pixels:
    return pictures if isinstance(pictures, PixelsInFile) else PixelsInMemory(_checked_pixels(pictures, name))


SPLITS = ("train", "validation", "test")
"""Splits that arrays may be named for."""


def damaged(path: Path, what: str) -> BopkitError:
    """What to tell a user of a file of arrays that cannot be read."""
    return BopkitError(f"{path} {what}.", "Copy it again, or save it anew.")
