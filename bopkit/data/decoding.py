"""Decoding: encoded pictures to pixels, as viewers show them.

In: a scalar string or uint8 [h, w, c], 0 to 255. Out: uint8 [h, w, 1 or 3]. TensorFlow operations only, which trace
into a SavedModel.
"""

from __future__ import annotations

from typing import Any

from bopkit.data.orientation import turn_upright
from bopkit.data.picture_formats import BMP_BITS, BMP_UNCOMPRESSED, NO_SUCH_BMP, PNG_START
from bopkit.keras2 import import_tensorflow

Tensor = Any  # TensorFlow is imported inside the functions


def decode(image: Tensor, channels: int) -> Tensor:
    """Decode an encoded picture, or take pixels as they are, with the wanted number of channels.

    A JPEG is turned as its Exif orientation says. Transparency is dropped, and of 16 bits of a PNG the upper eight are
    kept. Of a GIF the first frame is taken. Colours become grey by their luminance, and grey is repeated.

    Args:
        image: Scalar string (encoded) or uint8 [h, w, 1 to 4], a second or fourth channel being transparency.
        channels: 1 or 3.

    Returns:
        uint8 [h, w, channels].
    """
    tf = import_tensorflow()
    if image.dtype == tf.string:
        return turn_upright(_decode_as_stored(image, channels), image)
    if image.shape[-1] in (2, 4):
        image = image[..., :-1]
    if image.shape[-1] == 1 and channels == 3:
        return tf.image.grayscale_to_rgb(image)
    if image.shape[-1] == 3 and channels == 1:
        return tf.image.rgb_to_grayscale(image)
    return image


def _decode_as_stored(image: Tensor, channels: int) -> Tensor:
    tf = import_tensorflow()
    is_jpeg = tf.io.is_jpeg(image)
    is_png = tf.strings.substr(image, 0, len(PNG_START)) == PNG_START

    def decoded() -> Tensor:
        return tf.io.decode_image(image, channels=channels, expand_animations=False)

    def decoded_by_way_of_rgb() -> Tensor:
        """Of formats that are decoded to the channels that they have, three or four."""
        with tf.control_dependencies([tf.debugging.Assert(_is_bmp_without_palette(image), [NO_SUCH_BMP])]):
            pixels = tf.io.decode_image(image, expand_animations=False)[..., :3]
        return tf.image.rgb_to_grayscale(pixels) if channels == 1 else pixels

    if channels == 1:  # libjpeg makes no grey of the four inks of printers
        is_jpeg = tf.cond(is_jpeg, lambda: tf.io.extract_jpeg_shape(image)[2] != 4, lambda: False)
    pixels = tf.cond(is_jpeg | is_png, decoded, decoded_by_way_of_rgb)
    pixels.set_shape([None, None, channels])
    return pixels


def _is_bmp_without_palette(image: Tensor) -> Tensor:
    """False for a BMP whose numbers are places in a palette, or packed: TensorFlow would take them for colours.

    By patterns of the header's 34 bytes, since each operation more would be stored with every network that is exported.
    """
    tf = import_tensorflow()
    bits, compressions = ("|".join(rf"\x{value:02x}" for value in values) for values in (BMP_BITS, BMP_UNCOMPRESSED))
    header = tf.strings.substr(image, 0, 34)
    is_bmp = tf.strings.regex_full_match(header, r"BM\C*")
    return ~is_bmp | tf.strings.regex_full_match(header, rf"\C{{28}}({bits})\x00({compressions})\x00{{3}}")
