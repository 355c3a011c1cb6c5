"""A prepared dataset: its facts, its pictures by split, and what to tell a user when they cannot be read.

Pictures come encoded, as TFDS stores them (scalar strings), or as uint8 [h, w, c]; labels as int64.
"""

from __future__ import annotations

import abc
import contextlib
import functools
import hashlib
import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from bopkit.data.catalogue import DatasetFacts
from bopkit.data.picture_formats import FORMATS, NO_SUCH_BMP
from bopkit.data.preprocessing import IMAGENET_INPUT, Preprocessing, get_preprocessing, is_of_imagenet
from bopkit.errors import BopkitError, UsageError

T = TypeVar("T")


class Dataset(abc.ABC):
    """Pictures and labels by split. To add a dataset, subclass this, or write a TFDS builder.

    Attributes:
        facts: Its name, default preprocessing and so on.
        class_names: One name a class, in the order of the labels.
        data_dir: The folder that `open_dataset` was given; None for the default.
    """

    data_dir: Path | None = None

    def __init__(self, facts: DatasetFacts, class_names: Iterable[str]):
        self.facts = facts
        self.class_names = tuple(map(str, class_names))  # of folders and tables they may be numbers

    @property
    def name(self) -> str:
        """The name that opened it."""
        return self.facts.name

    @property
    def identity(self) -> str:
        """What tells its pictures from those of any other dataset: name, configuration, version.

        A run is resumed only with the same identity. Override it where pictures change and the name does not.
        """
        return self.name

    @property
    def cache_identity(self) -> str:
        """What a cached copy of its pictures is valid for: identity, folder, and the source of its class' module."""
        source = b""
        with contextlib.suppress(OSError, TypeError):  # a class of an interactive session has no file
            source = Path(inspect.getfile(type(self))).read_bytes()
        return f"{self.identity}|{self.data_dir}|{hashlib.sha256(source).hexdigest()}"

    def cache_folder(self, cache: str | Path, split: str) -> Path:
        """The folder within `cache` for the encoded pictures of a split."""
        key = f"{self.cache_identity}|{split}|{self.count(split)}"
        return Path(cache).expanduser() / hashlib.sha256(key.encode()).hexdigest()[:16]

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Height, width, channels that its default preprocessing makes."""
        return self.facts.input_shape

    @property
    def default_preprocessing(self) -> str:
        """Name of its default preprocessing."""
        return self.facts.default_preprocessing

    def preprocessing(self, name: str = "default", input_shape: tuple[int, int, int] | None = None) -> Preprocessing:
        """A preprocessing for the pictures.

        Args:
            name: As `get_preprocessing` takes it; `default` is the dataset's own.
            input_shape: Height, width, channels; None for the dataset's own, or ImageNet's for `imagenet`.

        Raises:
            UsageError: The name is unknown, or it cannot make that number of channels.
        """
        name = self.default_preprocessing if name == "default" else name
        usual = IMAGENET_INPUT if is_of_imagenet(name) else self.input_shape
        return get_preprocessing(name, input_shape or usual)

    @property
    def picture_size(self) -> tuple[int, int] | None:
        """Height and width in pixels that all pictures have; None where they differ or are not known."""
        return None

    @property
    def test_split(self) -> str:
        """The split that training should not see; empty if there is none."""
        return self.facts.test_split

    @property
    def validation_split(self) -> str:
        """The split that is for validation while training, beside the test split; empty if there is none."""
        return self.facts.validation_split

    @property
    def split_names(self) -> tuple[str, ...]:
        """Names of its splits; empty where they are not known."""
        return tuple(self.facts.pictures)

    @property
    def is_shuffled(self) -> bool:
        """Whether the pictures of each split lie in random order, so that the first ones are a fair draw of them."""
        return False

    def count(self, split: str) -> int:
        """Number of pictures of a split such as `test` or `train[:90%]`; here, by the numbers in `facts`.

        Raises:
            UsageError: There is no such split.
        """
        return sum(end - begin for _, begin, end in self.slices(split))

    @abc.abstractmethod
    def read(self, split: str) -> Any:
        """The pictures of a split, always in the same order.

        Returns:
            A `tf.data.Dataset` of (scalar string or uint8 [h, w, c], int64 []).

        Raises:
            UsageError: There is no such split.
        """

    def labels(self, split: str) -> Any:
        """Labels of a split, NumPy int64 [n], where they are known without reading pictures; else None."""
        return None

    def reader(self, split: str) -> Callable[[Any], tuple[Any, Any]] | None:
        """What reads the picture at a place of a split, int64 [] to what `read` yields; None where order is all.

        Training then shuffles places, and not pictures that wait in memory.
        """
        return None

    def share_pictures(self, split: str, other: str) -> bool:
        """Whether two splits have a picture in common, as far as their text shows."""
        if split == other:
            return True
        try:
            slices, others = self.slices(split), self.slices(other)
        except UsageError:  # a class may write its splits in its own way
            return False
        return any(
            name == other_name and max(begin, other_begin) < min(end, other_end)
            for name, begin, end in slices
            for other_name, other_begin, other_end in others
        )

    def slices(self, split: str) -> list[tuple[str, int, int]]:
        """The parts of a split such as `train[:90%]` or `train[5:]+test`, by the numbers of pictures in `facts`.

        Returns:
            Of each part the name of what it is taken from, its first picture, and the picture behind its last.

        Raises:
            UsageError: There is no such split.
        """
        pictures, found = self.facts.pictures, []
        for text in split.split("+"):
            part = _PART.fullmatch(text.strip())
            if part is None or part["name"] not in pictures:
                raise self.no_such_split(split)
            count = pictures[part["name"]]
            begin, end = _place(part["begin"] or "0%", count), _place(part["end"] or "100%", count)
            found.append((part["name"], begin, max(begin, end)))
        return found

    def no_such_split(self, split: str) -> UsageError:
        """The error for a split that the dataset does not have."""
        names = self.split_names
        known = f"Known: {', '.join(names)}, and slices such as {names[0]}[:90%]." if names else "Name another."
        return UsageError(f"Dataset {self.name} has no split {split!r}.", known)

    def explain_unreadable(self, split: str) -> BopkitError:
        """What to tell a user when a split cannot be read; subclasses name the file."""
        return BopkitError(
            f"Dataset {self.name} cannot be read: a file of split {split} is damaged or missing.",
            "Repair that file, or make the dataset anew.",
        )

    def explain_undecodable(self, split: str) -> BopkitError:
        """What to tell a user when a picture of a split cannot be decoded; subclasses name the file."""
        return BopkitError(
            f"Dataset {self.name} cannot be read: split {split} contains a picture that is damaged, or no {FORMATS} "
            "that is decoded.",
            "Repair or remove that picture; a prepared dataset has to be prepared again.",
        )

    def check_labels(self, split: str) -> None:
        """Make sure that a split has pictures with labels; TFDS gives those of some test splits the label -1.

        Raises:
            UsageError: It has none, or there is no such split.
            BopkitError: It cannot be read.
        """
        if self.count(split) == 0:
            raise UsageError(
                f"Split {split} of dataset {self.name} has no pictures.",
                "Name another; for training, with --train-split or --validation-split, or by --validationset.",
            )
        for _, label in readable(self.read(split).take(1), self, split):
            if int(label) < 0:
                raise UsageError(
                    f"Split {split} of dataset {self.name} has no labels.", "Name a split that has labels."
                )


_PART = re.compile(r"(?P<name>[^\[\]]+)(\[(?P<begin>-?\d+%?)?:(?P<end>-?\d+%?)?\])?")


def _place(text: str, count: int) -> int:
    """The place in a split of `count` pictures that a bound of a slice means: `90%`, `50`, or from the end `-50`."""
    place = round(int(text[:-1]) * count / 100) if text.endswith("%") else int(text)
    return min(max(place + count if place < 0 else place, 0), count)


def opened_already(dataset: Dataset) -> UsageError:
    """The error for a dataset where its name is wanted: for another process, or to find it again later."""
    return UsageError(
        f"{dataset.name} is an opened dataset, and this takes the name of one.",
        "Save arrays with numpy.savez and name them npz:FILE, or name a module that defines open_dataset.",
    )


def joined(parts: Iterable[Any]) -> Any:
    """The elements of one or more `tf.data.Dataset`s, one after the other."""
    return functools.reduce(lambda before, part: before.concatenate(part), parts)


def names_in(split: str) -> list[str]:
    """The names in the text of a split: `train` and `test` in `train[:90%]+test`."""
    return [part.partition("[")[0].strip() for part in split.split("+")]


def readable(batches: Iterable[T], dataset: Dataset, split: str) -> Iterator[T]:
    """Iterate over batches of a dataset, and explain what goes wrong in reading them, as `reading` does.

    What is done with a batch runs outside of that: its errors pass as they are.

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
def reading(dataset: Dataset, split: str, cache: str | None = None) -> Iterator[None]:
    """Explain what goes wrong in reading a split; errors of other work, as a training step's kernels, pass as they are.

    Args:
        dataset: An opened dataset.
        split: Its split.
        cache: `memory`, or the folder that the pictures are cached in.

    Raises:
        BopkitError: A file of the split or of its cache is damaged or missing, or a picture cannot be decoded.
    """
    try:
        yield
    except Exception as error:  # TensorFlow's are told apart by name and text: they carry no file name
        kind, text = type(error).__name__, str(error)
        if kind == "InvalidArgumentError" and _DECODING.search(text):
            raise dataset.explain_undecodable(split) from error
        if not _is_of_input_pipeline(text):
            raise
        if cache and _CACHE.search(text):
            raise damaged_cache(dataset.cache_folder(cache, split)) from error
        if kind in ("DataLossError", "NotFoundError") or _RECORDS_MISSING in text:
            raise dataset.explain_unreadable(split) from error
        raise


_DECODING = re.compile(f"Decode(Image|AndCropJpeg|Jpeg|Png)|ExtractJpegShape|{NO_SUCH_BMP}")
_RECORDS_MISSING = "Input dataset was expected to contain"  # tf.data's assert_cardinality, which TFDS adds
_CACHE = re.compile(r"FileCacheImpl|TensorBundle at|sstable|pictures\.(index|data-)")


def _is_of_input_pipeline(text: str) -> bool:
    """Whether TensorFlow's text names a node of the input pipeline as the one that failed.

    The first node of a graph's error is that one; those that waited for it follow. Eager errors name a function only.
    """
    failed = re.search(r"{{node ([^}]*)}}", text)
    return "Iterator::" in text or "IteratorGetNext" in (failed[1] if failed else text)


def damaged_cache(folder: Path) -> BopkitError:
    """What to tell a user when a cached copy of a split cannot be read."""
    return BopkitError(
        f"The data cache {folder} is damaged.", "Remove that folder and run the same command again: it is filled again."
    )
