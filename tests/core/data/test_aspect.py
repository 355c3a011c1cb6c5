"""Preprocessings that keep the aspect of pictures: `crop` and `pad`, and what they do in training."""

import numpy as np
import pytest

from bopkit.data import get_preprocessing
from bopkit.keras2 import import_tensorflow

tf = import_tensorflow()
GENERATOR = np.random.default_rng(0)


def picture(height, width, channels=3):
    return GENERATOR.integers(1, 256, (height, width, channels), dtype=np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("shape", "size", "part"),
    [
        ((40, 80), (40, 40), np.s_[:, 20:60]),
        ((80, 40), (40, 40), np.s_[20:60, :]),
        ((40, 80), (20, 80), np.s_[10:30, :]),
        ((40, 80), (40, 10), np.s_[:, 35:45]),
        ((33, 47), (33, 47), np.s_[:, :]),
    ],
)
def test_the_middle_of_the_inputs_aspect_is_shown(shape, size, part, channels):
    image = picture(*shape, channels)
    crop = get_preprocessing("crop_and_flip:0..255", (*size, channels))
    np.testing.assert_array_equal(crop.evaluate(tf.constant(image)), image[part])


@pytest.mark.parametrize("channels", [1, 3])
def test_the_whole_picture_is_shown_between_black_bars(channels):
    image = picture(20, 40, channels)
    pad = get_preprocessing("pad:0..255", (40, 40, channels)).evaluate(tf.constant(image)).numpy()
    np.testing.assert_array_equal(pad[10:30], image)
    assert not pad[:10].any() and not pad[30:].any()
    smaller = get_preprocessing("pad_and_flip:0..255", (10, 60, channels)).evaluate(tf.constant(image)).numpy()
    np.testing.assert_allclose(smaller[:, 20:40].mean(), image.mean(), atol=2)  # antialiased: each pixel counts
    assert not smaller[:, :20].any() and not smaller[:, 40:].any()


@pytest.mark.parametrize("name", ["crop", "crop_and_flip"])
@pytest.mark.parametrize("size", [(24, 24), (16, 40)])
@pytest.mark.parametrize("channels", [1, 3])
def test_training_takes_windows_of_about_the_inputs_aspect(name, size, channels):
    """Of a picture whose values tell rows or columns, the window is read off what the network sees."""
    height, width = 200, 160
    rows, columns = np.mgrid[0:height, 0:width].astype(np.uint8)
    crop = get_preprocessing(f"{name}:0..255", (*size, channels))
    mirrored = set()
    for number in range(40):
        seed = tf.constant([7, number], tf.int64)
        seen = []
        for values in (rows, columns):
            image = tf.constant(np.repeat(values[..., None], channels, -1))
            pixels = crop.train(image, seed).numpy()[..., 0]
            np.testing.assert_array_equal(pixels, crop.train(image, seed).numpy()[..., 0])
            seen.append(pixels)
        tall = (seen[0][-1].mean() - seen[0][0].mean()) * size[0] / (size[0] - 1)
        wide = (seen[1][:, -1].mean() - seen[1][:, 0].mean()) * size[1] / (size[1] - 1)
        mirrored.add(bool(wide < 0))
        stretch = (abs(wide) / size[1]) / (tall / size[0])
        assert 0.7 < stretch < 1.43
    assert mirrored == ({False, True} if name.endswith("flip") else {False})


def test_a_window_of_an_encoded_picture_is_that_of_its_pixels():
    image = tf.constant(picture(90, 70))
    encoded = tf.io.encode_png(image)
    jpeg = tf.io.encode_jpeg(image, quality=100)
    for shape in ((32, 32, 3), (32, 20, 3)):
        crop = get_preprocessing("crop_and_flip", shape)
        seed = tf.constant([1, 2], tf.int64)
        np.testing.assert_array_equal(crop.train(encoded, seed), crop.train(image, seed))
        pixels = tf.io.decode_jpeg(jpeg, channels=3)
        np.testing.assert_allclose(crop.train(jpeg, seed), crop.train(pixels, seed), atol=0.02)


@pytest.mark.parametrize(
    ("name", "size", "is_enlarged"),
    [
        *[("crop", (32, 90), False), ("crop", (31, 90), True), ("pad", (31, 32), False), ("pad", (31, 31), True)],
        *[("resize", (31, 90), True), ("resize", (32, 32), False)],
    ],
)
def test_what_is_enlarged(name, size, is_enlarged):
    assert get_preprocessing(name, (32, 32, 3)).enlarges(*size) is is_enlarged


@pytest.mark.parametrize("name", ["pad", "pad_and_flip", "crop", "crop_and_flip", "resize", "imagenet"])
@pytest.mark.parametrize("size", [(1, 5000), (5000, 1), (1, 1)])
def test_pictures_of_any_shape_pass(name, size):
    preprocessing = get_preprocessing(name, (32, 32, 3))
    image = tf.constant(np.full((*size, 3), 255, np.uint8))
    for pixels in (preprocessing.evaluate(image), preprocessing.train(image, tf.constant([1, 2], tf.int64))):
        assert pixels.shape == (32, 32, 3) and np.isfinite(pixels).all() and pixels.numpy().max() > 0.9


def test_pictures_of_the_inputs_size_are_only_shifted():
    """As with `shift`, to the bit."""
    image = tf.constant(picture(28, 28, 1))
    for number in range(5):
        seed = tf.constant([3, number], tf.int64)
        shapes = ("pad", "shift"), ("pad_and_flip", "resize_and_flip")
        for pad, shift in shapes:
            expected = get_preprocessing(shift, (28, 28, 1)).train(image, seed)
            np.testing.assert_array_equal(get_preprocessing(pad, (28, 28, 1)).train(image, seed), expected)
