"""Decoded pictures that stay in memory: the same batches, bit for bit, as reading and augmenting one by one."""

import numpy as np
import pytest

from bopkit.data import (
    BatchOptions,
    Dataset,
    DatasetFacts,
    evaluation_batches,
    get_preprocessing,
    kept_pixels,
    training_batches,
)
from bopkit.errors import BopkitError
from bopkit.keras2 import import_tensorflow


class Stored(Dataset):
    """Random pictures of one size, as PNG files; counts how often it is read."""

    picture_size = None
    reads = 0

    def __init__(self, shape, pictures=24, is_one_size=True):
        super().__init__(DatasetFacts("stored", 4, shape, "resize", "", {"train": pictures}), "abcd")
        rng = np.random.default_rng(0)
        encode = import_tensorflow().io.encode_png
        self.encoded = [encode(rng.integers(0, 256, shape, np.uint8)).numpy() for _ in range(pictures)]
        self.picture_size = shape[:2] if is_one_size else None

    def count(self, split):
        return len(self.encoded)

    def read(self, split):
        self.reads += 1
        labels = np.arange(len(self.encoded)) % 4
        return import_tensorflow().data.Dataset.from_tensor_slices((self.encoded, labels.astype(np.int64)))


def batches_of(dataset, name, shape, **options):
    preprocessing = get_preprocessing(name, shape)
    options = BatchOptions(**{"batch_size": 8, "steps_per_epoch": 3, "epochs": 3, "seed": 2**31 - 2, **options})
    return [each for batch in training_batches(dataset, "train", preprocessing, options) for each in batch]


def assert_same_without_keeping(monkeypatch, dataset, name, shape, **options):
    kept = batches_of(dataset, name, shape, **options)
    monkeypatch.setattr(kept_pixels, "MOST_KEPT_BYTES", 0)
    expected = batches_of(dataset, name, shape, **options)
    assert len(kept) == len(expected) > 0
    for found, wanted in zip(kept, expected, strict=True):
        assert found.dtype == wanted.dtype
        assert found.shape == wanted.shape
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("shape", [(16, 16, 3), (9, 9, 1), (7, 7, 1)])
@pytest.mark.parametrize("name", ["resize", "shift", "resize_and_flip"])
def test_kept_pictures_are_augmented_as_one_by_one(monkeypatch, name, shape):
    assert_same_without_keeping(monkeypatch, Stored(shape), name, shape)


def test_kept_pictures_resume_and_are_shared_out_as_one_by_one(monkeypatch):
    shape = (8, 8, 1)
    options = {"first_epoch": 1, "first_step": 2, "replicas": 4, "worker": 1, "workers": 2}
    assert_same_without_keeping(monkeypatch, Stored(shape), "resize_and_flip", shape, **options)


def test_pixels_that_are_not_encoded_and_not_square_are_kept(monkeypatch):
    tf = import_tensorflow()
    dataset = Stored((8, 24, 3))
    pixels = tf.data.Dataset.from_tensor_slices(dataset.encoded).map(tf.io.decode_png)
    labels = tf.data.Dataset.range(len(dataset.encoded))
    dataset.read = lambda split: tf.data.Dataset.zip(pixels.map(lambda each: tf.ensure_shape(each, (8, 24, 3))), labels)
    assert_same_without_keeping(monkeypatch, dataset, "resize_and_flip", (8, 24, 3))


def test_a_small_split_is_read_once_and_others_stay_as_they_are(monkeypatch):
    def is_kept(dataset, name, shape):
        return kept_pixels.keep_pixels(dataset, "train", get_preprocessing(name, shape), dataset.read("train"))

    small = Stored((8, 8, 1))
    batches_of(small, "shift", (8, 8, 1))
    assert small.reads == 1
    pixels, labels = is_kept(small, "shift", (8, 8, 1))
    assert (pixels.shape, labels.shape) == ((24, 8, 8, 1), (24,))
    assert is_kept(small, "shift", (16, 16, 1)) is None  # resized: float32
    assert is_kept(Stored((8, 8, 3)), "imagenet", (8, 8, 3)) is None
    assert is_kept(Stored((8, 8, 1), is_one_size=False), "shift", (8, 8, 1)) is None
    monkeypatch.setattr(kept_pixels, "MOST_KEPT_BYTES", 24 * 64 - 1)
    assert is_kept(small, "shift", (8, 8, 1)) is None


@pytest.mark.parametrize("name", ["resize", "shift:imagenet"])
def test_validation_pictures_are_decoded_once_and_stay_what_they_are(name):
    dataset, preprocessing = Stored((8, 8, 3)), get_preprocessing(name, (8, 8, 3))
    expected = list(evaluation_batches(dataset, "train", preprocessing, 7, worker=1, workers=2))
    repeated = evaluation_batches(dataset, "train", preprocessing, 7, worker=1, workers=2, is_repeated=True)
    first = list(repeated)
    for found in (first, list(repeated)):
        for (inputs, labels), (expected_inputs, expected_labels) in zip(found, expected, strict=True):
            np.testing.assert_array_equal(inputs, expected_inputs)
            np.testing.assert_array_equal(labels, expected_labels)


def test_a_damaged_picture_is_told_before_the_first_step():
    dataset = Stored((8, 8, 1))
    dataset.encoded[5] = b"no picture"
    with pytest.raises(BopkitError, match="contains a picture that is damaged"):
        batches_of(dataset, "shift", (8, 8, 1))
