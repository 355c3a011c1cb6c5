"""Arrays of an `.npz` file, as Keras' own datasets come: `x_train`, `y_train`, `x_test`, `y_test`.

`class_names`, an array of text, may be among them. Pictures that `numpy.savez` wrote are read as they are needed; those
of `numpy.savez_compressed` are in memory. Source: NumPy, NEP 1 (the .npy format); PKWARE, .ZIP file format, 4.3.7.
"""

from __future__ import annotations

import hashlib
import math
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from bopkit.data.own.arrays import ArrayDataset, PixelsInFile, checked_shape, damaged, dataset_of_named_arrays
from bopkit.data.own.naming import known_split
from bopkit.errors import UsageError

_ERRORS_OF_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, EOFError, struct.error, ValueError),
    *(RuntimeError, NotImplementedError, SyntaxError, tokenize.TokenError),  # encrypted; unknown methods; headers
)
_LOCAL_HEADER_BYTES = 30
_CHUNK_BYTES = 2**20


def open_npz(path: Path, name: str) -> ArrayDataset:
    """Open a file of arrays.

    Args:
        path: The file.
        name: Of the dataset.

    Raises:
        UsageError: It lacks an array, or one has another shape or type.
        BopkitError: It is damaged, or no such file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = {
                _usual_name(member.filename.removesuffix(".npy")): _array(path, archive, member)
                for member in archive.infolist()
                if member.filename.endswith(".npy")
            }
            checksums = [(member.filename, member.CRC, member.file_size) for member in archive.infolist()]
    except MemoryError as error:
        raise damaged(path, "has an array that does not fit into memory") from error
    except _ERRORS_OF_DAMAGE as error:
        raise damaged(path, "is damaged, or no .npz file") from error
    names = arrays.pop("class_names", None)
    digest = hashlib.sha256(repr(sorted(checksums)).encode()).hexdigest()[:12]
    return dataset_of_named_arrays(
        name, arrays, None if names is None else np.ravel(names).tolist(), f"{name}@{digest}"
    )


def _usual_name(name: str) -> str:
    """`x_validation` for `x_val` and `x_valid`, and so on; other names as they are."""
    part, _, split = name.partition("_")
    return f"{part}_{known_split(split) or split}" if part in ("x", "y") and split else name


def _array(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Any:
    """An array of the file: pictures that are not compressed stay in it.

    Raises:
        UsageError: It holds Python objects.
    """
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, is_fortran, dtype = read_header(file)
        header_bytes = file.tell()
        array_bytes = math.prod(shape) * dtype.itemsize
        if min(shape, default=0) < 0 or (not dtype.hasobject and header_bytes + array_bytes != member.file_size):
            raise ValueError(f"{member.filename} has another size than its header says")
        is_of_pictures = member.filename.startswith("x_") and dtype == np.uint8 and len(shape) in (3, 4)
        if is_of_pictures and member.compress_type == zipfile.ZIP_STORED and not is_fortran:
            while file.read(_CHUNK_BYTES):  # at the end of the member its checksum is compared
                pass
            offset_bytes = _offset_bytes(archive, member) + header_bytes
            four = checked_shape(shape, f"{path}: {member.filename.removesuffix('.npy')}")
            return PixelsInFile(path, offset_bytes, four, path.stat().st_size)
    with archive.open(member) as file:
        if dtype.hasobject:
            raise UsageError(
                f"{path}: {member.filename} holds Python objects.",
                "Save arrays of numbers, and text as `numpy.array(labels, dtype=str)`.",
            )
        return np.lib.format.read_array(file, allow_pickle=False)


def _offset_bytes(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> int:
    """Where the bytes of a member begin in its file: behind a header whose lengths only that header tells."""
    assert archive.fp is not None
    archive.fp.seek(member.header_offset)
    name_bytes, extra_bytes = struct.unpack("<HH", archive.fp.read(_LOCAL_HEADER_BYTES)[26:30])
    return int(member.header_offset + _LOCAL_HEADER_BYTES + name_bytes + extra_bytes)
