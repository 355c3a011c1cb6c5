"""Files that are given in a network's place and are of another kind: not damaged, but not what is wanted."""

from __future__ import annotations

from pathlib import Path

from bopkit.errors import BopkitError

START_BYTES = 64
"""Length of the beginning of a file that tells its kind."""

_BY_START = (
    (b"version https://git-lfs", "a pointer of Git LFS", "Type `git lfs pull`: it fetches the file itself."),
    (b"<!doctype html", "a web page", "Download the file itself."),
    (b"<html", "a web page", "Download the file itself."),
)
"""How files of other kinds begin, in lower case, what they are, and what to do."""


def other_file(path: Path, start: bytes, wanted: str, hint: str) -> BopkitError:
    """The error for a file of another kind.

    Args:
        path: The file.
        start: Its first `START_BYTES`.
        wanted: What it should be, such as `a TensorFlow Lite model`.
        hint: What to do where its kind is not known.
    """
    if not start:
        return BopkitError(f"{path} is empty.", "Copy or download it again.")
    if path.name == "saved_model.pb":
        return BopkitError(f"{path} is one file of a SavedModel.", f"Give the folder that it lies in: {path.parent}")
    for known_by, kind, what_next in _BY_START:
        if start.lstrip().lower().startswith(known_by):
            return BopkitError(f"{path} is not {wanted} but {kind}.", what_next)
    return BopkitError(f"{path} is not {wanted}.", hint)
