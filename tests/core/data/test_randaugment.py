"""RandAugment's operations against Pillow, and what a seed decides."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from bopkit.data import randaugment
from bopkit.keras2 import import_tensorflow

STRENGTH = 0.6


def pictures(channels):
    """A photograph-like picture, noise, a nearly empty one and one of a single colour: uint8 [13, 17, channels]."""
    rng = np.random.default_rng(0)
    slope = np.linspace(40, 190, 13)[:, None, None] + np.linspace(0, 50, 17)[None, :, None] * np.arange(1, channels + 1)
    sparse = np.zeros((13, 17, channels))
    sparse[4:9, 3:12] = rng.integers(60, 256, (5, 9, channels))
    noise = rng.integers(0, 256, (13, 17, channels))
    return [each.clip(0, 255).astype(np.uint8) for each in (slope, noise, sparse, np.full((13, 17, channels), 77))]


def applied(name, pixels, strength=STRENGTH, sign=1.0):
    tf = import_tensorflow()
    return randaugment.OPERATIONS[name](tf.constant(pixels), tf.constant(strength), tf.constant(sign)).numpy()


def as_pillow(name, image, sign):
    factor = 1 + randaugment.MAX_BLEND * np.float32(STRENGTH) * np.float32(sign)
    if name == "solarize":
        return ImageOps.solarize(image, 256 * (1 - STRENGTH))
    if name in ("autocontrast", "equalize"):
        return getattr(ImageOps, name)(image)
    enhance = {"colour": "Color", "contrast": "Contrast", "brightness": "Brightness"}
    return getattr(ImageEnhance, enhance[name])(image).enhance(float(factor)) if name in enhance else image


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.parametrize("name", [each for each in randaugment.OPERATIONS if each[-2:] not in ("_x", "_y")])
def test_colours_are_those_of_pillow(name, sign, channels):
    for pixels in pictures(channels):
        image = Image.fromarray(pixels if channels == 3 else pixels[..., 0])
        expected = np.asarray(as_pillow(name, image, sign)).reshape(pixels.shape)
        np.testing.assert_array_equal(applied(name, pixels, sign=sign), expected)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.parametrize("name", ["shear_x", "shear_y", "translate_x", "translate_y"])
def test_shears_and_shifts_are_those_of_pillow(name, sign):
    """Pillow repeats the outermost half pixel, so that pictures with a black border are compared."""
    shear, shift = randaugment.MAX_SHEAR * STRENGTH * sign, randaugment.MAX_SHIFT * STRENGTH * sign
    rows = {
        "shear_x": (1, shear, -shear * 13 / 2, 0, 1, 0),  # Pillow counts from a pixel's corner
        "shear_y": (1, 0, 0, shear, 1, -shear * 17 / 2),
        "translate_x": (1, 0, shift * 17, 0, 1, 0),
        "translate_y": (1, 0, 0, 0, 1, shift * 13),
    }
    for pixels in pictures(3):
        pixels[[0, -1]], pixels[:, [0, -1]] = 0, 0
        image = Image.fromarray(pixels)
        moved = image.transform(image.size, Image.Transform.AFFINE, rows[name], Image.Resampling.BILINEAR)
        expected = np.asarray(moved)
        assert np.abs(applied(name, pixels, sign=sign).astype(int) - expected).max() <= 1  # of rounding
    assert np.any(expected != pixels)


@pytest.mark.parametrize("name", randaugment.OPERATIONS)
def test_without_strength_a_picture_stays(name):
    if name not in ("autocontrast", "equalize"):
        for pixels in pictures(3):
            np.testing.assert_array_equal(applied(name, pixels, strength=0.0), pixels)


def test_a_seed_decides_all_and_each_operation_comes_as_often():
    tf = import_tensorflow()
    (_, pixels, *_), draw = pictures(1), tf.function(randaugment.randaugment)
    seeds = np.stack([np.full(330, 5), np.arange(330)], axis=1)
    drawn = [draw(tf.constant(pixels), tf.constant(seed), 1, 5.0).numpy() for seed in seeds]
    again = [randaugment.randaugment(tf.constant(pixels), tf.constant(seed), 1, 5.0).numpy() for seed in seeds[:5]]
    np.testing.assert_array_equal(drawn[:5], again)  # eager as traced
    unchanged = np.mean([np.array_equal(each, pixels) for each in drawn])
    assert unchanged == pytest.approx(3 / 11, abs=0.1)  # nothing, no colour in grey, full contrast already
    twice = draw(tf.constant(pixels), tf.constant(seeds[0]), 2, 5.0)
    assert twice.dtype == tf.uint8 and twice.shape == pixels.shape
