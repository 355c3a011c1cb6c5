"""The orientation that a camera notes in a JPEG: read from the encoded picture, and applied to its pixels.

In: a scalar string. Cameras store pictures as the sensor lies and note in an Exif segment how to turn them; viewers
do so, TensorFlow's decoders do not. Stock operations only, which trace into a SavedModel. Source: CIPA DC-008 (Exif
2.32), 4.5 and 4.6; ITU-T T.81, B.1.1.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from bopkit.keras2 import import_tensorflow

Tensor = Any  # TensorFlow is imported inside the functions

UPRIGHT = 1
"""The orientation of a picture that is stored as it is seen; also of one that notes none."""

_START_BYTES = 2  # of the file: the marker SOI
_MARKER_BYTES = 2  # of a segment; its length follows, which counts itself and what comes after
_SEGMENT_HEAD = 10  # marker, length, `Exif\0\0`
_ENTRY_BYTES = 12  # of a TIFF directory: tag, type, count, value
_ORIENTATION_TAG, _SHORT = 0x0112, 3
_EXIF = tuple(b"Exif\0\0")


def exif_orientation(encoded: Tensor) -> Tensor:
    """The orientation that an encoded picture notes.

    Args:
        encoded: Scalar string; of another format than JPEG it is upright.

    Returns:
        int32 [], 1 to 8; 1 where there is none, or its note is damaged.
    """
    tf = import_tensorflow()

    def goes_on(at: Tensor, head: Tensor) -> Tensor:
        """Whether this is a segment of an application or a comment: Exif's comes among these, before the picture's."""
        marker = head[1]
        is_passed = ((marker >= 0xE0) & (marker <= 0xEF)) | (marker == 0xFE) | (marker == 0xFF)
        return (head[0] == 0xFF) & is_passed & ~_is_exif(head)

    def next_segment(at: Tensor, head: Tensor) -> tuple[Tensor, Tensor]:
        step = tf.where(head[1] == 0xFF, 1, _MARKER_BYTES + head[2] * 256 + head[3])  # a marker may be filled up by FF
        return at + step, _bytes(encoded, at + step, _SEGMENT_HEAD)

    start = tf.where(tf.io.is_jpeg(encoded), _START_BYTES, tf.strings.length(encoded))
    at, head = tf.while_loop(goes_on, next_segment, (start, _bytes(encoded, start, _SEGMENT_HEAD)))

    def orientation_of_segment() -> Tensor:
        return _orientation_of_tiff(_part(encoded, at + _SEGMENT_HEAD, head[2] * 256 + head[3] - len(_EXIF) - 2))

    return tf.cond(_is_exif(head), orientation_of_segment, lambda: UPRIGHT)


def turn_upright(pixels: Tensor, encoded: Tensor) -> Tensor:
    """Turn a decoded picture, or a crop of one, as the encoded one's orientation says.

    Args:
        pixels: [h, w, c], as stored.
        encoded: Scalar string, which they were decoded from.

    Returns:
        [h, w, c], or [w, h, c] from orientation 5 on: as it is to be seen.
    """
    tf = import_tensorflow()
    channels = pixels.shape[-1]
    upright = tf.cond(_may_be_turned(encoded), lambda: _noted_turn()(pixels, encoded), lambda: pixels)
    upright.set_shape([None, None, channels])
    return upright


def _may_be_turned(encoded: Tensor) -> Tensor:
    """False for most pictures: a JPEG whose tables follow on the JFIF segment, or another format.

    Walking through segments takes a quarter of a millisecond, more than many pictures take to decode; this does not.
    """
    tf = import_tensorflow()
    start = tf.strings.substr(encoded, 0, 22)
    padded = start + bytes(22)
    is_plain_jfif = (tf.strings.substr(padded, 2, 4) == b"\xff\xe0\x00\x10") & (
        tf.strings.substr(padded, 20, 2) == b"\xff\xdb"
    )
    return tf.io.is_jpeg(encoded) & ~is_plain_jfif


@functools.cache
def _noted_turn() -> Callable[[Tensor, Tensor], Tensor]:
    """A tf.function of its own: inlined, its operations cost also a picture for which they do not run 0.1 ms."""
    tf = import_tensorflow()
    signature = [tf.TensorSpec([None, None, None], tf.uint8), tf.TensorSpec([], tf.string)]

    @tf.function(input_signature=signature, autograph=False, experimental_attributes={"_noinline": True})
    def noted_turn(pixels: Tensor, encoded: Tensor) -> Tensor:
        return _turned(pixels, exif_orientation(encoded))

    return noted_turn


def _turned(pixels: Tensor, orientation: Tensor) -> Tensor:
    tf = import_tensorflow()
    swapped = tf.cond(orientation >= 5, lambda: tf.transpose(pixels, [1, 0, 2]), lambda: pixels)
    # Of the swapped picture: whether it is to be mirrored upside down, and left to right.
    flips = tf.gather([[0, 0], [0, 1], [1, 1], [1, 0], [0, 0], [0, 1], [1, 1], [1, 0]], orientation - 1)
    return tf.reverse(swapped, tf.boolean_mask([0, 1], flips == 1))


def _is_exif(head: Tensor) -> Tensor:
    tf = import_tensorflow()
    return (head[0] == 0xFF) & (head[1] == 0xE1) & tf.reduce_all(head[4:] == _EXIF)


def _orientation_of_tiff(tiff: Tensor) -> Tensor:
    """The orientation in the first directory of a TIFF structure, scalar string; 1 where it has none."""
    tf = import_tensorflow()
    head = _bytes(tiff, 0, 8)
    is_big, is_little = (tf.reduce_all(head[:2] == tuple(order)) for order in (b"MM", b"II"))

    def number(values: Tensor) -> Tensor:
        """The numbers that the last dimension holds the bytes of."""
        ordered = tf.where(is_big, values, tf.reverse(values, [-1]))
        places = tf.constant([256**place for place in reversed(range(values.shape[-1]))], tf.int64)
        return tf.reduce_sum(tf.cast(ordered, tf.int64) * places, -1)

    length = tf.cast(tf.strings.length(tiff), tf.int64)
    directory = tf.cast(tf.minimum(number(head[4:]), length), tf.int32)
    entries = tf.maximum(tf.cast(number(_bytes(tiff, directory, 2)), tf.int32), 1)
    table = tf.reshape(_bytes(tiff, directory + 2, entries * _ENTRY_BYTES), [-1, _ENTRY_BYTES])
    tags, types, counts, values = (number(table[:, a:b]) for a, b in ((0, 2), (2, 4), (4, 8), (8, 10)))
    found = tf.boolean_mask(values, (tags == _ORIENTATION_TAG) & (types == _SHORT) & (counts == 1))
    orientation = tf.cast(tf.concat([found, [UPRIGHT]], 0)[0], tf.int32)
    is_sound = (is_big | is_little) & (number(head[2:4]) == 42) & (orientation >= 1) & (orientation <= 8)
    return tf.where(is_sound, orientation, UPRIGHT)


def _bytes(text: Tensor, at: Tensor | int, count: Tensor | int) -> Tensor:
    """Bytes of a scalar string as int32 [count]; zeros beyond its end."""
    tf = import_tensorflow()
    values = tf.io.decode_raw(_part(text, at, count), tf.uint8, fixed_length=count)
    return tf.cast(tf.ensure_shape(values, [count if isinstance(count, int) else None]), tf.int32)


def _part(text: Tensor, at: Tensor | int, count: Tensor | int) -> Tensor:
    """So many bytes of a scalar string, fewer where it ends before."""
    tf = import_tensorflow()
    return tf.strings.substr(text, tf.minimum(at, tf.strings.length(text)), tf.maximum(count, 0))
