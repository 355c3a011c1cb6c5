"""Tables, vectors and numbers of a FlatBuffers file, each read only after a check that it lies within the file."""

from __future__ import annotations

import struct

import numpy as np


class FlatbufferReader:
    """Reads a file by positions, from its beginning: of tables, of their fields, and of what these hold.

    A position of 0 stands for a field that is left out. Every method raises ValueError where it would read beyond the
    file.

    Args:
        data: The file's content.
    """

    def __init__(self, data: bytes):
        self.data = data
        self.view = memoryview(data)

    def read(self, layout: str, position: int) -> int:
        """The number at a position; `layout` is of Python's `struct`, e.g. `<I`."""
        if not 0 <= position <= len(self.data) - struct.calcsize(layout):
            raise ValueError("it points outside the file")
        return struct.unpack_from(layout, self.data, position)[0]

    def target(self, position: int) -> int:
        """Where the offset at `position` leads."""
        return position + self.read("<I", position)

    def table_size(self, table: int) -> tuple[int, int]:
        """Position of a table's list of fields, and its size; the table itself lies in the file too."""
        vtable = table - self.read("<i", table)
        size, inline = self.read("<H", vtable), self.read("<H", vtable + 2)
        if size < 4 or size % 2 or vtable + size > len(self.data) or table + inline > len(self.data):
            raise ValueError("it points outside the file")
        return vtable, size

    def field(self, table: int, field: int, size: int) -> int:
        """Position of a field of `size` bytes; 0 where the table has none, so that its default holds."""
        vtable, vtable_size = self.table_size(table)
        slot = 4 + 2 * field  # two sizes of 16 bits come first
        offset = self.read("<H", vtable + slot) if slot < vtable_size else 0
        if offset and offset + size > self.read("<H", vtable + 2):
            raise ValueError("a field lies outside its table")
        return table + offset if offset else 0

    def integer(self, table: int, field: int, layout: str) -> int:
        """The number in a field; 0 where the table has none."""
        position = self.field(table, field, struct.calcsize(layout))
        return self.read(layout, position) if position else 0

    def tables(self, table: int, field: int) -> list[int]:
        """Positions of the tables in a vector."""
        position = self.field(table, field, 4)
        if not position:
            return []
        start = self.target(position) + 4
        return [self.target(start + 4 * index) for index in range(len(self.span(table, field, 4)) // 4)]

    def vector(self, table: int, field: int, dtype: str) -> np.ndarray:
        """The numbers in a vector, [n]; empty where the table has none."""
        return np.frombuffer(self.span(table, field, np.dtype(dtype).itemsize), dtype)

    def text(self, table: int, field: int) -> str:
        """A string; empty where the table has none."""
        return bytes(self.octets(table, field)).decode()

    def octets(self, table: int, field: int) -> memoryview:
        """The bytes of a string or of a vector of bytes; empty where the table has none."""
        return self.span(table, field, 1)

    def span(self, table: int, field: int, item_size: int) -> memoryview:
        """The bytes of a vector of items of `item_size` bytes; empty where the table has none."""
        position = self.field(table, field, 4)
        if not position:
            return self.view[:0]
        start = self.target(position) + 4
        end = start + item_size * self.read("<I", start - 4)
        if end > len(self.data):
            raise ValueError("it ends too early")
        return self.view[start:end]
