"""Preprocessing: what happens to one picture on its way into a network.

In: a scalar string (an encoded JPEG, PNG, BMP, GIF or WebP) or uint8 [h, w, c], 0 to 255. Out: float32 [H, W, C].
Small pictures are scaled to -1 to 1; ImageNet's are normalised by mean and standard deviation (about -2.1 to 2.6). A
name with a range, as `resize:0..255`, scales as that says (`bopkit.data.scaling`). Training, evaluation and serving
share these functions, so that a served network sees what it was evaluated on. They use TensorFlow operations only and
trace into a SavedModel. Settings: the Bop paper's code (arXiv 1906.02107).
"""

from __future__ import annotations

import dataclasses
from typing import Any

from bopkit.data.cropping import Cropping
from bopkit.data.scaling import IMAGENET, UNIT_RANGE, Scaling, parse_scaling
from bopkit.data.sizing import PictureSize, Sizing
from bopkit.errors import UsageError, unknown_name

Tensor = Any  # TensorFlow is imported inside the functions
Array = Any  # of NumPy, which listing names and datasets need not import

SMALL_PICTURE_PX = 96
"""Longest side in pixels up to which a picture of an unknown dataset keeps its size."""

IMAGENET_INPUT = (224, 224, 3)


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
    _steps: Sizing | Cropping
    _scaling: Scaling

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
        pixels = self._steps.augment(image, self.input_shape, seed, picture_size)
        pixels.set_shape(self.input_shape)
        return pixels

    @property
    def augments_batches(self) -> bool:
        """Whether there is `augment_batch`."""
        return self._steps.augments_batches

    def pixels(self, image: Tensor, picture_size: PictureSize = None) -> Tensor:
        """Decode a picture and bring it to the input's size: `augment` without its augmentation."""
        pixels = self._steps.prepare(image, self.input_shape, picture_size)
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
        assert isinstance(self._steps, Sizing)
        return self._steps.augment_batch(pixels, seeds)

    def enlarges(self, height: int, width: int) -> bool:
        """Whether it enlarges pictures of a size in pixels."""
        return self._steps.enlargement(height, width, self.input_shape) > 1

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
    chosen, scaling = _PREPROCESSINGS[steps]
    if colon:
        scaling = parse_scaling(range_text, name, input_shape[2])
    return Preprocessing(name, tuple(input_shape), chosen, scaling)  # type: ignore[arg-type]


def is_of_imagenet(name: str) -> bool:
    """Whether a preprocessing, with or without a range, crops pictures as ImageNet's are."""
    return name.partition(":")[0] == "imagenet"


def preprocessing_names() -> list[str]:
    """Names that `--preprocess-fn` takes, besides `default`; each may have a range behind it."""
    return list(_PREPROCESSINGS)


_PREPROCESSINGS: dict[str, tuple[Sizing | Cropping, Scaling]] = {
    "resize": (Sizing(), UNIT_RANGE),
    "shift": (Sizing(shifts=True), UNIT_RANGE),
    "resize_and_flip": (Sizing(shifts=True, mirrors=True), UNIT_RANGE),
    "pad": (Sizing(pads=True, shifts=True), UNIT_RANGE),
    "pad_and_flip": (Sizing(pads=True, shifts=True, mirrors=True), UNIT_RANGE),
    "crop": (Cropping(kept=1.0, least_area=0.35, is_bicubic=False, mirrors=False), UNIT_RANGE),
    "crop_and_flip": (Cropping(kept=1.0, least_area=0.35, is_bicubic=False, mirrors=True), UNIT_RANGE),
    "imagenet": (Cropping(kept=224 / 256, least_area=0.08, is_bicubic=True, mirrors=True), IMAGENET),
}
