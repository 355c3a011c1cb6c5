"""Folders of MNIST's files: `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, and the same of `t10k` or `test`.

They may be gzipped, have something in front of their names, as EMNIST's do, and a dot in place of the hyphen before
`idx`. Pictures are read as they are needed. Source: Y. LeCun, C. Cortes, C. Burges, The MNIST database.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import re
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from bopkit import files
from bopkit.data.own.arrays import ArrayDataset, PixelsInFile, checked_shape, damaged, dataset_of_named_arrays
from bopkit.errors import UsageError

_FILE = re.compile(r"(?:.*[-_.])?(?P<split>train|t10k|test)-(?P<part>images|labels)[-.]idx\d-ubyte(?P<gzipped>\.gz)?")
_SPLITS = {"train": "train", "t10k": "test", "test": "test"}
_PARTS = {"images": "x", "labels": "y"}
_UINT8 = 8
_CHUNK_BYTES = 2**20


def open_idx(folder: Path, name: str) -> ArrayDataset:
    """Open a folder of such files.

    Args:
        folder: Where they lie.
        name: Of the dataset.

    Raises:
        UsageError: It lacks a file of them, or has one twice.
        BopkitError: A file is damaged.
    """
    arrays: dict[str, np.ndarray | PixelsInFile] = {}
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        match = _FILE.fullmatch(path.name)
        if match is None or not path.is_file():
            continue
        part = _PARTS[match["part"]]
        key = f"{part}_{_SPLITS[match['split']]}"
        if key in found:
            raise UsageError(f"{folder} has both {found[key].name} and {path.name}.", "Keep one of them there.")
        found[key] = path
        arrays[key] = _pictures(path) if part == "x" else _labels(path)
    if not found:
        raise UsageError(
            f"{folder} has no files of MNIST's format.", "They are named train-images-idx3-ubyte.gz and so on."
        )
    checksums = "".join(f"{key}{files.sha256(path)}" for key, path in sorted(found.items()))
    digest = hashlib.sha256(checksums.encode()).hexdigest()[:12]
    return dataset_of_named_arrays(name, arrays, identity=f"{name}@{digest}")


def _pictures(path: Path) -> PixelsInFile:
    with _open(path) as file:
        shape = _read_shape(file, path)
        offset_bytes = file.tell()
        size_bytes = math.prod(shape)
        while chunk := _read(file, path):
            size_bytes -= len(chunk)
    if size_bytes or len(shape) < 3:
        raise damaged(path, "is cut off, or no file of pictures of MNIST's format")
    size = None if path.suffix == ".gz" else path.stat().st_size
    return PixelsInFile(path, offset_bytes, checked_shape(shape, str(path)), size)


def _labels(path: Path) -> np.ndarray:
    with _open(path) as file:
        shape = _read_shape(file, path)
        parts = []
        while chunk := _read(file, path):
            parts.append(chunk)
    labels = np.frombuffer(b"".join(parts), np.uint8)
    if shape != labels.shape:
        raise damaged(path, "is cut off, or no file of labels of MNIST's format")
    return labels


def _open(path: Path) -> BinaryIO:
    return gzip.open(path) if path.suffix == ".gz" else open(path, "rb")  # type: ignore[return-value]


def _read(file: BinaryIO, path: Path, count: int = _CHUNK_BYTES) -> bytes:
    try:
        return file.read(count)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise damaged(path, "is damaged, or not gzipped") from error


def _read_shape(file: BinaryIO, path: Path) -> tuple[int, ...]:
    """The shape that the header tells."""
    try:
        zero, kind, dimensions = struct.unpack(">HBB", _read(file, path, 4))
        shape = struct.unpack(f">{dimensions}I", _read(file, path, 4 * dimensions))
    except struct.error as error:
        raise damaged(path, "is cut off") from error
    if zero or kind != _UINT8:
        raise damaged(path, "is no file of bytes of MNIST's format")
    return shape
