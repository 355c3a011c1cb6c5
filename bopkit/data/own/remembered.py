"""Which pictures a run was trained, validated and tested on: a table in its directory.

So a run goes on with the same pictures, and is measured on ones that it was not trained on, although files were added
to their folder.
"""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

from bopkit import files
from bopkit.data.own.listed import ListedPictures
from bopkit.errors import BopkitError
from bopkit.runs.directory import PICTURES_FILE

_COLUMNS = ("path", "label", "split")


def remember_pictures(dataset: ListedPictures, run: Path) -> None:
    """Write the pictures of a dataset with their classes and splits into a run directory."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    for split in dataset.split_names:
        for path, label in zip(dataset.paths(split).tolist(), dataset.labels(split), strict=True):
            writer.writerow((os.fsdecode(path), dataset.class_names[label], split))
    files.write_bytes(run / PICTURES_FILE, text.getvalue().encode("utf-8", "surrogateescape"))


def remembered_pictures(run: Path) -> dict[bytes, tuple[str, str]]:
    """Class and split of each picture of a run, by its path from the dataset's folder.

    Raises:
        BopkitError: The table is missing or damaged.
    """
    path = run / PICTURES_FILE
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            rows = list(csv.reader(file))
        if tuple(rows[0]) != _COLUMNS:
            raise ValueError
        return {os.fsencode(each): (label, split) for each, label, split in rows[1:]}
    except FileNotFoundError as error:
        raise BopkitError(f"{path} does not exist: no run remembers its pictures there.", "Name a run.") from error
    except (OSError, ValueError, IndexError, csv.Error) as error:
        raise BopkitError(
            f"{path} is damaged or cannot be read.", "Copy it again, or name the pictures alone."
        ) from error
