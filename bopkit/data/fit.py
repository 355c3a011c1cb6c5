"""What a preprocessing takes from pictures, or adds to them, that nobody asked for: transparency, and enlargement."""

from __future__ import annotations

from typing import Any

import numpy as np

from bopkit.data.dataset import Dataset, readable
from bopkit.data.picture_formats import PictureHeader, header_of
from bopkit.data.preprocessing import Preprocessing

PICTURES = 100
"""Pictures of a split that are looked at, by their headers alone."""


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
    headers = [each for each in map(_header, pictures) if each is not None]
    small = [each for each in headers if preprocessing.enlarges(each.height, each.width)]
    clear = [each for each in headers if each.has_alpha]
    lines = []
    if clear:
        lines.append(f"{_share(clear, headers, split)} have transparency, which is dropped: colours behind it show")
    if small:
        smallest = min(small, key=lambda each: each.height * each.width)
        height, width, _ = preprocessing.input_shape
        lines.append(
            f"{_share(small, headers, split)} are scaled up to the network's {height} x {width} pixels; the smallest "
            f"has {smallest.height} x {smallest.width}"
        )
    return lines


def _header(picture: Any) -> PictureHeader | None:
    """Of an encoded picture (bytes) or of uint8 [h, w, c]; None of what is damaged."""
    if not isinstance(picture, np.ndarray):
        return header_of(picture)
    if picture.ndim != 3:
        return None
    height, width, channels = picture.shape
    return PictureHeader("", height, width, channels in (2, 4))


def _share(some: list[PictureHeader], of: list[PictureHeader], split: str) -> str:
    share = "all" if len(some) == len(of) else f"{len(some)}"
    return f"{share} of the first {len(of)} pictures of split {split}"
