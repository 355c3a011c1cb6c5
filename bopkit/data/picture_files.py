"""Pictures as files: which ones are meant by files and folders, in their order, and the bytes of one."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bopkit.data.picture_formats import header_of, refusal
from bopkit.errors import BopkitError, UsageError
from bopkit.text import shortened_list

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp")
"""Endings, in small letters, of the files that are taken from folders."""

OTHER_SUFFIXES = (".tif", ".tiff", ".heic", ".heif", ".avif", ".jp2", ".svg")
"""Endings of pictures that bopkit does not read."""


class Survey(NamedTuple):
    """What files and folders hold.

    Attributes:
        pictures: Number of pictures.
        longest: Characters of the longest path of one.
        left_out: Number of files in the folders that are pictures of other formats, by their names.
        example: One of them.
    """

    pictures: int
    longest: int
    left_out: int
    example: str


def survey(paths: Sequence[str | Path]) -> Survey:
    """Count what `picture_files` will yield.

    Raises:
        UsageError: A path does not exist, a folder has no pictures, or there is no path.
    """
    if not paths:
        raise UsageError("No pictures are named.", "Name files or folders of pictures.")
    missing = [str(path) for path in paths if not Path(path).exists()]
    if missing:
        verb = "does" if len(missing) == 1 else "do"
        raise UsageError(f"{shortened_list(missing)} {verb} not exist.", "Name files or folders of pictures.")
    pictures = longest = left_out = 0
    example = ""
    for path in map(Path, paths):
        before = pictures
        for file in _files_of(path):
            if path.is_dir() and not _is_picture(file):
                left_out, example = left_out + 1, example or file
                continue
            pictures, longest = pictures + 1, max(longest, len(file))
        if pictures == before:
            endings = ", ".join(PICTURE_SUFFIXES)
            raise UsageError(f"{path} has no pictures.", f"Files in folders are taken by their endings: {endings}.")
    return Survey(pictures, longest, left_out, example)


def picture_files(paths: Iterable[str | Path]) -> Iterator[str]:
    """Paths of pictures: files as they are named, and of folders all files in them and below that end as pictures do.

    Folders are read as the caller goes on: their pictures are never all in memory. What begins with a dot is left out,
    and so is what a link to another folder leads to.
    """
    for path in map(Path, paths):
        yield from (file for file in _files_of(path) if not path.is_dir() or _is_picture(file))


def read_picture(path: str) -> bytes:
    """The bytes of a picture file.

    Raises:
        BopkitError: It cannot be read, or is none that TensorFlow decodes as viewers do.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # reading a pipe or a terminal may never end
            raise BopkitError(f"{path} is not a file of bytes on a disk.", "Save the picture as one.")
        encoded = Path(path).read_bytes()
    except OSError as error:
        raise BopkitError(f"{path} cannot be read: {error.strerror}.") from error
    problem = refusal(header_of(encoded), encoded)
    if problem:
        raise BopkitError(f"{path} {problem}.", "Save it anew, as PNG.")
    return encoded


def _files_of(path: Path) -> Iterator[str]:
    """A file itself; of a folder the files that are pictures of any format by their names."""
    if not path.is_dir():
        yield str(path)
        return
    with os.scandir(path) as entries:
        visible = sorted((each for each in entries if not each.name.startswith(".")), key=lambda each: each.name)
    for entry in visible:
        if entry.is_dir(follow_symlinks=False):
            yield from _files_of(Path(entry.path))
        elif entry.name.lower().endswith(PICTURE_SUFFIXES + OTHER_SUFFIXES) and not entry.is_dir():
            yield entry.path


def _is_picture(file: str) -> bool:
    return file.lower().endswith(PICTURE_SUFFIXES)
