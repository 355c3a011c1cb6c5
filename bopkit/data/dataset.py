"""A prepared dataset: its facts, and its pictures by split.

`open_dataset` finds it by name: the embedded digits, a builder of TensorFlow Datasets, or a user's own module.
Pictures come as TFDS stores them (scalar strings, JPEG or PNG) or as uint8 [h, w, c]; labels as int64.
"""

from __future__ import annotations

import abc
import contextlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from bopkit.data.catalogue import DatasetFacts
from bopkit.errors import BopkitError, UsageError
from bopkit.progress import Progress, silent
from bopkit.registry import Registry

T = TypeVar("T")
MODULES = Registry("dataset", "open_dataset", "bopkit datasets")
MODULES.register("digits", "bopkit.data.digits")


class Dataset(abc.ABC):
    """Pictures and labels by split. To add a dataset, subclass this, or write a TFDS builder.

    Attributes:
        facts: Its name, default preprocessing and so on.
        class_names: One name a class, in the order of the labels.
    """

    def __init__(self, facts: DatasetFacts, class_names: Iterable[str]):
        self.facts = facts
        self.class_names = tuple(class_names)

    @property
    def name(self) -> str:
        """The name that opened it."""
        return self.facts.name

    @property
    def identity(self) -> str:
        """What tells its pictures from those of any other dataset: name, configuration, version."""
        return self.name

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Height, width, channels that its default preprocessing makes."""
        return self.facts.input_shape

    @property
    def default_preprocessing(self) -> str:
        """Name of its default preprocessing."""
        return self.facts.default_preprocessing

    @property
    def picture_size(self) -> tuple[int, int] | None:
        """Height and width in pixels that all pictures have as stored; None where they differ or are not known."""
        return None

    @property
    def test_split(self) -> str:
        """The split that training should not see; empty if there is none."""
        return self.facts.test_split

    @abc.abstractmethod
    def count(self, split: str) -> int:
        """Number of pictures of a split such as `test` or `train[:90%]`.

        Raises:
            UsageError: There is no such split.
        """

    @abc.abstractmethod
    def read(self, split: str) -> Any:
        """The pictures of a split, always in the same order.

        Returns:
            A `tf.data.Dataset` of (scalar string or uint8 [h, w, c], int64 []).

        Raises:
            UsageError: There is no such split.
        """

    def explain_unreadable(self, split: str) -> BopkitError:
        """What to tell a user when a split cannot be read; subclasses name the file."""
        return BopkitError(
            f"Dataset {self.name} cannot be read: a file of split {split} is damaged or missing.", "Prepare it again."
        )

    def check_labels(self, split: str) -> None:
        """Make sure that a split has labels; TFDS gives the pictures of some test splits the label -1.

        Raises:
            UsageError: It has none, or there is no such split.
            BopkitError: It cannot be read.
        """
        for _, label in readable(self.read(split).take(1), self, split):
            if int(label) < 0:
                raise UsageError(f"Split {split} of dataset {self.name} has no labels.", "Name or keep another split.")


def open_dataset(
    name: str,
    data_dir: str | Path | None = None,
    version: str | None = None,
    prepare: bool = False,
    progress: Progress | None = None,
) -> Dataset:
    """Open a dataset by name.

    Args:
        name: `digits`; a TFDS builder, as `name`, `name/config` or `name:version`; or the dotted name of a module
            that defines `open_dataset(data_dir)`.
        data_dir: Where TFDS keeps prepared datasets; None for its default (`~/tensorflow_datasets`).
        version: Version of the TFDS builder; None for the newest.
        prepare: Download and prepare a TFDS dataset that is not prepared yet.
        progress: Called with one line before something slow.

    Raises:
        UsageError: There is no such dataset.
        BopkitError: It is not prepared, or cannot be.
    """
    if name in MODULES.names() or ("." in name and not {"/", ":"} & set(name)):
        if version is not None:
            raise UsageError(f"Dataset {name!r} has no versions.", "Leave out --dataset-version.")
        return MODULES.load(name)(data_dir)
    from bopkit.data import tfds_dataset

    builder = tfds_dataset.find_builder(name, data_dir, version)
    if prepare:
        tfds_dataset.prepare(builder, progress or silent)
    return tfds_dataset.TfdsDataset(builder)


def readable(batches: Iterable[T], dataset: Dataset, split: str) -> Iterator[T]:
    """Iterate over batches of a dataset; only what goes wrong in reading them is explained, not what is done with them.

    Raises:
        BopkitError: A file of the split is damaged or missing, or one of its pictures cannot be decoded.
    """
    iterator = iter(batches)
    while True:
        with reading(dataset, split):
            try:
                batch = next(iterator)
            except StopIteration:
                return
        yield batch


@contextlib.contextmanager
def reading(dataset: Dataset, split: str) -> Iterator[None]:
    """Explain what goes wrong in reading a split.

    Raises:
        BopkitError: A file of the split is damaged or missing, or one of its pictures cannot be decoded.
    """
    try:
        yield
    except Exception as error:  # TensorFlow's are told apart by name and text: they carry no file name
        kind, text = type(error).__name__, str(error)
        if kind == "InvalidArgumentError" and _DECODING.search(text):
            raise BopkitError(
                f"Dataset {dataset.name} cannot be read: split {split} holds a picture that is no JPEG or PNG, or "
                "is damaged.",
                "Mend or remove that picture, then prepare the dataset again.",
            ) from error
        if kind in ("DataLossError", "NotFoundError") or _RECORDS_MISSING in text:
            raise dataset.explain_unreadable(split) from error
        raise


_DECODING = re.compile("Decode(Image|AndCropJpeg|Jpeg|Png)|ExtractJpegShape")
_RECORDS_MISSING = "Input dataset was expected to contain"  # tf.data's assert_cardinality, which TFDS adds


def prepare_datasets(
    names: Iterable[str],
    data_dir: str | Path | None = None,
    progress: Progress | None = None,
) -> list[Dataset]:
    """Download and prepare datasets, and open them.

    Args:
        names: Names as for `open_dataset`.
        data_dir: Where TFDS keeps prepared datasets; None for its default.
        progress: Called with one line before something slow.

    Raises:
        UsageError: There is no such dataset.
        BopkitError: A dataset cannot be downloaded, or files that only its owner hands out are missing.
    """
    return [open_dataset(name, data_dir, prepare=True, progress=progress) for name in names]
