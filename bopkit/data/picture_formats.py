"""Formats of picture files: what a header tells, and what TensorFlow would show otherwise than viewers do.

JPEG, PNG, BMP, GIF (its first frame) and WebP are decoded. What TensorFlow decodes without an error and wrongly, such
as a BMP with a palette, is refused by name, from the header alone.
"""

from __future__ import annotations

import io
import struct
from typing import BinaryIO, NamedTuple

JPEG_START, PNG_START = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
"""How files of the two formats begin that servers take."""

FORMATS = "JPEG, PNG, BMP, GIF or WebP"
"""The formats, in a sentence."""

BMP_BITS, BMP_UNCOMPRESSED = (24, 32), (0, 3)
"""Bits a pixel and kinds of compression (none, and bit fields) of BMP files that TensorFlow decodes as viewers do."""

NO_SUCH_BMP = "a BMP with a palette, or compressed, is not decoded"
"""What TensorFlow's error says of one that reached the decoder."""

END_BYTES = 64
"""Bytes at both ends of a file that tell whether it is whole."""

_OTHERS = ((0, b"II*\0", "TIFF"), (0, b"MM\0*", "TIFF"), (4, b"ftyp", "HEIC, AVIF or a film"), (0, b"<", "SVG or HTML"))
"""Formats that are not decoded: the place and the bytes by which each is known, and its name."""


class PictureHeader(NamedTuple):
    """What the header of a picture tells.

    Attributes:
        format: `JPEG`, `PNG`, `BMP`, `GIF` or `WebP`.
        height: In pixels, of the picture as it is seen: a camera may have stored it on its side.
        width: In pixels, likewise.
        has_alpha: Whether it brings transparency.
        is_grey: Whether all its colours are grey, as far as the header tells.
        problem: Why TensorFlow does not decode it as viewers show it; empty where it does.
    """

    format: str
    height: int
    width: int
    has_alpha: bool = False
    is_grey: bool = False
    problem: str = ""


def header_of(encoded: bytes) -> PictureHeader | None:
    """The header of an encoded picture; None where it is damaged or of another format."""
    return read_header(io.BytesIO(encoded))


def read_header(file: BinaryIO) -> PictureHeader | None:
    """The header of a picture file, open at its beginning; None where it is damaged or of another format."""
    head = file.read(END_BYTES)
    try:
        if head.startswith(JPEG_START):
            return _header_of_jpeg(file)
        if head.startswith(PNG_START):
            return _header_of_png(file, head)
        if head.startswith(b"BM"):
            return _header_of_bmp(head)
        if head.startswith((b"GIF87a", b"GIF89a")):
            return _header_of_gif(file, head)
        if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
            return _header_of_webp(head)
    except (IndexError, struct.error):  # it ends within its header
        pass
    return None


def seems_whole(head: bytes, tail: bytes, size_bytes: int, header: PictureHeader) -> bool:
    """Whether a picture file ends as its format says; one that does not is cut off, or has something behind it.

    Args:
        head: Its first `END_BYTES`, or all of a smaller one.
        tail: Its last ones.
        size_bytes: Of the file.
        header: Its own.
    """
    if header.format == "JPEG":
        return tail.rstrip(b"\0").endswith(b"\xff\xd9")
    if header.format == "PNG":
        return b"IEND\xaeB`\x82" in tail
    if header.format == "GIF":
        return tail.rstrip(b"\0").endswith(b";")
    (stated,) = struct.unpack("<I", head[4:8] if header.format == "WebP" else head[2:6])
    return bool(size_bytes >= stated + (8 if header.format == "WebP" else 0))


def refusal(header: PictureHeader | None, head: bytes) -> str:
    """Why a picture file is not decoded, as the end of a sentence about it; empty where its header speaks for it.

    Args:
        header: Its own; None where it is damaged or of another format.
        head: Its first `END_BYTES`, or more.
    """
    if header is not None:
        return f"is a {header.format} that is not decoded: {header.problem}" if header.problem else ""
    if not head:
        return "is empty"
    other = next((name for place, start, name in _OTHERS if head[place : place + len(start)] == start), "")
    return f"is {other}, which is not read" if other else f"is damaged, or no {FORMATS}"


def _header_of_jpeg(file: BinaryIO) -> PictureHeader | None:
    """From its frame header, which lies behind other segments. Source: ITU-T T.81, B.1 and B.2."""
    place = 2
    tiff: bytes | None = None
    may_bring_exif = True  # up to the first segment of the picture's own, as `bopkit.data.orientation` has it
    while True:
        file.seek(place)
        segment = file.read(10)
        if len(segment) < 10 or segment[0] != 0xFF:
            return None
        marker, length = segment[1], int.from_bytes(segment[2:4], "big")
        if marker == 0xFF:  # a fill byte
            place += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", segment[5:9])
            if tiff and _is_on_its_side(tiff):
                height, width = width, height
            return PictureHeader("JPEG", height, width, is_grey=segment[9] == 1)
        may_bring_exif &= 0xE0 <= marker <= 0xEF or marker == 0xFE
        if may_bring_exif and tiff is None and marker == 0xE1 and segment[4:] == b"Exif\0\0":
            tiff = file.read(length - 8)
        place += 2 + length


def _is_on_its_side(tiff: bytes) -> bool:
    """Whether the orientation that a TIFF structure notes swaps height and width; the rules are `orientation`'s."""
    order = {b"MM": ">", b"II": "<"}.get(tiff[:2])
    try:
        if order is None or struct.unpack_from(f"{order}H", tiff, 2) != (42,):
            return False
        (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
        (entries,) = struct.unpack_from(f"{order}H", tiff, directory)
        for place in range(directory + 2, directory + 2 + 12 * entries, 12):
            orientation_tag, short = 0x0112, 3
            *entry, value = struct.unpack_from(f"{order}HHIH", tiff, place)
            if entry == [orientation_tag, short, 1]:
                return bool(5 <= value <= 8)
    except struct.error:  # it ends before
        pass
    return False


def _header_of_png(file: BinaryIO, head: bytes) -> PictureHeader:
    """Source: ISO/IEC 15948, 11.2.2 and 11.3.2."""
    width, height, _, kind = struct.unpack(">IIBB", head[16:26])
    grey, palette, grey_alpha, colour_alpha = 0, 3, 4, 6
    has_alpha = kind in (grey_alpha, colour_alpha) or (kind in (grey, 2, palette) and _has_transparent_colour(file))
    return PictureHeader("PNG", height, width, has_alpha, is_grey=kind in (grey, grey_alpha))


def _has_transparent_colour(file: BinaryIO) -> bool:
    """Whether a PNG file names transparent colours, in a chunk in front of its pixels."""
    place = len(PNG_START)
    while True:
        file.seek(place)
        chunk = file.read(8)
        if len(chunk) < 8 or chunk[4:] in (b"IDAT", b"IEND"):
            return False
        if chunk[4:] == b"tRNS":
            return True
        place += 12 + int.from_bytes(chunk[:4], "big")


def _header_of_bmp(head: bytes) -> PictureHeader:
    """Source: Microsoft, BITMAPFILEHEADER and BITMAPINFOHEADER."""
    (header_bytes,) = struct.unpack("<I", head[14:18])
    if header_bytes < 40:
        width, height = struct.unpack("<HH", head[18:22])
        return PictureHeader("BMP", height, width, problem="its header is of OS/2")
    width, height, _, bits, compression = struct.unpack("<iiHHI", head[18:34])
    problem = ""
    if bits not in BMP_BITS:
        problem = f"it has {bits} bits a pixel, and not {' or '.join(map(str, BMP_BITS))}"
    elif compression not in BMP_UNCOMPRESSED:
        problem = "it is compressed"
    return PictureHeader("BMP", abs(height), abs(width), problem=problem)


def _header_of_gif(file: BinaryIO, head: bytes) -> PictureHeader:
    """Of the first frame. Source: CompuServe, GIF 89a specification, 18 to 26."""
    canvas, flags = head[6:10], head[10]
    place = 13 + _table_bytes(flags)
    has_alpha = False
    while True:
        file.seek(place)
        block = file.read(10)
        if block[0] == 0x2C:
            width, height = struct.unpack("<HH", block[5:9])
            fills = block[1:5] == bytes(4) and block[5:9] == canvas
            return PictureHeader(
                "GIF", height, width, has_alpha, problem="" if fills else "its first frame does not fill it"
            )
        if block[0] != 0x21:
            raise IndexError
        has_alpha |= block[1] == 0xF9 and bool(block[3] & 1)
        place += 2
        while True:  # sub-blocks of an extension, up to an empty one
            file.seek(place)
            (count,) = file.read(1)
            place += 1 + count
            if count == 0:
                break


def _table_bytes(flags: int) -> int:
    """Bytes of a colour table whose flags these are."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _header_of_webp(head: bytes) -> PictureHeader | None:
    """Source: Google, WebP container specification; RFC 6386, 9.1; WebP lossless bitstream specification, 3."""
    kind = head[12:16]
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(head[begin : begin + 3], "little") for begin in (24, 27))
        problem = "it is animated" if head[20] & 0x02 else ""
        return PictureHeader("WebP", height, width, bool(head[20] & 0x10), problem=problem)
    if kind == b"VP8L":
        (sizes,) = struct.unpack("<I", head[21:25])
        return PictureHeader("WebP", 1 + (sizes >> 14 & 0x3FFF), 1 + (sizes & 0x3FFF), bool(sizes >> 28 & 1))
    if kind == b"VP8 ":
        width, height = (size & 0x3FFF for size in struct.unpack("<HH", head[26:30]))
        return PictureHeader("WebP", height, width)
    return None
