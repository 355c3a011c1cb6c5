"""RandAugment: some operations on a picture, drawn at random, of one strength for all (Cubuk et al. 2019).

The operations are those of Keras-CV's layer: ten, and one that does nothing. They are written here because every draw
must depend on a picture's seed alone, which the layers of Keras and Keras-CV, with a generator of their own, cannot do.
Each does what the function of that name in Pillow does, shears and shifts by bilinear interpolation, black from
outside. arXiv 1909.13719.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bopkit.keras2 import import_tensorflow

Tensor = Any  # TensorFlow is imported inside the functions

MAX_MAGNITUDE = 10.0

STRENGTH_DEVIATION = 0.15
"""Standard deviation of an operation's strength, 0 to 1, about magnitude / 10; Keras-CV's default."""

MAX_BLEND = 0.9
"""Colour, contrast and brightness change by a factor of 1 - this to 1 + this."""

MAX_SHEAR = 0.3
"""Pixels across for one pixel down."""

MAX_SHIFT = 0.3
"""Of the picture's size."""

_STREAM = 0x52414E44  # tells these draws from those of the preprocessing, which has the same seed


def randaugment(pixels: Tensor, seed: Tensor, count: int, magnitude: float) -> Tensor:
    """Put a training picture through `count` operations.

    Args:
        pixels: uint8 or float32 [H, W, C], 0 to 255, one or three channels.
        seed: int64 [2]; the same seed draws the same operations.
        count: Operations; the same one may be drawn twice, or one that does nothing.
        magnitude: 0 to `MAX_MAGNITUDE`: mean strength of an operation.

    Returns:
        uint8 [H, W, C].
    """
    tf = import_tensorflow()
    if pixels.dtype != tf.uint8:
        pixels = tf.cast(tf.clip_by_value(pixels, 0.0, 255.0) + 0.5, tf.uint8)
    shape = pixels.shape
    seeds = tf.random.split(tf.random.fold_in(seed, tf.constant(_STREAM, tf.int64)), 3)
    chosen = tf.random.stateless_uniform([count], seeds[0], 0, len(OPERATIONS), tf.int32)
    spread = tf.random.stateless_normal([count], seeds[1], stddev=STRENGTH_DEVIATION)
    strengths = tf.clip_by_value(magnitude / MAX_MAGNITUDE + spread, 0.0, 1.0)
    signs = tf.cast(tf.random.stateless_uniform([count], seeds[2], 0, 2, tf.int32), tf.float32) * 2 - 1
    for place in range(count):
        strength, sign = strengths[place], signs[place]
        branches = [_branch(operation, pixels, strength, sign) for operation in OPERATIONS.values()]
        pixels = tf.switch_case(chosen[place], branches)
        pixels.set_shape(shape)
    return pixels


def _branch(operation: Callable, pixels: Tensor, strength: Tensor, sign: Tensor) -> Callable[[], Tensor]:
    return lambda: operation(pixels, strength, sign)


def _identity(pixels: Tensor, strength: Tensor, sign: Tensor) -> Tensor:
    return pixels


def _autocontrast(pixels: Tensor, strength: Tensor, sign: Tensor) -> Tensor:
    """Stretch each channel to 0 to 255."""
    tf = import_tensorflow()
    low, high = (tf.cast(reduce(pixels, axis=(0, 1)), tf.float64) for reduce in (tf.reduce_min, tf.reduce_max))
    scale = 255.0 / tf.maximum(high - low, 1.0)
    levels = tf.range(256, dtype=tf.float64)[:, None]
    stretched = tf.clip_by_value(levels * scale - low * scale, 0.0, 255.0)
    return _looked_up(pixels, tf.where(high > low, stretched, levels))


def _equalize(pixels: Tensor, strength: Tensor, sign: Tensor) -> Tensor:
    """Give each channel an even distribution of levels, as far as equal pixels stay equal."""
    tf = import_tensorflow()
    channels = pixels.shape[-1]
    places = tf.reshape(tf.cast(pixels, tf.int32) + tf.range(channels) * 256, [-1])
    counts = tf.reshape(tf.math.bincount(places, minlength=256 * channels, maxlength=256 * channels), [channels, 256])
    brightest = tf.cast(tf.reduce_max(pixels, axis=(0, 1)), tf.int32)
    of_brightest = tf.gather(counts, brightest, batch_dims=1)
    step = (tf.reduce_sum(counts, axis=1) - of_brightest) // 255
    darker = tf.cumsum(counts, axis=1, exclusive=True)
    table = (darker + (step // 2)[:, None]) // tf.maximum(step, 1)[:, None]
    table = tf.where((step > 0)[:, None], tf.minimum(table, 255), tf.range(256))
    return _looked_up(pixels, tf.transpose(table))


def _solarize(pixels: Tensor, strength: Tensor, sign: Tensor) -> Tensor:
    """Invert the pixels above a threshold: none of them at strength 0, all at 1."""
    tf = import_tensorflow()
    threshold = 256.0 * (1 - strength)
    return tf.where(tf.cast(pixels, tf.float32) < threshold, pixels, 255 - pixels)


def _colour(pixels: Tensor, strength: Tensor, sign: Tensor) -> Tensor:
    """Towards grey, or away from it."""
    return pixels if pixels.shape[-1] == 1 else _blended(_grey(pixels), pixels, strength, sign)


def _contrast(pixels: Tensor, strength: Tensor, sign: Tensor) -> Tensor:
    """Towards the mean grey, or away from it."""
    tf = import_tensorflow()
    grey = _grey(pixels)
    mean = tf.reduce_sum(grey) / tf.size(grey)
    return _blended(tf.cast(mean + 0.5, tf.int32), pixels, strength, sign)


def _brightness(pixels: Tensor, strength: Tensor, sign: Tensor) -> Tensor:
    """Towards black, or away from it."""
    tf = import_tensorflow()
    return _blended(tf.constant(0), pixels, strength, sign)


def _shear_x(pixels: Tensor, strength: Tensor, sign: Tensor) -> Tensor:
    """Shift each row the more the further it is from the middle one."""
    slope, (height, _, _) = MAX_SHEAR * strength * sign, pixels.shape
    return _transformed(pixels, [1.0, slope, -slope * (height - 1) / 2, 0.0, 1.0, 0.0])


def _shear_y(pixels: Tensor, strength: Tensor, sign: Tensor) -> Tensor:
    """Shift each column the more the further it is from the middle one."""
    slope, (_, width, _) = MAX_SHEAR * strength * sign, pixels.shape
    return _transformed(pixels, [1.0, 0.0, 0.0, slope, 1.0, -slope * (width - 1) / 2])


def _translate_x(pixels: Tensor, strength: Tensor, sign: Tensor) -> Tensor:
    return _transformed(pixels, [1.0, 0.0, MAX_SHIFT * strength * sign * pixels.shape[1], 0.0, 1.0, 0.0])


def _translate_y(pixels: Tensor, strength: Tensor, sign: Tensor) -> Tensor:
    return _transformed(pixels, [1.0, 0.0, 0.0, 0.0, 1.0, MAX_SHIFT * strength * sign * pixels.shape[0]])


OPERATIONS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "identity": _identity,
    "autocontrast": _autocontrast,
    "equalize": _equalize,
    "solarize": _solarize,
    "colour": _colour,
    "contrast": _contrast,
    "brightness": _brightness,
    "shear_x": _shear_x,
    "shear_y": _shear_y,
    "translate_x": _translate_x,
    "translate_y": _translate_y,
}
"""Each takes uint8 [H, W, C], its strength, float32 [] from 0 to 1, and a sign, -1 or 1, where it has two ways."""


def _grey(pixels: Tensor) -> Tensor:
    """Luminance, int32 [H, W, 1], with Pillow's weights and rounding."""
    tf = import_tensorflow()
    values = tf.cast(pixels, tf.int32)
    if pixels.shape[-1] == 1:
        return values
    red, green, blue = tf.split(values, 3, axis=-1)
    return (red * 19595 + green * 38470 + blue * 7471 + 0x8000) // 0x10000


def _blended(start: Tensor, pixels: Tensor, strength: Tensor, sign: Tensor) -> Tensor:
    """From `start`, int32, towards the pixels and beyond: the pixels at factor 1. Cut off as in Pillow, not rounded."""
    tf = import_tensorflow()
    factor = 1 + MAX_BLEND * strength * sign
    begin = tf.cast(start, tf.float32)
    blended = begin + factor * (tf.cast(pixels, tf.float32) - begin)
    return tf.cast(tf.clip_by_value(blended, 0.0, 255.0), tf.uint8)


def _looked_up(pixels: Tensor, table: Tensor) -> Tensor:
    """Each channel through its own column of `table` [256, C], cut off to whole levels."""
    tf = import_tensorflow()
    columns = tf.transpose(tf.cast(table, tf.uint8))  # [C, 256]
    by_channel = tf.transpose(tf.cast(pixels, tf.int32), [2, 0, 1])
    return tf.transpose(tf.gather(columns, by_channel, batch_dims=1), [1, 2, 0])


def _transformed(pixels: Tensor, rows: list[Any]) -> Tensor:
    """Take each pixel from where two rows of three numbers map its column and row to."""
    tf = import_tensorflow()
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(pixels, tf.float32)[None],
        transforms=tf.stack([*rows, 0.0, 0.0])[None],
        output_shape=pixels.shape[:2],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
    return tf.cast(moved[0] + 0.5, tf.uint8)
