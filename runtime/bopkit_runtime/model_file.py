"""Model files: what is wrong with one, before LiteRT sees it."""

from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path

from bopkit_runtime.errors import BopkitRuntimeError

_IDENTIFIER = b"TFL3"
_HEADER_BYTES = 8

# Files that are often given in a model's place, by how they begin.
_OTHER_KINDS = {
    b"\x89HDF\r\n\x1a\n": "a Keras file (HDF5)",
    b"PK\x03\x04": "a zip archive, perhaps a .keras file",
    b"version https://git-lfs": "a pointer of Git LFS: type `git lfs pull`, and use the file itself",
}


def check_model_file(path: str | os.PathLike[str]) -> Path:
    """The path, if a TensorFlow Lite flatbuffer seems to be there; LiteRT checks the rest of it.

    Raises:
        BopkitRuntimeError: No such file, one that cannot be read, or one of another kind.
    """
    path = Path(path)
    if path.is_dir():
        raise BopkitRuntimeError(f"{path} is a folder.", "Name the .tflite file itself.")
    try:
        with open(path, "rb") as file:
            start = file.read(64)
            size_bytes = os.fstat(file.fileno()).st_size
    except FileNotFoundError as error:
        raise BopkitRuntimeError(f"There is no file {path}.", "Check the path; `bopkit export` writes one.") from error
    except OSError as error:
        raise BopkitRuntimeError(f"{path} cannot be read: {error.strerror}.", "Check its permissions.") from error
    for signature, kind in _OTHER_KINDS.items():
        if start.startswith(signature):
            raise BopkitRuntimeError(f"{path} is no .tflite file but {kind}.", "`bopkit export` writes .tflite files.")
    if start[4:_HEADER_BYTES] != _IDENTIFIER:
        raise BopkitRuntimeError(
            f"{path} is no TensorFlow Lite flatbuffer.", "Export the model again, or copy it again."
        )
    if not _HEADER_BYTES <= struct.unpack("<I", start[:4])[0] <= size_bytes - 4:
        raise damaged(path)
    return path


def damaged(path: Path) -> BopkitRuntimeError:
    """The error for a file that is not whole."""
    return BopkitRuntimeError(f"{path} is damaged.", "Copy it again, or export the model again.")


def sha256_of(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
