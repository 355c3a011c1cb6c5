"""Preprocessing of parts of pictures: the middle for evaluation, a random window for training.

Windows have about the aspect of the network's input, so that nothing is stretched. In: a scalar string or uint8
[h, w, c]. Out: float32 [H, W, C] for evaluation and uint8 for training, 0 to 255 but for what bicubic interpolation
overshoots.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from bopkit.data.decoding import decode
from bopkit.data.orientation import turn_upright
from bopkit.data.sizing import InputShape, PictureSize
from bopkit.keras2 import import_tensorflow

Tensor = Any  # TensorFlow is imported inside the functions


@dataclasses.dataclass(frozen=True)
class Cropping:
    """Steps of a preprocessing that shows networks parts of pictures.

    Attributes:
        kept: Share of the height and width of the largest window that evaluation keeps, in the middle.
        least_area: Smallest share of a picture's area that training takes; the largest is all of it.
        is_bicubic: Whether windows are resized by bicubic interpolation; else bilinear with antialiasing.
        mirrors: Whether training mirrors every second picture left to right.
    """

    kept: float
    least_area: float
    is_bicubic: bool
    mirrors: bool

    augments_batches = False

    def prepare(self, image: Tensor, input_shape: InputShape, picture_size: PictureSize) -> Tensor:
        """The window in the middle: float32 [H, W, C]."""
        tf = import_tensorflow()
        pixels = decode(image, input_shape[2])
        return self._resized(_crop(pixels, self._centre_window(tf.shape(pixels), input_shape)), input_shape)

    def augment(self, image: Tensor, input_shape: InputShape, seed: Tensor, picture_size: PictureSize) -> Tensor:
        """A random window, mirrored or not: uint8 [H, W, C]."""
        tf = import_tensorflow()
        window_seed, flip_seed = tf.unstack(tf.random.split(seed, 2)) if self.mirrors else (seed, None)
        height, width, channels = input_shape

        def decode_window_of_jpeg() -> Tensor:
            shape = tf.io.extract_jpeg_shape(image)
            window = self._random_window(shape, input_shape, window_seed)  # as likely in a turned picture
            return turn_upright(tf.image.decode_and_crop_jpeg(image, window, channels=3), image)

        def decode_then_crop() -> Tensor:
            pixels = decode(image, channels)
            return _crop(pixels, self._random_window(tf.shape(pixels), input_shape, window_seed))

        if image.dtype == tf.string and channels == 3 and height == width:
            pixels = tf.cond(tf.io.is_jpeg(image), decode_window_of_jpeg, decode_then_crop)
        else:
            pixels = decode_then_crop()
        pixels = _rounded(self._resized(pixels, input_shape))
        return tf.image.stateless_random_flip_left_right(pixels, flip_seed) if self.mirrors else pixels

    def enlargement(self, height: int, width: int, input_shape: InputShape) -> float:
        """By what factor the window of a picture of a size in pixels is enlarged: below 1 for a larger one."""
        window_height = round(self.kept * min(height, width * input_shape[0] / input_shape[1]))
        return input_shape[0] / max(window_height, 1)

    def _resized(self, pixels: Tensor, input_shape: InputShape) -> Tensor:
        tf = import_tensorflow()
        if not self.is_bicubic:
            return tf.image.resize(pixels, input_shape[:2], antialias=True)
        # The operation takes uint8 too, with the same bits, but then converts each pixel every time that it reads it.
        return tf.image.resize(tf.cast(pixels, tf.float32), input_shape[:2], method=tf.image.ResizeMethod.BICUBIC)

    def _centre_window(self, shape: Tensor, input_shape: InputShape) -> Tensor:
        """The largest centred window of the input's aspect, less its border: int32 [4], top, left, height, width."""
        tf = import_tensorflow()
        aspect = input_shape[1] / input_shape[0]
        height, width = shape[0], shape[1]
        largest_height = tf.minimum(tf.cast(height, tf.float32), tf.cast(width, tf.float32) / aspect)
        kept = [
            tf.clip_by_value(tf.cast(tf.round(self.kept * each), tf.int32), 1, side)
            for each, side in ((largest_height, height), (largest_height * aspect, width))
        ]
        return tf.stack([(height - kept[0] + 1) // 2, (width - kept[1] + 1) // 2, *kept])

    def _random_window(self, shape: Tensor, input_shape: InputShape, seed: Tensor) -> Tensor:
        """A random window of 3:4 to 4:3 times the input's aspect, or after 10 misses the one in the middle.

        Args:
            shape: int32 [3] of the picture.
            input_shape: Of the network.
            seed: int64 [2].

        Returns:
            int32 [4]: top, left, height, width.
        """
        tf = import_tensorflow()
        aspect = input_shape[1] / input_shape[0]
        begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
            shape,
            bounding_boxes=tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
            seed=seed,
            min_object_covered=0.1,
            aspect_ratio_range=(3 / 4 * aspect, 4 / 3 * aspect),
            area_range=(self.least_area, 1.0),
            max_attempts=10,
        )
        window = tf.concat([begin[:2], size[:2]], axis=0)
        missed = tf.reduce_all(window[2:] == shape[:2])  # the op answers the whole picture after its last attempt
        return tf.where(missed, self._centre_window(shape, input_shape), window)


def _crop(pixels: Tensor, window: Tensor) -> Tensor:
    top, left, height, width = (window[i] for i in range(4))
    return pixels[top : top + height, left : left + width, :]


def _rounded(pixels: Tensor) -> Tensor:
    """float32 to the nearest uint8; what bicubic interpolation overshot is cut off."""
    tf = import_tensorflow()
    return tf.cast(tf.clip_by_value(pixels, 0.0, 255.0) + 0.5, tf.uint8)
