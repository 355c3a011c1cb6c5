"""Read a stranger's HDF5 file in another process first: a damaged one can make libhdf5 crash, abort or hang."""

from __future__ import annotations

import atexit
import functools
from pathlib import Path
from typing import Any

from bopkit.errors import BopkitError
from bopkit.isolation import Child

TIMEOUT_S = 60.0
"""For files of up to `BYTES_PER_S` bytes; larger ones get more."""

BYTES_PER_S = 20_000_000
"""What the slowest disk reads, about."""

MAX_DATASET_BYTES = 4 << 30
"""Data sets that claim more are left to the checks of `bopkit.artifacts.keras_file`, which refuse them."""


def probe(path: Path, subject: Path | None = None) -> None:
    """Make sure that libhdf5 survives reading the whole file.

    Args:
        path: The HDF5 file.
        subject: What errors speak of, where that is another file than `path`.

    Raises:
        BopkitError: It does not, or the file is damaged in a way that libhdf5 notices.
    """
    state = path.stat()
    _probe_once(str(path.absolute()), str(subject or path), state.st_mtime_ns, state.st_size, state.st_ino)


@functools.lru_cache(maxsize=16)  # one command reads a file's config, its card and its weights
def _probe_once(path: str, subject: str, mtime_ns: int, size: int, inode: int) -> None:
    _child().call(
        "bopkit.artifacts.hdf5_probe:read_all", path, subject, subject=subject, timeout_s=TIMEOUT_S + size / BYTES_PER_S
    )


@functools.cache
def _child() -> Child:
    process = Child()
    atexit.register(process.close)
    return process


def read_all(path: str, subject: str) -> None:
    """Read all that a file holds, attributes included, and forget it: the child's side of `probe`."""
    import h5py

    def read(item: Any) -> None:
        for key in item.attrs:
            item.attrs[key]
        # What lies in other files is refused later; to follow it here would open them.
        if isinstance(item, h5py.Dataset) and not (item.external or item.is_virtual):
            if item.nbytes <= MAX_DATASET_BYTES and item.dtype.kind in "fiub":
                item[()]

    try:
        with h5py.File(path, "r") as file:
            read(file)
            file.visititems(lambda name, item: read(item))
    except Exception as error:  # h5py raises RuntimeError, OSError, KeyError and more
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise BopkitError(
            f"{subject} does not load: {reason}", "The file is damaged or cut short: copy it again, or save it again."
        ) from error
