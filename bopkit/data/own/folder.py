"""Pictures in folders: one folder a class, or such folders in `train`, `val` and `test`."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

from bopkit.data.own.listed import ListedPictures, PictureList, Selection
from bopkit.data.own.naming import known_split
from bopkit.data.picture_files import OTHER_SUFFIXES, PICTURE_SUFFIXES
from bopkit.errors import BopkitError, UsageError
from bopkit.progress import Progress
from bopkit.text import count_text, one_line, printable, shortened_list


def open_folder(folder: Path, name: str, selection: Selection, progress: Progress) -> ListedPictures:
    """Open a folder of folders of pictures.

    Args:
        folder: Its path.
        name: Of the dataset.
        selection: Which of the pictures.
        progress: Called with one line now and then.

    Raises:
        UsageError: It has no folders with pictures.
        BopkitError: A folder, or a picture of it, cannot be read.
    """
    classes = _subfolders(folder)
    splits = _split_folders(folder, classes)
    found = PictureList(splits=[] if splits else None)
    for split in splits or [""]:  # a folder's name
        class_folders = _subfolders(folder / split) if split else classes
        _refuse_one_name(folder / split, class_folders)
        beside = _count_pictures(folder / split)
        if beside:
            verb = "lies" if beside == 1 else "lie"
            where = printable(str(folder / split))
            progress(f"{count_text(beside, 'picture')} in {where} {verb} in no folder of a class: left out")
        for class_folder in class_folders:
            before = len(found.paths)
            inner = os.path.join(split, class_folder)
            _add_pictures(os.fsencode(folder), os.fsencode(inner), found.paths)
            count = len(found.paths) - before
            found.class_names += [_class_name(class_folder)] * count
            if found.splits is not None:
                found.splits += [known_split(split) or split] * count
            if not count:
                progress(f"{printable(inner)} of {printable(name)} has no pictures: it is left out")
    if not found.paths:
        endings = ", ".join(PICTURE_SUFFIXES)
        raise UsageError(
            f"{printable(str(folder))} has no pictures in folders of their classes.",
            f"Put the pictures of each class into a folder there; they end in {endings}.",
        )
    return ListedPictures(name, folder, found, selection, progress)


def _split_folders(folder: Path, names: list[str]) -> list[str]:
    """The folders that are splits: all there are, if each has the name of one and holds folders; else none.

    Raises:
        UsageError: Some are and some are not, so that nobody knows.
    """
    named = [name for name in names if known_split(name)]
    splits = [name for name in named if _subfolders(folder / name)]
    others = [name for name in names if name not in splits]
    where = printable(str(folder))
    if splits and others:
        raise UsageError(
            f"{where} has the splits {shortened_list(splits)}, which hold folders, and beside them "
            f"{shortened_list(list(map(printable, others)))}.",
            "Move these elsewhere, or name the folder that holds only classes.",
        )
    if named == names and "train" in map(known_split, names) and not splits:
        raise UsageError(
            f"{where} has the folders {shortened_list(names)}, which hold no folders of classes.",
            "Put the pictures of each class into a folder of its own there.",
        )
    for name in splits:
        same = [other for other in splits if known_split(other) == known_split(name)]
        if len(same) > 1:
            raise UsageError(f"{where} has two folders for one split: {shortened_list(same)}.", "Keep one of them.")
    return splits


def _subfolders(folder: Path) -> list[str]:
    """Names of the folders in a folder, links to folders among them; hidden ones are left out.

    Raises:
        BopkitError: It cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())
    except OSError as error:
        raise BopkitError(f"{printable(str(folder))} cannot be read: {error.strerror}.") from error


def _count_pictures(folder: Path) -> int:
    """Pictures in a folder itself, hidden ones left out."""
    names = (os.fsencode(each.name) for each in folder.iterdir() if not each.is_dir())
    return sum(name.lower().endswith(_ENDINGS) and not name.startswith(b".") for name in names)


def _add_pictures(root: bytes, inner: bytes, paths: list[bytes]) -> None:
    """Add the pictures of a folder and of all below it to the paths: links to files, but not to further folders.

    Raises:
        BopkitError: A folder cannot be read.
    """
    waiting = [inner]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(os.path.join(root, folder)) as entries:
                for entry in entries:
                    if entry.name.startswith(b"."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(os.path.join(folder, entry.name))
                    elif entry.name.lower().endswith(_ENDINGS) and not os.path.isdir(entry.path):
                        paths.append(os.path.join(folder, entry.name))
        except OSError as error:
            name = printable(os.fsdecode(os.path.join(root, folder)))
            raise BopkitError(f"{name} cannot be read: {error.strerror}.") from error


_ENDINGS = tuple(suffix.encode() for suffix in (*PICTURE_SUFFIXES, *OTHER_SUFFIXES))
"""Of pictures, those included that are then refused by name."""


def _class_name(folder: str) -> str:
    """The name of a class: the folder's, on one line, as files of labels have one name a line."""
    return one_line(unicodedata.normalize("NFC", folder))  # macOS takes umlauts apart


def _refuse_one_name(folder: Path, class_folders: list[str]) -> None:
    """Raise a UsageError if two folders would be one class."""
    names: dict[str, str] = {}
    for each in class_folders:
        other = names.setdefault(_class_name(each), each)
        if other != each:
            names_text = f"{other!r} and {each!r}"
            if unicodedata.normalize("NFC", other) == unicodedata.normalize("NFC", each):
                names_text = "they differ in nothing but how an accent is stored"
            raise UsageError(
                f"{printable(str(folder))} has two folders for class {_class_name(each)}: {names_text}.",
                "Rename one, or move its pictures into the other.",
            )
