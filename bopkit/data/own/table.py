"""Pictures in a table: a CSV file with a column of paths, one of labels and, where somebody chose it, one of splits."""

from __future__ import annotations

import collections
import csv
import os
from collections.abc import Iterator
from pathlib import Path

from bopkit.data.own.listed import ListedPictures, PictureList, Selection
from bopkit.data.own.naming import known_split
from bopkit.errors import BopkitError, UsageError
from bopkit.progress import Progress
from bopkit.text import count_text, one_line, printable, shortened_list

COLUMNS = {
    "path": ("path", "file", "filename", "file_name", "filepath", "image", "image_path", "picture"),
    "label": ("label", "class", "class_name", "category", "target"),
    "split": ("split", "subset", "set"),
}
"""Headings that a column may have, in small letters."""

_DELIMITERS = ",;\t"
_SAMPLE_LETTERS = 64 * 1024


def open_table(path: Path, name: str, selection: Selection, progress: Progress) -> ListedPictures:
    """Open a table of pictures.

    Args:
        path: The CSV file, in UTF-8; paths in it are relative to its folder, or absolute.
        name: Of the dataset.
        selection: Which of the pictures.
        progress: Called with one line now and then.

    Raises:
        UsageError: It lacks a column, a row lacks a value, or a picture is named twice.
        BopkitError: It, or a picture of it, cannot be read.
    """
    found = PictureList()
    splits: list[str] = []
    root = path.absolute().parent
    for number, row in _rows(path):
        values = {column: (text or "").strip() for column, text in row.items()}
        missing = [column for column in ("path", "label") if not values[column]]
        if missing or (values.get("split") == "" and splits):
            raise UsageError(f"{path}, line {number}: it has no {(missing or ['split'])[0]}.", "Complete or remove it.")
        if "\0" in values["path"] or "://" in values["path"]:
            kind = "an address" if "://" in values["path"] else "no path"
            raise UsageError(
                f"{path}, line {number}: {printable(values['path'])} is {kind}.", "Name files on this machine."
            )
        found.paths.append(os.fsencode(os.path.relpath(root / values["path"], root)))
        found.class_names.append(one_line(values["label"]))
        split = values.get("split", "")
        if set(split) & set("[]+"):
            raise UsageError(f"{path}, line {number}: {split} cannot be the name of a split.", "Use letters.")
        if split:
            splits.append(known_split(split) or split)
    if not found.paths:
        raise UsageError(f"{path} has no pictures.", "Write one line a picture below the headings path and label.")
    if splits and len(splits) != len(found.paths):
        raise UsageError(f"{path}: some lines have a split and some have none.", "Complete the column or remove it.")
    found.splits = splits or None
    twice = [os.fsdecode(each) for each, count in collections.Counter(found.paths).items() if count > 1]
    if twice:
        verb = "is" if len(twice) == 1 else "are"
        raise UsageError(
            f"{path}: {count_text(len(twice), 'picture')} {verb} named more than once: {shortened_list(twice)}.",
            "Keep one line of each.",
        )
    return ListedPictures(name, root, found, selection, progress)


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str | None]]]:
    """Each row's line number, and its values by what they are for.

    Raises:
        UsageError: A column is missing.
        BopkitError: The file cannot be read.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            first = file.readline(_SAMPLE_LETTERS)
            delimiter = max(_DELIMITERS, key=first.count)
            file.seek(0)
            reader = csv.DictReader(file, delimiter=delimiter)
            headings = [heading or "" for heading in reader.fieldnames or ()]
            places = {
                column: [each for each in headings if each.strip().casefold() in names]
                for column, names in COLUMNS.items()
            }
            for column, found in places.items():
                if len(found) > 1:
                    raise UsageError(
                        f"{path} has several columns for the {column}: {shortened_list(found)}.", "Keep one of them."
                    )
            for column in ("path", "label"):
                if not places[column]:
                    raise UsageError(
                        f"{path} has no column {column!r}; its first line is {printable(first.strip())[:60]!r}.",
                        "The first line names the columns: path,label or path,label,split.",
                    )
            used = {column: found[0] for column, found in places.items() if found}
            for row in reader:
                yield reader.line_num, {column: row[heading] for column, heading in used.items()}
    except (csv.Error, UnicodeDecodeError) as error:
        raise BopkitError(f"{path} is no CSV file in UTF-8: {error}.", "Save it as one.") from error
    except OSError as error:
        raise BopkitError(f"{path} cannot be read: {error.strerror}.") from error
