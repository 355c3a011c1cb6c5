"""Random erasing: a rectangle of a training picture is painted over with one random colour.

Zhong et al. 2017, arXiv 1708.04896, with their smallest area and range of aspects, and one colour in place of noise.
"""

from __future__ import annotations

import math
from typing import Any

from bopkit.data.philox import uniform
from bopkit.keras2 import import_tensorflow

Tensor = Any  # TensorFlow is imported inside the functions

STREAM = 2
"""Of the random numbers: whether, area, aspect, place and colour."""

AREA = (0.02, 1 / 3)
"""Share of the picture that is painted over."""

ASPECT = (0.3, 1 / 0.3)
"""Height to width of the rectangle; evenly distributed on a logarithmic scale."""


def erase(pixels: Tensor, seeds: Tensor, probability: float) -> Tensor:
    """Paint over a rectangle of some pictures of a batch.

    Args:
        pixels: uint8 or float32 [n, H, W, C], 0 to 255.
        seeds: int64 [n, 2]; the same seed erases the same.
        probability: Share of the pictures, 0 to 1.

    Returns:
        As `pixels`.
    """
    tf = import_tensorflow()
    height, width, channels = pixels.shape[1:]
    draws = uniform(seeds, STREAM, 5 + channels)
    is_erased = draws[:, 0] < probability
    area = (AREA[0] + draws[:, 1] * (AREA[1] - AREA[0])) * (height * width)
    low, high = map(math.log, ASPECT)
    aspect = tf.exp(low + draws[:, 2] * (high - low))
    rows = _within(tf.sqrt(area * aspect), draws[:, 3], height)
    columns = _within(tf.sqrt(area / aspect), draws[:, 4], width)
    is_inside = (rows[:, :, None] & columns[:, None, :] & is_erased[:, None, None])[..., None]
    colour = tf.cast(tf.floor(draws[:, None, None, 5:] * 256), pixels.dtype)
    return tf.where(is_inside, colour, pixels)


def _within(side: Tensor, place: Tensor, size_px: int) -> Tensor:
    """Bool [n, size]: which rows, or columns, a rectangle of that side takes; one that is longer takes all of them."""
    tf = import_tensorflow()
    side = tf.clip_by_value(tf.round(side), 1, size_px)
    begin = tf.floor(place * (size_px - side + 1))
    index = tf.range(size_px, dtype=tf.float32)
    return (index >= begin[:, None]) & (index < (begin + side)[:, None])
