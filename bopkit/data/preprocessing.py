"""Preprocessing: what happens to one picture on its way into a network.

In: a scalar string (an encoded JPEG, PNG, BMP, GIF or WebP) or uint8 [h, w, c], 0 to 255. Out: float32 [H, W, C].
Small pictures are scaled to -1 to 1; ImageNet's are normalised by mean and standard deviation (about -2.1 to 2.6). A
name with a range, as `resize:0..255`, scales as that says (`bopkit.data.scaling`). Training, evaluation and serving
share these functions, so that a served network sees what it was evaluated on. They use TensorFlow operations only and
trace into a SavedModel. Settings: the Bop paper's code (arXiv 1906.02107).
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable
from typing import Any

from bopkit.data.orientation import turn_upright
from bopkit.data.philox import are_below_half, integers, split_seeds
from bopkit.data.picture_formats import BMP_BITS, BMP_UNCOMPRESSED, NO_SUCH_BMP, PNG_START
from bopkit.data.scaling import IMAGENET, UNIT_RANGE, Scaling, parse_scaling
from bopkit.errors import UsageError, unknown_name
from bopkit.keras2 import import_tensorflow

Tensor = Any  # TensorFlow is imported inside the functions
Array = Any  # of NumPy, which listing names and datasets need not import
PictureSize = tuple[int, int] | None  # height and width in pixels

SMALL_PICTURE_PX = 96
"""Longest side in pixels up to which a picture of an unknown dataset keeps its size."""

IMAGENET_INPUT = (224, 224, 3)
IMAGENET_CROP = 224 / 256
"""Share of the short side that the centre crop of an evaluation picture keeps."""


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """A named preprocessing for one input shape.

    Training runs in two stages, so that pictures wait and travel to the device as uint8, a quarter of float32's bytes:
    `augment` for one picture in the input pipeline, `finish` for a batch in the training step. `train` is both for one.

    Attributes:
        name: As users type it.
        input_shape: Height, width, channels of its output.
    """

    name: str
    input_shape: tuple[int, int, int]
    _augment: Callable[[Tensor, tuple[int, int, int], Tensor, PictureSize], Tensor]
    _prepare: Callable[[Tensor, tuple[int, int, int], PictureSize], Tensor]
    _scaling: Scaling
    _augment_batch: Callable[[Tensor, Tensor], Tensor] | None = None

    @property
    def value_range(self) -> tuple[float, float]:
        """Smallest and largest value of its output, but for what bicubic interpolation overshoots."""
        return self._scaling.value_range

    def augment(self, image: Tensor, seed: Tensor, picture_size: PictureSize = None) -> Tensor:
        """Decode a training picture, augment it and bring it to the input's size.

        Args:
            image: Scalar string (encoded) or uint8 [h, w, c].
            seed: int64 [2]; the same seed makes the same augmentation.
            picture_size: Height and width in pixels where all pictures share them: an encoded picture that already
                has the input's size then stays uint8. None where they differ or are not known.

        Returns:
            uint8 [H, W, C]; float32, 0 to 255, where bilinear interpolation brought it to its size.
        """
        pixels = self._augment(image, self.input_shape, seed, picture_size)
        pixels.set_shape(self.input_shape)
        return pixels

    @property
    def augments_batches(self) -> bool:
        """Whether there is `augment_batch`."""
        return self._augment_batch is not None

    def pixels(self, image: Tensor, picture_size: PictureSize = None) -> Tensor:
        """Decode a picture and bring it to the input's size: `augment` without its augmentation."""
        pixels = self._prepare(image, self.input_shape, picture_size)
        pixels.set_shape(self.input_shape)
        return pixels

    def augment_batch(self, pixels: Tensor, seeds: Tensor) -> Tensor:
        """Augment many pictures at once; the same bits as `augment`, one by one.

        Args:
            pixels: uint8 [n, H, W, C], as `pixels` makes them.
            seeds: int64 [n, 2], one a picture.

        Returns:
            uint8 [n, H, W, C].
        """
        assert self._augment_batch is not None
        return self._augment_batch(pixels, seeds)

    def finish(self, pixels: Tensor) -> Tensor:
        """Scale or normalise pixels: uint8 or float32 [..., H, W, C] to float32 [..., H, W, C]."""
        return self._scaling.apply(pixels)

    def train(self, image: Tensor, seed: Tensor) -> Tensor:
        """Preprocess and augment a training picture.

        Args:
            image: Scalar string (encoded) or uint8 [h, w, c].
            seed: int64 [2]; the same seed makes the same augmentation.

        Returns:
            float32 [H, W, C].
        """
        return self.finish(self.augment(image, seed))

    def evaluate(self, image: Tensor) -> Tensor:
        """Preprocess a picture for evaluation or serving.

        Args:
            image: Scalar string (encoded) or uint8 [h, w, c].

        Returns:
            float32 [H, W, C].
        """
        return self.finish(self.pixels(image))

    def to_pixels(self, inputs: Array) -> Array:
        """Undo `finish`, for showing.

        Args:
            inputs: NumPy float32 [..., H, W, C], as networks see it.

        Returns:
            NumPy uint8 [..., H, W, C], 0 to 255; what bicubic interpolation overshot is cut off.
        """
        return self._scaling.undo(inputs).round().clip(0, 255).astype("uint8")


def get_preprocessing(name: str, input_shape: tuple[int, int, int]) -> Preprocessing:
    """Return the preprocessing of that name for networks with that input shape.

    Args:
        name: One of `preprocessing_names()`, alone or with a range: `resize:0..255`, `imagenet:mean=0.5,std=0.25`.
        input_shape: Height, width, channels.

    Raises:
        UsageError: The name or the range is unknown, or it cannot make that number of channels.
    """
    steps, colon, range_text = name.partition(":")
    if steps not in _PREPROCESSINGS:
        raise unknown_name("preprocessing", steps, _PREPROCESSINGS, "bopkit data list")
    channels = (3,) if steps == "imagenet" else (1, 3)
    if input_shape[2] not in channels:
        others_fit = input_shape[2] in (1, 3)
        raise UsageError(
            f"Preprocessing {name} makes pictures of {' or '.join(map(str, channels))} channels, not {input_shape[2]}.",
            "Name another with --preprocess-fn." if others_fit else "`bopkit benchmark` without --dataset needs none.",
        )
    augment, prepare, scaling, augment_batch = _PREPROCESSINGS[steps]
    if colon:
        scaling = parse_scaling(range_text, name, input_shape[2])
    return Preprocessing(name, tuple(input_shape), augment, prepare, scaling, augment_batch)  # type: ignore[arg-type]


def is_of_imagenet(name: str) -> bool:
    """Whether a preprocessing, with or without a range, crops pictures as ImageNet's are."""
    return name.partition(":")[0] == "imagenet"


def preprocessing_names() -> list[str]:
    """Names that `--preprocess-fn` takes, besides `default`; each may have a range behind it."""
    return list(_PREPROCESSINGS)


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
    """False for a BMP whose numbers are places in a palette, or packed: TensorFlow would take them for colours."""
    tf = import_tensorflow()
    padded = tf.strings.substr(image, 0, 34) + bytes(34)
    bits, compression = tf.strings.substr(padded, 28, 2), tf.strings.substr(padded, 30, 4)
    is_plain = tf.reduce_any(bits == [struct.pack("<H", each) for each in BMP_BITS])
    is_plain &= tf.reduce_any(compression == [struct.pack("<I", each) for each in BMP_UNCOMPRESSED])
    return (tf.strings.substr(padded, 0, 2) != b"BM") | is_plain


def _sized(image: Tensor, input_shape: tuple[int, int, int], picture_size: PictureSize = None) -> Tensor:
    """Pixels of the input's size, 0 to 255: uint8 where the picture is known to have that size, else float32."""
    tf = import_tensorflow()
    height, width, channels = input_shape
    pixels = decode(image, channels)
    if picture_size is not None and (image.dtype != tf.string or picture_size[0] == picture_size[1]):
        pixels = tf.ensure_shape(pixels, (*picture_size, channels))  # a JPEG that is turned may swap its sides
    if pixels.shape[:2] == (height, width):
        return pixels
    return tf.image.resize(pixels, [height, width])  # bilinear; the identity, bit for bit, at the picture's own size


def _unaugmented(image: Tensor, input_shape: tuple[int, int, int], seed: Tensor, picture_size: PictureSize) -> Tensor:
    return _sized(image, input_shape, picture_size)


def _shift(image: Tensor, input_shape: tuple[int, int, int], seed: Tensor, picture_size: PictureSize) -> Tensor:
    """Pad by an eighth of the size on each side with black, then crop at random (32 px: 40 px, then 32 px)."""
    tf = import_tensorflow()
    height, width, _ = input_shape
    padding = [[height // 8] * 2, [width // 8] * 2, [0, 0]]
    padded = tf.pad(_sized(image, input_shape, picture_size), padding)
    return tf.image.stateless_random_crop(padded, input_shape, seed)


def _shift_and_flip(
    image: Tensor, input_shape: tuple[int, int, int], seed: Tensor, picture_size: PictureSize
) -> Tensor:
    tf = import_tensorflow()
    crop_seed, flip_seed = tf.unstack(tf.random.split(seed, 2))
    pixels = _shift(image, input_shape, crop_seed, picture_size)
    return tf.image.stateless_random_flip_left_right(pixels, flip_seed)


def _unaugmented_batch(pixels: Tensor, seeds: Tensor) -> Tensor:
    return pixels


def _shift_batch(pixels: Tensor, seeds: Tensor, are_mirrored: Tensor | None = None) -> Tensor:
    """What `_shift` makes of each picture, then those mirrored that a bool [n] says."""
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


def _shift_and_flip_batch(pixels: Tensor, seeds: Tensor) -> Tensor:
    crop_seeds, flip_seeds = split_seeds(seeds)
    return _shift_batch(pixels, crop_seeds, are_below_half(flip_seeds))


def _bicubic(pixels: Tensor, input_shape: tuple[int, int, int]) -> Tensor:
    tf = import_tensorflow()
    # The operation takes uint8 too and gives the same bits, but then converts each pixel every time that it reads it.
    return tf.image.resize(tf.cast(pixels, tf.float32), input_shape[:2], method=tf.image.ResizeMethod.BICUBIC)


def _rounded(pixels: Tensor) -> Tensor:
    """float32 to the nearest uint8; what bicubic interpolation overshot is cut off."""
    tf = import_tensorflow()
    return tf.cast(tf.clip_by_value(pixels, 0.0, 255.0) + 0.5, tf.uint8)


def _centre_window(shape: Tensor) -> Tensor:
    """The largest centred square, less its border: int32 [4], top, left, height, width."""
    tf = import_tensorflow()
    height, width = shape[0], shape[1]
    side = tf.cast(tf.round(IMAGENET_CROP * tf.cast(tf.minimum(height, width), tf.float32)), tf.int32)
    return tf.stack([(height - side + 1) // 2, (width - side + 1) // 2, side, side])


def _crop(pixels: Tensor, window: Tensor) -> Tensor:
    top, left, height, width = (window[i] for i in range(4))
    return pixels[top : top + height, left : left + width, :]


def _imagenet_prepare(image: Tensor, input_shape: tuple[int, int, int], picture_size: PictureSize) -> Tensor:
    tf = import_tensorflow()
    pixels = decode(image, 3)
    return _bicubic(_crop(pixels, _centre_window(tf.shape(pixels))), input_shape)


def _distorted_window(shape: Tensor, seed: Tensor) -> Tensor:
    """A random window of 8 to 100 % of the area and aspect 3:4 to 4:3, or after 10 misses the centre crop.

    Args:
        shape: int32 [3] of the picture.
        seed: int64 [2].

    Returns:
        int32 [4]: top, left, height, width.
    """
    tf = import_tensorflow()
    begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
        shape,
        bounding_boxes=tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
        seed=seed,
        min_object_covered=0.1,
        aspect_ratio_range=(3 / 4, 4 / 3),
        area_range=(0.08, 1.0),
        max_attempts=10,
    )
    window = tf.concat([begin[:2], size[:2]], axis=0)
    missed = tf.reduce_all(window[2:] == shape[:2])  # the op answers the whole picture after its last attempt
    return tf.where(missed, _centre_window(shape), window)


def _imagenet_augment(
    image: Tensor, input_shape: tuple[int, int, int], seed: Tensor, picture_size: PictureSize
) -> Tensor:
    tf = import_tensorflow()
    window_seed, flip_seed = tf.unstack(tf.random.split(seed, 2))

    def decode_window_of_jpeg() -> Tensor:
        window = _distorted_window(tf.io.extract_jpeg_shape(image), window_seed)  # as likely in a turned picture
        return turn_upright(tf.image.decode_and_crop_jpeg(image, window, channels=3), image)

    def decode_then_crop() -> Tensor:
        pixels = decode(image, 3)
        return _crop(pixels, _distorted_window(tf.shape(pixels), window_seed))

    if image.dtype == tf.string:
        pixels = tf.cond(tf.io.is_jpeg(image), decode_window_of_jpeg, decode_then_crop)
    else:
        pixels = decode_then_crop()
    return tf.image.stateless_random_flip_left_right(_rounded(_bicubic(pixels, input_shape)), flip_seed)


# Name: augment, prepare, scaling, augment a batch.
_PREPROCESSINGS: dict[str, tuple[Callable, Callable, Scaling, Callable | None]] = {
    "resize": (_unaugmented, _sized, UNIT_RANGE, _unaugmented_batch),
    "shift": (_shift, _sized, UNIT_RANGE, _shift_batch),
    "resize_and_flip": (_shift_and_flip, _sized, UNIT_RANGE, _shift_and_flip_batch),
    "imagenet": (_imagenet_augment, _imagenet_prepare, IMAGENET, None),
}
