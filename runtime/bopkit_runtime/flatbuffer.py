"""Check that a flatbuffer lies within its file. LiteRT 2.3 does that itself; up to 2.1 it crashes on a file cut short.

Only what every model has is followed: operators' own options, of more than a hundred kinds, are not looked into.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple, Union

# Fields of TensorFlow Lite's schema.fbs by their position: an int stands for a vector of elements of so many bytes, a
# Table for one table, a list for a vector of them.
_Kind = Union[int, "Table", list["Table"]]


class Table(NamedTuple):
    """The fields of a table that point elsewhere."""

    fields: dict[int, _Kind]


_TEXT = _BYTES = 1
_INTS = _FLOATS = 4
_LONGS = 8

_OPTIONS = Table({})
_QUANTIZATION = Table({0: _FLOATS, 1: _FLOATS, 2: _FLOATS, 3: _LONGS})
_TENSOR = Table({0: _INTS, 3: _TEXT, 4: _QUANTIZATION, 7: _INTS})
_OPERATOR = Table({1: _INTS, 2: _INTS, 4: _OPTIONS, 5: _BYTES, 7: _BYTES, 8: _INTS, 12: _OPTIONS})
_SUBGRAPH = Table({0: [_TENSOR], 1: _INTS, 2: _INTS, 3: [_OPERATOR], 4: _TEXT})
_TENSOR_NAME = Table({0: _TEXT})
_SIGNATURE = Table({0: [_TENSOR_NAME], 1: [_TENSOR_NAME], 2: _TEXT})
_OPERATOR_CODE = Table({1: _TEXT})
_BUFFER = Table({0: _BYTES})
_METADATA = Table({0: _TEXT})
_MODEL = Table({1: [_OPERATOR_CODE], 2: [_SUBGRAPH], 3: _TEXT, 4: [_BUFFER], 5: _INTS, 6: [_METADATA], 7: [_SIGNATURE]})


def is_whole(data: Any) -> bool:
    """Whether all that a model points at lies within `data`, bytes or a mapped file."""
    try:
        walk = _Walk(data)
        walk.table(walk.follow(0), _MODEL)
    except struct.error:  # raised for what lies outside
        return False
    return True


class _Walk:
    def __init__(self, data: Any) -> None:
        self._data = data
        # A table takes 8 bytes or more; one that is pointed at from everywhere would keep us busy for hours.
        self._tables_left = len(data) // 8

    def table(self, position: int, kind: Table) -> None:
        """Follow the fields of the table at `position`."""
        self._tables_left -= 1
        self._require(self._tables_left >= 0)
        layout = position - self._read("<i", position)
        layout_bytes, table_bytes = self._read("<H", layout), self._read("<H", layout + 2)
        self._require(layout_bytes >= 4 and layout + layout_bytes <= len(self._data))
        self._require(table_bytes >= 4 and position + table_bytes <= len(self._data))
        for number, field in kind.fields.items():
            entry = 4 + 2 * number
            start = self._read("<H", layout + entry) if entry + 2 <= layout_bytes else 0
            if start:
                self._field(self.follow(position + start), field)

    def follow(self, position: int) -> int:
        """Where the offset at `position` points."""
        return position + self._read("<I", position)

    def _field(self, target: int, kind: _Kind) -> None:
        if isinstance(kind, Table):
            self.table(target, kind)
            return
        count, first = self._read("<I", target), target + 4
        self._require(first + count * (4 if isinstance(kind, list) else kind) <= len(self._data))
        if isinstance(kind, list):
            for index in range(count):
                self.table(self.follow(first + 4 * index), kind[0])

    def _read(self, form: str, position: int) -> int:
        self._require(position >= 0)
        value: int = struct.unpack_from(form, self._data, position)[0]
        return value

    def _require(self, holds: bool) -> None:
        if not holds:
            raise struct.error
