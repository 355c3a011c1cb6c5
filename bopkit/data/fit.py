"""What a preprocessing takes from pictures, or adds to them, that nobody asked for: transparency, and enlargement."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from bopkit.data.dataset import Dataset, readable
from bopkit.data.picture_files import PNG_START
from bopkit.data.preprocessing import IMAGENET_CROP, Preprocessing, is_of_imagenet

PICTURES = 100
"""Pictures of a split that are looked at, by their headers alone."""

_JPEG = b"\xff\xd8"


class PictureFacts(NamedTuple):
    """Size in pixels as stored, and whether a picture brings transparency."""

    height: int
    width: int
    has_alpha: bool


def describe_fit(dataset: Dataset, split: str, preprocessing: Preprocessing) -> list[str]:
    """One line for each of the two that happens to the first pictures of a split; none where neither does.

    Args:
        dataset: An opened dataset.
        split: Its split.
        preprocessing: Makes the network's input of the pictures.

    Raises:
        BopkitError: The split cannot be read.
    """
    pictures = (image.numpy() for image, _ in readable(dataset.read(split).take(PICTURES), dataset, split))
    facts = [each for each in map(read_facts, pictures) if each is not None]
    small = [each for each in facts if _is_enlarged(each, preprocessing)]
    clear = [each for each in facts if each.has_alpha]
    lines = []
    if clear:
        lines.append(f"{_share(clear, facts, split)} have transparency, which is dropped: colours behind it show")
    if small:
        smallest = min(small, key=lambda each: each.height * each.width)
        height, width, _ = preprocessing.input_shape
        lines.append(
            f"{_share(small, facts, split)} are scaled up to the network's {height} x {width} pixels; the smallest has "
            f"{smallest.height} x {smallest.width}"
        )
    return lines


def read_facts(picture: Any) -> PictureFacts | None:
    """Facts of an encoded picture (bytes) or of uint8 [h, w, c]; None of what is neither JPEG nor PNG, or damaged."""
    if isinstance(picture, np.ndarray):
        if picture.ndim != 3:
            return None
        height, width, channels = picture.shape
        return PictureFacts(height, width, channels in (2, 4))
    if picture.startswith(PNG_START) and len(picture) >= 26:
        width, height = (int.from_bytes(picture[begin : begin + 4], "big") for begin in (16, 20))
        is_transparent = picture[25] in (4, 6) or b"tRNS" in picture[: picture.find(b"IDAT")]
        return PictureFacts(height, width, is_transparent)
    return _facts_of_jpeg(picture) if picture.startswith(_JPEG) else None


def _facts_of_jpeg(picture: bytes) -> PictureFacts | None:
    """From its frame header, which lies behind other segments."""
    place = 2
    while place + 9 <= len(picture) and picture[place] == 0xFF:
        marker, length = picture[place + 1], int.from_bytes(picture[place + 2 : place + 4], "big")
        if marker == 0xFF:  # a fill byte
            place += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = (int.from_bytes(picture[place + at : place + at + 2], "big") for at in (5, 7))
            return PictureFacts(height, width, has_alpha=False)
        place += 2 + length
    return None


def _is_enlarged(picture: PictureFacts, preprocessing: Preprocessing) -> bool:
    height, width, _ = preprocessing.input_shape
    if is_of_imagenet(preprocessing.name):  # of a square in the middle
        return round(IMAGENET_CROP * min(picture.height, picture.width)) < max(height, width)
    return picture.height < height or picture.width < width


def _share(some: list[PictureFacts], of: list[PictureFacts], split: str) -> str:
    share = "all" if len(some) == len(of) else f"{len(some)}"
    return f"{share} of the first {len(of)} pictures of split {split}"
