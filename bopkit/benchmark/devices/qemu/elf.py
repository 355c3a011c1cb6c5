"""Sections and symbols of 32-bit ELF files, as compilers for ARM write them."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

_SECTION = struct.Struct("<10I")
_SYMBOL = struct.Struct("<3I2BH")
_SYMBOL_TABLE = 2  # a section's type
_LOCAL = 0  # a symbol's binding
_VARIABLE, _FUNCTION, _FILE = 1, 2, 4  # a symbol's type


class Symbol(NamedTuple):
    """A function or a variable.

    Attributes:
        name: Its name.
        bytes: Its size.
        section: The section that it is in.
        is_global: Whether other files see it.
        source: Name of the file that it was compiled from; empty for global ones, for which ELF does not tell.
    """

    name: str
    bytes: int
    section: str
    is_global: bool
    source: str = ""


class Elf(NamedTuple):
    """What is in a file.

    Attributes:
        sections: Sizes in bytes by name.
        symbols: Functions and variables that it defines.
    """

    sections: dict[str, int]
    symbols: list[Symbol]


def read_elf(path: Path) -> Elf:
    """Read a file of our own compiler."""
    data = path.read_bytes()
    offset, size, count, names_index = struct.unpack_from("<I10x3H", data, 32)
    headers = [_SECTION.unpack_from(data, offset + size * index) for index in range(count)]
    names = [_text(data, headers[names_index][4] + header[0]) for header in headers]
    symbols = []
    for header in headers:
        if header[1] != _SYMBOL_TABLE:
            continue
        source = ""
        for at in range(header[4], header[4] + header[5], _SYMBOL.size):
            name_at, _, symbol_bytes, info, _, section = _SYMBOL.unpack_from(data, at)
            name = _text(data, headers[header[6]][4] + name_at)
            if info & 15 == _FILE:
                source = Path(name).name
            elif info & 15 in (_VARIABLE, _FUNCTION) and 0 < section < count:
                is_global = info >> 4 != _LOCAL
                symbols.append(Symbol(name, symbol_bytes, names[section], is_global, "" if is_global else source))
    return Elf({name: header[5] for name, header in zip(names, headers, strict=True)}, symbols)


def _text(data: bytes, at: int) -> str:
    return data[at : data.index(b"\0", at)].decode()
