"""What is said of pictures with transparency, and of pictures that are smaller than the network's input."""

import numpy as np
import pytest

from bopkit.data import Dataset, DatasetFacts, get_preprocessing, open_dataset
from bopkit.data.catalogue import facts_of_pictures
from bopkit.data.decoding import decode
from bopkit.data.fit import describe_fit
from bopkit.export.pictures import real_pictures
from bopkit.keras2 import import_tensorflow

tf = import_tensorflow()


class Encoded(Dataset):
    """A dataset of these pictures, encoded or not."""

    def __init__(self, pictures):
        super().__init__(DatasetFacts("encoded", 2, (32, 32, 3), "resize", "test", {"test": len(pictures)}), "ab")
        self.pictures = pictures

    def count(self, split):
        return len(self.pictures)

    def read(self, split):
        return tf.data.Dataset.from_tensor_slices((self.pictures, tf.zeros(len(self.pictures), tf.int64)))


def png(height, width, channels):
    return tf.io.encode_png(np.zeros((height, width, channels), np.uint8)).numpy()


def jpeg(height, width, **options):
    return tf.io.encode_jpeg(np.zeros((height, width, 3), np.uint8), **options).numpy()


def test_lines_name_how_many_and_the_smallest():
    small_and_clear = [png(32, 32, 3), png(40, 31, 4), png(10, 20, 3), jpeg(64, 64), jpeg(31, 40)]
    resize = get_preprocessing("resize", (32, 32, 3))
    assert describe_fit(Encoded(small_and_clear), "test", resize) == [
        "1 of the first 5 pictures of split test have transparency, which is dropped: colours behind it show",
        "3 of the first 5 pictures of split test are scaled up to the network's 32 x 32 pixels; the smallest has "
        "10 x 20",
    ]
    assert describe_fit(Encoded([png(32, 32, 3), jpeg(64, 40), png(99, 99, 1)]), "test", resize) == []
    (line,) = describe_fit(open_dataset("digits"), "train", get_preprocessing("shift", (32, 32, 1)))
    assert line.startswith("all of the first 100 pictures of split train are scaled up") and line.endswith("has 8 x 8")
    assert describe_fit(open_dataset("digits"), "train", get_preprocessing("shift", (8, 8, 1))) == []


def test_imagenet_enlarges_what_is_small_after_its_crop():
    imagenet = get_preprocessing("imagenet", (224, 224, 3))
    (line,) = describe_fit(Encoded([jpeg(255, 400), jpeg(256, 300)]), "test", imagenet)
    assert line.startswith("1 of the first 2") and line.endswith("255 x 400")


@pytest.mark.parametrize(("channels", "seen"), [(2, 3), (4, 3), (2, 1), (4, 1)])
def test_transparency_of_pixels_is_dropped_as_that_of_files(channels, seen):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, channels), dtype=np.uint8)
    if channels == 2 or seen == 3:  # else TensorFlow's decoder makes grey in its own way
        expected = tf.io.decode_png(tf.io.encode_png(pixels), channels=seen)
        np.testing.assert_array_equal(decode(tf.constant(pixels), seen), expected)
    assert decode(tf.constant(pixels), seen).shape == (6, 5, seen)
    assert facts_of_pictures("clear", (6, 5, channels), 2, {}).input_shape == (6, 5, channels - 1)


def test_an_export_says_the_same(monkeypatch):
    monkeypatch.setattr("bopkit.export.pictures.open_dataset", lambda name, data_dir: Encoded([png(9, 9, 4)] * 3))
    first, second = real_pictures((32, 32, 3), None, "encoded", None, 3).fit
    assert "have transparency" in first and "are scaled up" in second
