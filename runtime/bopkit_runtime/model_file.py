"""Model files: what is wrong with one, before LiteRT sees it."""

from __future__ import annotations

import hashlib
import mmap
import os
from pathlib import Path
from typing import BinaryIO

from bopkit_runtime.errors import BopkitRuntimeError, UsageError
from bopkit_runtime.flatbuffer import is_whole

_IDENTIFIER = b"TFL3"

# Files that are often given in a model's place, by how they begin, and what to do.
_OTHER_KINDS = {
    b"\x89HDF\r\n\x1a\n": ("a Keras file (HDF5)", "`bopkit export` makes a .tflite file of it."),
    b"PK\x03\x04": ("a zip archive", "If it is a .keras file, `bopkit export` makes a .tflite file of it."),
    b"version https://git-lfs": ("a pointer of Git LFS", "Type `git lfs pull`: it fetches the file itself."),
}


def check_model_file(path: str | os.PathLike[str]) -> Path:
    """The path, if a whole TensorFlow Lite flatbuffer is there.

    Raises:
        UsageError: It is no path.
        BopkitRuntimeError: No such file, one that cannot be read, one of another kind, or one that is cut short.
    """
    try:
        path = Path(os.fsdecode(path))
    except TypeError as error:
        raise UsageError(f"The path is {path!r}.", "Give that of a .tflite file, as text.") from error
    if path.is_dir():
        raise BopkitRuntimeError(f"{path} is a folder.", "Name the .tflite file itself.")
    try:
        with open(path, "rb") as file:
            start = file.read(64)
            is_flatbuffer = start[4:8] == _IDENTIFIER
            is_damaged = is_flatbuffer and not _is_whole(file)
    except FileNotFoundError as error:
        raise BopkitRuntimeError(f"There is no file {path}.", "Check the path; `bopkit export` writes one.") from error
    except OSError as error:
        raise BopkitRuntimeError(f"{path} cannot be read: {error.strerror}.", "Check its permissions.") from error
    for signature, (kind, hint) in _OTHER_KINDS.items():
        if start.startswith(signature):
            raise BopkitRuntimeError(f"{path} is not a .tflite file but {kind}.", hint)
    if not start:
        raise BopkitRuntimeError(f"{path} is empty.", "Copy it again.")
    if not is_flatbuffer:
        hint = "Give a .tflite file, as `bopkit export` writes them; if it was one, copy it again."
        raise BopkitRuntimeError(f"{path} is not a TensorFlow Lite flatbuffer.", hint)
    if is_damaged:
        raise damaged(path)
    return path


def identity_of(path: Path) -> tuple[int, ...] | None:
    """What changes when a file is replaced or written to; None where it cannot be told, or there is no file."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _is_whole(file: BinaryIO) -> bool:
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        return is_whole(mapped)


def damaged(path: Path) -> BopkitRuntimeError:
    """The error for a file that is not whole."""
    return BopkitRuntimeError(f"{path} is damaged.", "Copy it again, or make it again.")


def sha256_of(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
