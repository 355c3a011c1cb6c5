"""A dataset of picture files: a list of paths with labels, by split. Files are read as they are needed.

The pictures of a split lie in an order that looks random and depends on their paths alone, so that each slice of it
has all classes, and that new files do not change the order of the others.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bopkit.data.catalogue import facts_of_own_pictures
from bopkit.data.dataset import Dataset
from bopkit.data.own.survey import survey_pictures
from bopkit.errors import BopkitError, UsageError
from bopkit.keras2 import import_tensorflow
from bopkit.progress import Progress, silent
from bopkit.text import count_text, printable, shortened_list

DRAWN_SPLITS = {"test": 0.1, "validation": 0.1}
"""Share of each class' pictures that goes into a split, where nobody said which picture goes where; the rest trains."""


@dataclasses.dataclass
class PictureList:
    """Pictures as they were found.

    Attributes:
        paths: Of the files, from a common folder.
        class_names: Of each picture.
        splits: Of each picture; None where they are to be drawn.
    """

    paths: list[bytes] = dataclasses.field(default_factory=list)
    class_names: list[str] = dataclasses.field(default_factory=list)
    splits: list[str] | None = None

    def chosen(self, places: Sequence[int]) -> PictureList:
        """The pictures at some places."""
        splits = None if self.splits is None else [self.splits[place] for place in places]
        return PictureList(
            [self.paths[place] for place in places], [self.class_names[place] for place in places], splits
        )


@dataclasses.dataclass(frozen=True)
class Selection:
    """Which of the pictures that were found a dataset has.

    Attributes:
        skips_damaged: Whether to look at each thoroughly, and to leave out those that cannot be used.
        remembered: Class and split of each picture that a run had, by its path: it has those and no others. None for
            all.
    """

    skips_damaged: bool = False
    remembered: Mapping[bytes, tuple[str, str]] | None = None


class ListedPictures(Dataset):
    """Picture files with labels, by split.

    Args:
        name: Of the dataset.
        root: The folder that the paths begin in.
        pictures: The files, of which some cannot be used.
        selection: Which of them.
        progress: Called with one line now and then.

    Attributes:
        left_out: Why a picture that was found is not among them, by its path.

    Raises:
        BopkitError: There are pictures that cannot be used, or none that can, or one of the selection is gone.
        UsageError: There are no pictures, or only those of one class.
    """

    def __init__(self, name: str, root: Path, pictures: PictureList, selection: Selection, progress: Progress):
        if selection.remembered is not None:
            pictures = _remembered(name, pictures, selection.remembered, progress)
        survey = survey_pictures(
            root,
            pictures.paths,
            selection.skips_damaged,
            lambda line: progress(f"looking at {printable(name)}: {line}"),
        )
        if survey.problems and selection.remembered is not None:  # none was damaged when the run began
            raise BopkitError(f"{printable(name)}: {_problems_text(pictures.paths, survey.problems)}.", _HINT_OF_RUN)
        if survey.problems and not selection.skips_damaged:
            raise unusable(name, pictures.paths, survey.problems)
        self.left_out = {os.fsdecode(pictures.paths[place]): problem for place, problem in survey.problems.items()}
        found_paths = pictures.paths
        used = [place for place in range(len(pictures.paths)) if place not in survey.problems]
        pictures, sizes_px, are_grey = pictures.chosen(used), survey.sizes_px[used], survey.are_grey[used]
        checksums = dict(zip(pictures.paths, survey.checksums[used].tolist(), strict=True))
        names = sorted(set(pictures.class_names))
        if len(names) < 2:
            if survey.problems:  # not told twice
                left = f"only pictures of {names[0]} are left" if names else "none is left"
                problems = _problems_text(found_paths, survey.problems)
                raise UsageError(f"{printable(name)}: {problems}; {left}.", "Repair them, or correct their paths.")
            raise UsageError(
                f"{printable(name)} has pictures of one class, {names[0]}: a network tells classes apart.",
                "Give each class a folder of its own, or a label of its own in the table.",
            )
        if survey.problems:
            progress(f"left out: {_problems_text(found_paths, survey.problems)}")
        labels = np.searchsorted(np.array(names, object), np.array(pictures.class_names, object)).astype(np.int64)
        order = sorted(range(len(used)), key=lambda place: hashlib.sha256(pictures.paths[place]).digest())
        split_of = pictures.splits or _drawn_splits(labels, order)
        self._root = root.absolute()
        self._splits: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for split in sorted(set(split_of), key=_usual_order):
            places = [place for place in order if split_of[place] == split]
            self._splits[split] = (np.array([pictures.paths[place] for place in places], bytes), labels[places])
        counts = {split: len(labels) for split, (_, labels) in self._splits.items()}
        sizes = [(height, width) for height, width in sizes_px.tolist()]
        facts = facts_of_own_pictures(name, sizes, 1 if are_grey.all() else 3, len(names), counts)
        super().__init__(facts, names)
        self._size = sizes[0] if len(set(sizes)) == 1 else None
        self._digest = self._make_digest(checksums)

    @property
    def identity(self) -> str:
        """Name and a checksum of paths, classes and splits, and of size, first and last bytes of each file."""
        return f"{self.name}@{self._digest}"

    @property
    def cache_identity(self) -> str:
        """Identity and folder."""
        return f"{self.identity}|{self._root}"

    @property
    def picture_size(self) -> tuple[int, int] | None:
        """Height and width that all pictures have as they are seen."""
        return self._size

    @property
    def is_shuffled(self) -> bool:
        """The pictures of each split lie in an order that looks random."""
        return True

    def labels(self, split: str) -> np.ndarray:
        """Labels of a split, int64 [n]."""
        return self._part(split)[1]

    def paths(self, split: str) -> np.ndarray:
        """Paths of a split from the dataset's folder, bytes [n]."""
        return self._part(split)[0]

    def read(self, split: str) -> Any:
        """A `tf.data.Dataset` of (scalar string, int64 [])."""
        tf = import_tensorflow()
        read_at = self.reader(split)
        return tf.data.Dataset.range(self.count(split)).map(read_at, num_parallel_calls=tf.data.AUTOTUNE)

    def reader(self, split: str) -> Callable[[Any], tuple[Any, Any]]:
        """What reads the picture at a place of a split: int64 [] to (scalar string, int64 [])."""
        tf = import_tensorflow()
        with tf.device("CPU:0"):
            paths, labels = (tf.constant(each) for each in self._part(split))
        root = os.fsencode(self._root) + b"/"

        @tf.autograph.experimental.do_not_convert
        def read_at(place: Any) -> tuple[Any, Any]:
            return tf.io.read_file(root + paths[place]), labels[place]

        return read_at

    def explain_unreadable(self, split: str) -> BopkitError:
        """The error that names the files that cannot be used now: every picture of the split is decoded for it."""
        return self._unusable_now(split) or super().explain_unreadable(split)

    def explain_undecodable(self, split: str) -> BopkitError:
        """As `explain_unreadable`."""
        return self._unusable_now(split) or super().explain_undecodable(split)

    def _unusable_now(self, split: str) -> BopkitError | None:
        paths = self.paths(split).tolist()
        survey = survey_pictures(self._root, paths, is_thorough=True, progress=silent)
        return unusable(self.name, paths, survey.problems) if survey.problems else None

    def _part(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        parts = [[each[begin:end] for each in self._splits[name]] for name, begin, end in self.slices(split)]
        paths, labels = (np.concatenate(each) for each in zip(*parts, strict=True))
        return paths, labels

    def _make_digest(self, checksums: Mapping[bytes, int]) -> str:
        digest = hashlib.sha256(repr(self.class_names).encode())
        for split, (paths, labels) in self._splits.items():
            digest.update(repr(split).encode() + labels.tobytes())
            for path in paths.tolist():
                digest.update(path + b"\0%d" % checksums[path])
        return digest.hexdigest()[:12]


_HINT_OF_RUN = (
    "Put them back as they were when the run began; or train a new run, or evaluate this one with --dataset, on the "
    "pictures as they are."
)


def _remembered(
    name: str, pictures: PictureList, remembered: Mapping[bytes, tuple[str, str]], progress: Progress
) -> PictureList:
    """The pictures that a run had, in the splits that it had.

    Raises:
        BopkitError: Some are gone, or of another class.
    """
    gone = sorted(set(remembered) - set(pictures.paths))
    if gone:
        raise BopkitError(
            f"{printable(name)}: {count_text(len(gone), 'picture')} of the run cannot be found: {_paths_text(gone)}.",
            _HINT_OF_RUN,
        )
    places = [place for place, path in enumerate(pictures.paths) if path in remembered]
    class_names = {pictures.paths[place]: pictures.class_names[place] for place in places}
    changed = [path for path, class_name in class_names.items() if class_name != remembered[path][0]]
    if changed:
        raise BopkitError(
            f"{printable(name)}: {count_text(len(changed), 'picture')} had another class when the run began: "
            f"{_paths_text(changed)}.",
            _HINT_OF_RUN,
        )
    if len(places) < len(pictures.paths):
        new = count_text(len(pictures.paths) - len(places), "picture")
        progress(f"{new} of {printable(name)} came after the run began: left out")
    chosen = pictures.chosen(places)
    return dataclasses.replace(chosen, splits=[remembered[path][1] for path in chosen.paths])


def _paths_text(paths: Sequence[bytes]) -> str:
    return shortened_list([printable(os.fsdecode(path)) for path in paths])


def unusable(name: str, paths: Sequence[bytes], problems: dict[int, str]) -> BopkitError:
    """The error for pictures that cannot be used."""
    return BopkitError(
        f"{printable(name)}: {_problems_text(paths, problems)}.",
        "Repair or remove them, or leave them out by '?skip-damaged' behind the dataset's name.",
    )


def _problems_text(paths: Sequence[bytes], problems: dict[int, str]) -> str:
    texts = [f"{printable(os.fsdecode(paths[place]))} {problem}" for place, problem in problems.items()]
    return f"{count_text(len(problems), 'picture')} cannot be used: {shortened_list(texts)}"


def _drawn_splits(labels: np.ndarray, order: Sequence[int]) -> list[str]:
    """A split for each picture: of each class the first ones of the order are for testing and validation.

    A class of two pictures has one in `train` and one in `test`, a class of one has it in `train`.
    """
    splits = ["train"] * len(labels)
    ordered = labels[order]
    for label in np.unique(ordered):
        places = [order[each] for each in np.flatnonzero(ordered == label)]
        for split, share in DRAWN_SPLITS.items():
            count = max(1, round(share * np.count_nonzero(ordered == label)))
            taken = places[: min(count, len(places) - 1)]
            for place in taken:
                splits[place] = split
            places = places[len(taken) :]
    return splits


def _usual_order(split: str) -> tuple[int, str]:
    return (0 if split.startswith("train") else 2 if split == "test" else 1, split)
