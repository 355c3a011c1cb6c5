"""Headers of gzip files: name and time, which say nothing of the content and yet are part of a file's checksum."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import BinaryIO

GZIP_TIMES_S = {
    "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84": 1504176606,  # train-images-idx3-ubyte.gz
    "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845": 1504176606,  # train-labels-idx1-ubyte.gz
    "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073": 1504176627,  # t10k-images-idx3-ubyte.gz
    "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5": 1504176627,  # t10k-labels-idx1-ubyte.gz
}
"""The time in the header of gzip files (seconds since 1970), by the SHA-256 of the whole file.

Debian's package of Fashion-MNIST has the files of its authors but for the header: name and time were taken out. With
both put back a file has its registered SHA-256 again, which is what shows that a time is right.
"""

_GZIP_MAGIC = b"\x1f\x8b\x08"
_HAS_NAME = 8  # the flags of a gzip header: RFC 1952, 2.3.1
_HAS_CHECKSUM, _HAS_EXTRA, _HAS_COMMENT = 2, 4, 16


def restore_header(path: Path, place: Path, name: str, time_s: int, size_bytes: int) -> bool:
    """Write a copy of a gzip file with another header, if it then has the size that the original had.

    Args:
        path: The file.
        place: Where the copy goes.
        name: The original's: its header has it without `.gz`.
        time_s: The time in the original's header, seconds since 1970.
        size_bytes: The original's.

    Returns:
        Whether there is a copy.
    """
    with open(path, "rb") as file:
        kept = _read_header(file)
        if kept is None:
            return False
        time = time_s.to_bytes(4, "little")
        header = _GZIP_MAGIC + bytes([_HAS_NAME]) + time + kept + name.removesuffix(".gz").encode() + b"\0"
        if len(header) + path.stat().st_size - file.tell() != size_bytes:
            return False
        with open(place, "wb") as restored:
            restored.write(header)
            shutil.copyfileobj(file, restored)
    return True


def _read_header(file: BinaryIO) -> bytes | None:
    """Read up to the compressed bytes; the two bytes of the header that say how they were made, None if it is none."""
    start = file.read(10)
    if len(start) < 10 or not start.startswith(_GZIP_MAGIC):
        return None
    flags = start[3]
    if flags & _HAS_EXTRA:
        file.read(int.from_bytes(file.read(2), "little"))
    for flag in (_HAS_NAME, _HAS_COMMENT):
        while flags & flag and file.read(1) not in (b"\0", b""):
            pass
    if flags & _HAS_CHECKSUM:
        file.read(2)
    return start[8:]
