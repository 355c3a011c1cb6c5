"""What a marshalled function does, told from its bytes: it is compared with functions that are known, and never run.

Keras stores the function of a `Lambda` layer as `marshal.dumps` wrote it. `marshal.loads` is not made for a stranger's
bytes, so the few parts that say what a function computes are read here. The opcodes are those of one version of Python,
so that one function has a digest for each.
"""

from __future__ import annotations

import hashlib

_INT_BYTES = 4
_HEADERS = (1 + 6 * _INT_BYTES, 1 + 5 * _INT_BYTES)
"""Bytes before the opcodes: the type and six numbers up to Python 3.10, five from 3.11 on."""

_REFERENCED = 0x80  # marshal's mark of an object that it may refer to later


def digests(data: bytes) -> set[str]:
    """What identifies the code of a function, whatever it is called and wherever it was written.

    Args:
        data: A code object, marshalled by Python 3.8 or later.

    Returns:
        SHA-256 of the number of arguments, the opcodes, the constants and the global names, one for each layout of a
        code object that the bytes can be read in; empty where it is none, or holds other constants than None and
        integers.
    """
    found = set()
    for start in _HEADERS:
        try:
            if chr(data[0] & ~_REFERENCED) == "c":
                parts, _ = _sequence(data, start, 3)
                found.add(hashlib.sha256(repr((_integer(data, 1), *parts)).encode()).hexdigest())
        except (ValueError, IndexError, RecursionError):
            continue
    return found


def _value(data: bytes, at: int) -> tuple[object, int]:
    """The value that begins at a place, and the place behind it."""
    kind = chr(data[at] & ~_REFERENCED)
    at += 1
    if kind == "N":
        return None, at
    if kind == "i":
        return _integer(data, at), at + _INT_BYTES
    if kind == ")":  # a tuple of less than 256
        return _sequence(data, at + 1, data[at])
    size, at = (data[at], at + 1) if kind in "zZ" else (_integer(data, at), at + _INT_BYTES)
    if kind not in "szZaAu" or not 0 <= size <= len(data) - at:
        raise ValueError("not a part of a small function")
    return data[at : at + size], at + size


def _sequence(data: bytes, at: int, count: int) -> tuple[tuple[object, ...], int]:
    values = []
    for _ in range(count):
        value, at = _value(data, at)
        values.append(value)
    return tuple(values), at


def _integer(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + _INT_BYTES], "little", signed=True)
