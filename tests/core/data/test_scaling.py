"""The ranges that a user may name behind a preprocessing, for networks that say nothing of their own."""

import numpy as np
import pytest

from bopkit.data import get_preprocessing
from bopkit.errors import UsageError
from bopkit.keras2 import import_tensorflow

tf = import_tensorflow()

PIXELS = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
MEAN, STD = np.float64([0.485, 0.456, 0.406]), np.float64([0.229, 0.224, 0.225])
SCALED = {
    "resize:-1..1": PIXELS / 127.5 - 1,
    "resize:0..1": PIXELS / 255,
    "resize:0..255": PIXELS,
    "resize:-0.5..1.5": PIXELS / 127.5 - 0.5,
    "resize:imagenet": (PIXELS / 255 - MEAN) / STD,
    "resize:mean=0.485/0.456/0.406,std=0.229/0.224/0.225": (PIXELS / 255 - MEAN) / STD,
    "shift:mean=0.25,std=0.5/0.25/1": (PIXELS / 255 - 0.25) / [0.5, 0.25, 1],
}


@pytest.mark.parametrize("name", SCALED)
def test_pixels_become_what_the_name_says(name):
    preprocessing = get_preprocessing(name, (8, 8, 3))
    inputs = preprocessing.evaluate(tf.constant(PIXELS)).numpy()
    np.testing.assert_allclose(inputs, SCALED[name], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(preprocessing.to_pixels(inputs), PIXELS)
    ends = [preprocessing.finish(tf.fill((8, 8, 3), value)).numpy() for value in (0.0, 255.0)]
    assert preprocessing.value_range == pytest.approx((ends[0].min(), ends[1].max()), abs=1e-5)
    assert preprocessing.name == name


def test_the_crop_of_imagenet_takes_any_range():
    pixels = tf.constant(PIXELS.repeat(8, 0).repeat(8, 1))
    normalised, scaled = (get_preprocessing(name, (8, 8, 3)).evaluate(pixels) for name in ("imagenet", "imagenet:0..1"))
    np.testing.assert_allclose(normalised, (scaled - MEAN) / STD, atol=1e-5)


def test_grey_networks_take_single_numbers():
    inputs = get_preprocessing("resize:mean=0.5,std=0.25", (8, 8, 1)).evaluate(tf.constant(PIXELS[..., :1]))
    np.testing.assert_allclose(inputs, (PIXELS[..., :1] / 255 - 0.5) / 0.25, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resize:", "no range that is known.*resize:0..255"),
        ("resize:0-1", "no range that is known"),
        ("resize:0..", "no range that is known"),
        ("resize:0..inf", "no range that is known"),
        ("resize:1..0", "smaller to a larger"),
        ("resize:mean=0.5", "no range that is known"),
        ("resize:mean=a,std=1", "no range that is known"),
        ("resize:mean=127.5,std=127.5", "divide those of pixels from 0 to 255 by 255"),
        ("resize:mean=0.5,std=0", "above 0"),
        ("resize:mean=0.1/0.2,std=1", "takes 3 channels"),
        ("resise:0..1", "Did you mean 'resize'"),
    ],
)
def test_wrong_ranges_are_one_line(name, message):
    with pytest.raises(UsageError, match=message):
        get_preprocessing(name, (8, 8, 3))
    with pytest.raises(UsageError, match="for 3 channels, not 1"):
        get_preprocessing("resize:imagenet", (8, 8, 1))
