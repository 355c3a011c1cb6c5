"""Preprocessing of whole pictures: they are brought to the network's size, and shifted and mirrored for training.

In: a scalar string or uint8 [h, w, c]. Out: uint8 or float32 [H, W, C], 0 to 255.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from bopkit.data.decoding import decode
from bopkit.data.philox import are_below_half, integers, split_seeds
from bopkit.keras2 import import_tensorflow

Tensor = Any  # TensorFlow is imported inside the functions
InputShape = tuple[int, int, int]  # height, width, channels
PictureSize = tuple[int, int] | None  # height and width in pixels


@dataclasses.dataclass(frozen=True)
class Sizing:
    """Steps of a preprocessing that shows networks whole pictures.

    Attributes:
        pads: Whether a picture keeps its aspect, with black bars where it has another than the input; else it is
            stretched.
        shifts: Whether training pads by an eighth of the size on each side with black, then crops at random (32 px:
            40 px, then 32 px).
        mirrors: Whether training mirrors every second picture left to right.
    """

    pads: bool = False
    shifts: bool = False
    mirrors: bool = False

    augments_batches = True

    def prepare(self, image: Tensor, input_shape: InputShape, picture_size: PictureSize) -> Tensor:
        """Pixels of the input's size: uint8 where the picture is known to have that size, else float32."""
        tf = import_tensorflow()
        height, width, channels = input_shape
        pixels = decode(image, channels)
        if picture_size is not None and (image.dtype != tf.string or picture_size[0] == picture_size[1]):
            pixels = tf.ensure_shape(pixels, (*picture_size, channels))  # a JPEG that is turned may swap its sides
        if pixels.shape[:2] == (height, width):
            return pixels
        if self.pads:
            return _resized_with_bars(pixels, height, width)
        return tf.image.resize(pixels, [height, width])  # bilinear; the identity, bit for bit, at its own size

    def augment(self, image: Tensor, input_shape: InputShape, seed: Tensor, picture_size: PictureSize) -> Tensor:
        """A training picture: uint8 or float32 [H, W, C]."""
        tf = import_tensorflow()
        shift_seed, flip_seed = tf.unstack(tf.random.split(seed, 2)) if self.mirrors else (seed, None)
        pixels = self.prepare(image, input_shape, picture_size)
        if self.shifts:
            height, width, _ = input_shape
            padded = tf.pad(pixels, [[height // 8] * 2, [width // 8] * 2, [0, 0]])
            pixels = tf.image.stateless_random_crop(padded, input_shape, shift_seed)
        return tf.image.stateless_random_flip_left_right(pixels, flip_seed) if self.mirrors else pixels

    def augment_batch(self, pixels: Tensor, seeds: Tensor) -> Tensor:
        """What `augment` makes of many pictures of the input's size: uint8 [n, H, W, C], seeds int64 [n, 2]."""
        shift_seeds, flip_seeds = split_seeds(seeds) if self.mirrors else (seeds, None)
        if not self.shifts:
            assert not self.mirrors
            return pixels
        return _shifted(pixels, shift_seeds, None if flip_seeds is None else are_below_half(flip_seeds))

    def enlargement(self, height: int, width: int, input_shape: InputShape) -> float:
        """By what factor a picture of a size in pixels is enlarged: below 1 for one that is made smaller."""
        scales = input_shape[0] / height, input_shape[1] / width
        return min(scales) if self.pads else max(scales)


def _resized_with_bars(pixels: Tensor, height: int, width: int) -> Tensor:
    """The whole picture in its own aspect, as large as it goes, between black bars: float32 [height, width, c]."""
    tf = import_tensorflow()
    shape = tf.cast(tf.shape(pixels)[:2], tf.float32)
    scale = tf.reduce_min(tf.constant([height, width], tf.float32) / shape)
    rows, columns = tf.unstack(tf.clip_by_value(tf.cast(tf.round(shape * scale), tf.int32), 1, [height, width]))
    resized = tf.image.resize(pixels, [rows, columns], antialias=True)
    return tf.image.pad_to_bounding_box(resized, (height - rows) // 2, (width - columns) // 2, height, width)


def _shifted(pixels: Tensor, seeds: Tensor, are_mirrored: Tensor | None) -> Tensor:
    """Pictures shifted as `Sizing.augment` does, then those mirrored that a bool [n] says."""
    tf = import_tensorflow()
    height, width, channels = pixels.shape[1:]
    rows, columns = (
        draw[:, None] % (2 * (size // 8) + 1) - size // 8 + tf.range(size)
        for draw, size in zip(integers(seeds, 2), (height, width), strict=True)
    )
    if are_mirrored is not None:
        columns = tf.where(are_mirrored[:, None], columns[:, ::-1], columns)
    rows, columns = rows[:, :, None], columns[:, None, :]
    count = tf.shape(pixels)[0]
    first_rows = (tf.range(count) * height)[:, None, None]
    is_inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    black = count * height * width  # behind the last pixel
    places = tf.where(is_inside, (first_rows + rows) * width + columns, black)
    return tf.gather(tf.pad(tf.reshape(pixels, [-1, channels]), [[0, 1], [0, 0]]), places)
