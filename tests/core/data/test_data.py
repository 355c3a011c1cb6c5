"""Digits, preprocessing and input pipelines."""

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from forks import ForkedPython, run_python

from bopkit.data import (
    BatchOptions,
    Dataset,
    DatasetFacts,
    evaluation_batches,
    get_preprocessing,
    list_datasets,
    open_dataset,
    readable,
    reading,
    training_batches,
)
from bopkit.data.catalogue import facts_of_pictures
from bopkit.data.preprocessing import preprocessing_names
from bopkit.errors import BopkitError, UsageError
from bopkit.keras2 import import_tensorflow


def test_digits_splits_are_fixed_stratified_and_disjoint():
    digits = open_dataset("digits")
    train, train_labels = digits.arrays("train")
    test, test_labels = digits.arrays("test")
    assert {"train": len(train), "test": len(test)} == digits.facts.pictures
    assert len(train) + len(test) == 1797
    shares = np.bincount(test_labels) / (np.bincount(test_labels) + np.bincount(train_labels))
    assert np.all(np.abs(shares - 0.2) < 0.01)
    first, last = digits.count("train[:90%]"), digits.count("train[90%:]")
    assert first + last == len(train)
    np.testing.assert_array_equal(digits.arrays("train[90%:]")[0], train[first:])
    # The sums pin the split: a change of it would make accuracies incomparable.
    assert (int(train.sum()), int(test.sum())) == (DIGITS_TRAIN_SUM, DIGITS_TEST_SUM)


DIGITS_TRAIN_SUM, DIGITS_TEST_SUM = 7_143_742, 1_810_059


@pytest.mark.parametrize("split", ["val", "train[:50.5%]", "train[:90%", ""])
def test_digits_refuse_unknown_splits(split):
    with pytest.raises(UsageError, match="no split"):
        open_dataset("digits").count(split)


@pytest.mark.parametrize("name", preprocessing_names())
@pytest.mark.parametrize("channels", [1, 3])
def test_preprocessing_is_the_same_eager_traced_and_from_pixels_or_bytes(name, channels):
    tf = import_tensorflow()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 52, channels), dtype=np.uint8)
    png = tf.io.encode_png(pixels)
    preprocessing = get_preprocessing(name, (32, 32, 3 if name == "imagenet" else channels))
    expected = preprocessing.evaluate(tf.constant(pixels)).numpy()
    assert expected.shape == preprocessing.input_shape
    assert expected.dtype == np.float32
    low, high = preprocessing.value_range
    overshoot = 0.3 if name == "imagenet" else 0  # bicubic interpolation overshoots
    assert low - overshoot * (high - low) <= expected.min() < expected.max() <= high + overshoot * (high - low)
    np.testing.assert_array_equal(preprocessing.evaluate(png), expected)
    traced = tf.data.Dataset.from_tensors(png).map(preprocessing.evaluate)
    np.testing.assert_array_equal(next(iter(traced)), expected)


@pytest.mark.parametrize("name", ["resize", "shift", "resize_and_flip"])
def test_evaluation_at_the_pictures_own_size_only_scales(name):
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    tf = import_tensorflow()
    output = get_preprocessing(name, (32, 32, 3)).evaluate(tf.constant(pixels))
    np.testing.assert_array_equal(output, pixels.astype(np.float32) / np.float32(127.5) - 1)


def test_shift_crops_a_padded_picture_and_flip_mirrors_half_of_them():
    tf = import_tensorflow()
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    padded = np.full((40, 40, 3), -1, np.float32)
    padded[4:36, 4:36] = pixels.astype(np.float32) / np.float32(127.5) - 1
    crops = [padded[top : top + 32, left : left + 32] for top in range(9) for left in range(9)]
    mirrored = 0
    for seed in range(40):
        output = get_preprocessing("resize_and_flip", (32, 32, 3)).train(tf.constant(pixels), [seed, 1]).numpy()
        straight = any(np.array_equal(output, crop) for crop in crops)
        mirrored += not straight
        assert straight or any(np.array_equal(output[:, ::-1], crop) for crop in crops)
    assert 8 < mirrored < 32


def test_imagenet_evaluation_is_the_centre_crop_resized_and_normalised():
    tf = import_tensorflow()
    pixels = np.random.default_rng(0).integers(0, 256, (256, 320, 3), dtype=np.uint8)
    output = get_preprocessing("imagenet", (224, 224, 3)).evaluate(tf.constant(pixels)).numpy()
    crop = pixels[16:240, 48:272].astype(np.float32)  # 224 of 256: bicubic at its own size is the identity
    mean, std = np.float32([0.485, 0.456, 0.406]) * 255, np.float32([0.229, 0.224, 0.225]) * 255
    np.testing.assert_allclose(output, (crop - mean) / std, atol=1e-4)


def test_jpeg_window_decoding_equals_cropping_the_pixels():
    """Training decodes only a window of a JPEG; a PNG of the same picture must give nearly the same input."""
    tf = import_tensorflow()
    rows, columns = np.mgrid[0:120, 0:160]
    pixels = np.stack([rows, columns, rows + columns], -1).astype(np.uint8)
    jpeg = tf.io.encode_jpeg(pixels, quality=100, chroma_downsampling=False)
    decoded = tf.io.decode_jpeg(jpeg)
    preprocessing = get_preprocessing("imagenet", (64, 64, 3))
    for seed in range(5):
        from_jpeg = preprocessing.train(jpeg, [seed, 7]).numpy()
        from_pixels = preprocessing.train(decoded, [seed, 7]).numpy()
        assert np.mean(np.abs(from_jpeg - from_pixels)) < 0.02


def test_imagenet_training_pixels_are_the_nearest_uint8(monkeypatch):
    tf = import_tensorflow()
    pixels = tf.constant(np.random.default_rng(0).choice([0, 255], (48, 64, 3)).astype(np.uint8))
    augment = get_preprocessing("imagenet", (32, 32, 3)).augment
    found = augment(pixels, [0, 1])
    monkeypatch.setattr("bopkit.data.cropping._rounded", lambda pixels: pixels)
    unrounded = augment(pixels, [0, 1]).numpy()
    assert found.dtype == tf.uint8
    assert unrounded.min() < 0 and unrounded.max() > 255  # bicubic interpolation overshoots
    np.testing.assert_allclose(np.float64(found), unrounded.clip(0, 255), atol=0.5001)


def batches_of(dataset, preprocessing, first_epoch, epochs, seed=3, cache=None, **others):
    options = BatchOptions(
        batch_size=32, steps_per_epoch=4, seed=seed, first_epoch=first_epoch, epochs=epochs, **others
    )
    batches = training_batches(dataset, "train", preprocessing, options, cache)
    return [(images.numpy(), labels.numpy()) for images, labels in batches]


def test_a_global_seed_of_zero_is_one_like_others():
    import_tensorflow().random.set_seed(0)
    digits = open_dataset("digits")
    first, second = (batches_of(digits, get_preprocessing("shift", digits.input_shape), 0, 1) for _ in range(2))
    assert len(first) > 0
    np.testing.assert_array_equal(first[0][0], second[0][0])


@pytest.mark.integration
def test_an_epoch_depends_on_seed_and_epoch_only(tmp_path):
    digits = open_dataset("digits")
    preprocessing = get_preprocessing("shift", digits.input_shape)
    whole = batches_of(digits, preprocessing, 0, 3)
    for cache in (None, "memory", str(tmp_path / "cache")):
        resumed = batches_of(digits, preprocessing, 1, 3, cache=cache)
        assert len(resumed) == 8
        for (images, labels), (expected_images, expected_labels) in zip(resumed, whole[4:], strict=True):
            np.testing.assert_array_equal(images, expected_images)
            np.testing.assert_array_equal(labels, expected_labels)
    assert not np.array_equal(whole[0][1], whole[4][1])
    next_seed = batches_of(digits, preprocessing, 0, 1, seed=4)
    assert not np.array_equal(whole[4][1], next_seed[0][1])  # epoch 1 of a seed is not epoch 0 of the next
    assert not np.array_equal(whole[0][0], batches_of(digits, preprocessing, 0, 1, seed=4)[0][0])


def test_the_order_of_a_seed_is_the_same_in_every_version():
    """A run that an older version began goes on in the order that it began with."""
    import_tensorflow().random.set_seed(None)  # another test's would change the order
    digits = open_dataset("digits")
    labels = [labels[:8].tolist() for _, labels in batches_of(digits, get_preprocessing("shift", (32, 32, 1)), 1, 2)]
    assert labels == DIGITS_ORDER


DIGITS_ORDER = [[2, 1, 6, 5, 1, 8, 2, 0], [7, 2, 4, 9, 5, 0, 0, 5], [1, 6, 4, 6, 6, 4, 2, 4], [8, 6, 9, 3, 3, 7, 2, 7]]


def assert_equal_batches(found, expected):
    assert len(found) == len(expected)
    for (images, labels), (expected_images, expected_labels) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(images, expected_images)
        np.testing.assert_array_equal(labels, expected_labels)


@pytest.mark.parametrize("first_step", [1, 3])
def test_a_run_resumes_inside_an_epoch(first_step):
    digits = open_dataset("digits")
    preprocessing = get_preprocessing("resize_and_flip", digits.input_shape)
    whole = batches_of(digits, preprocessing, 1, 3)
    assert_equal_batches(batches_of(digits, preprocessing, 1, 3, first_step=first_step), whole[first_step:])


def test_all_workers_and_replicas_together_see_the_pictures_of_one():
    digits = open_dataset("digits")
    preprocessing = get_preprocessing("resize_and_flip", digits.input_shape)
    alone = batches_of(digits, preprocessing, 0, 2, first_step=1)
    replicas, workers = 4, 2
    parts = [
        batches_of(digits, preprocessing, 0, 2, first_step=1, replicas=replicas, workers=workers, worker=worker)
        for worker in range(workers)
    ]
    elements = replicas // workers  # a step of a worker
    assert [len(part) for part in parts] == [elements * len(alone)] * workers
    for step, (images, labels) in enumerate(alone):
        for worker, part in enumerate(parts):
            mine = part[step * elements : (step + 1) * elements]
            assert all(len(each) == 32 // replicas for _, each in mine)
            assert_equal_batches(
                [tuple(np.concatenate(each) for each in zip(*mine, strict=True))],
                [(images[worker::workers], labels[worker::workers])],
            )


@pytest.mark.parametrize("name", ["resize", "shift", "resize_and_flip"])
def test_a_picture_of_the_inputs_size_stays_uint8_and_gives_the_same_input(name):
    tf = import_tensorflow()
    png = tf.io.encode_png(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8))
    preprocessing = get_preprocessing(name, (32, 32, 3))
    for seed in range(5):
        pixels = preprocessing.augment(png, [seed, 1], picture_size=(32, 32))
        assert pixels.dtype == tf.uint8
        np.testing.assert_array_equal(preprocessing.finish(pixels[None])[0], preprocessing.train(png, [seed, 1]))
    with pytest.raises(tf.errors.InvalidArgumentError):
        preprocessing.augment(png, [0, 1], picture_size=(30, 30))


class Counting(Dataset):
    """Counts the pictures that are read."""

    def __init__(self, brightness, pictures=8):
        super().__init__(DatasetFacts("counting", 2, (8, 8, 1), "resize", "", {"train": pictures}), "ab")
        self.brightness = brightness
        self.reads = 0

    @property
    def identity(self):
        return f"counting/{self.brightness}"

    def count(self, split):
        return self.facts.pictures["train"]

    def read(self, split):
        def pictures():
            for _ in range(self.count(split)):
                self.reads += 1
                yield np.full((8, 8, 1), self.brightness, np.uint8), 0

        tf = import_tensorflow()
        signature = (tf.TensorSpec((8, 8, 1), tf.uint8), tf.TensorSpec((), tf.int64))
        return tf.data.Dataset.from_generator(pictures, output_signature=signature)


def read_epochs(dataset, cache, epochs=3):
    preprocessing = get_preprocessing("resize", (8, 8, 1))
    options = BatchOptions(batch_size=4, steps_per_epoch=2, seed=0, epochs=epochs)
    batches = training_batches(dataset, "train", preprocessing, options, cache)
    return {float(value) for images, _ in batches for value in preprocessing.finish(images).numpy().ravel()}


@pytest.mark.parametrize("cache", ["memory", "folder"])
def test_a_cache_reads_each_picture_once(tmp_path, cache):
    dataset = Counting(255)
    where = str(tmp_path / "cache") if cache == "folder" else cache
    assert read_epochs(dataset, where) == {1.0}
    assert dataset.reads == 8
    assert read_epochs(Counting(255), None) == {1.0}


def test_a_cache_folder_keeps_datasets_apart_and_is_whole_or_absent(tmp_path, monkeypatch):
    assert read_epochs(Counting(255), str(tmp_path)) == {1.0}
    assert read_epochs(Counting(0), str(tmp_path)) == {-1.0}
    again = Counting(255)
    assert read_epochs(again, str(tmp_path)) == {1.0}
    assert again.reads == 0
    broken = Counting(100)
    monkeypatch.setattr(Counting, "read", lambda self, split: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        read_epochs(broken, str(tmp_path))
    assert len(list(tmp_path.rglob("copy"))) == 2
    assert not list(tmp_path.rglob(".bopkit-*"))


def cut_off(path):
    os.truncate(path, path.stat().st_size // 2)


def empty(path):
    os.truncate(path, 0)


def turn_a_bit(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.integration
@pytest.mark.parametrize("damage", [empty, cut_off, turn_a_bit, Path.unlink])
@pytest.mark.parametrize("name", ["pictures.index", "pictures.data-00000-of-00001"])
def test_a_damaged_cache_is_not_blamed_on_the_dataset(tmp_path, name, damage):
    dataset = Counting(255, pictures=100)
    assert read_epochs(dataset, str(tmp_path)) == {1.0}
    (file,) = tmp_path.rglob(name)
    damage(file)
    folder = dataset.cache_folder(tmp_path, "train")
    message = f"^The data cache {folder} is damaged. Remove that folder"
    with pytest.raises(BopkitError, match=message), reading(dataset, "train", str(tmp_path)):
        read_epochs(dataset, str(tmp_path))
    shutil.rmtree(folder)  # what the hint says
    assert read_epochs(dataset, str(tmp_path)) == {1.0}


FILL = """
    import sys, time
    from bopkit.data import open_dataset
    from bopkit.data.cache import cached_in

    digits = open_dataset("digits")
    if sys.argv[2] == "slowly":
        read = digits.read
        digits.read = lambda split: read(split).map(lambda *each: tf.py_function(slow, each, (tf.uint8, tf.int64)))
        import tensorflow as tf

        def slow(*each):
            print("reading", flush=True)
            time.sleep(0.2)
            return each
    print(sum(1 for _ in cached_in(sys.argv[1], digits, "test", lambda line: print(line, flush=True))))
"""


@pytest.mark.integration
def test_a_cache_that_a_killed_process_left_half_made_is_replaced_and_others_wait_for_one_in_the_making(tmp_path):
    command = [sys.executable, "-c", textwrap.dedent(FILL), str(tmp_path)]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with ForkedPython([*command, "slowly"], **options) as filling:
        while filling.stdout.readline() != "reading\n":
            assert filling.poll() is None
        with ForkedPython([*command, "fast"], **options) as waiting:
            assert waiting.stdout.readline().startswith("waiting for another process that is filling")
            (half_made,) = tmp_path.rglob(".bopkit-*/")
            filling.kill()
            assert waiting.stdout.readline().startswith("filling the cache")
            assert waiting.stdout.read() == "364\n"
    assert not half_made.exists()
    assert not list(tmp_path.rglob(".bopkit-*"))
    again = run_python(*command[2:], "fast")
    assert (again.returncode, again.stdout) == (0, "364\n")  # without filling it again


def test_a_cache_is_of_one_folder_and_one_source(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    source = """
        from bopkit.data import Dataset, DatasetFacts

        class Own(Dataset):
            def count(self, split): return 1
            def read(self, split): raise NotImplementedError

        def open_dataset(data_dir):
            return Own(DatasetFacts("own", 2, (8, 8, 1), "resize", ""), "ab")
    """
    (tmp_path / "ownpkg").mkdir()
    module = tmp_path / "ownpkg" / "pictures.py"

    def folder(data_dir=None, version=""):
        module.write_text(textwrap.dedent(source) + version)
        opened = open_dataset("ownpkg.pictures", data_dir)
        assert opened.identity == "own"
        return opened.cache_folder("cache", "train")

    assert folder() == folder()
    assert len({folder(), folder("a"), folder("b"), folder(version="# 2")}) == 4


@pytest.fixture
def damaged_cifar10(data_dir, tmp_path):
    """A copy of the CIFAR-10 stand-in, and the file of its training split."""
    shutil.copytree(data_dir / "cifar10", tmp_path / "cifar10")
    (path,) = tmp_path.rglob("cifar10-train.tfrecord*")
    return tmp_path, path


@pytest.mark.integration
@pytest.mark.parametrize("damage", [cut_off, empty, Path.unlink])
def test_a_dataset_whose_files_lost_something_is_refused_before_training(damaged_cifar10, damage):
    folder, path = damaged_cifar10
    cifar10 = open_dataset("cifar10", folder)
    cifar10.read("train")
    damage(path)
    with pytest.raises(BopkitError, match=rf"{path} is (damaged|missing)\. .*bopkit data prepare cifar10 --data-dir"):
        cifar10.read("train")
    cifar10.read("test")


def test_a_damaged_record_is_an_error_that_names_its_file(damaged_cifar10):
    folder, path = damaged_cifar10
    cifar10 = open_dataset("cifar10", folder)
    turn_a_bit(path)
    preprocessing = get_preprocessing("resize_and_flip", (32, 32, 3))
    batches = evaluation_batches(cifar10, "train", preprocessing, 10)
    with pytest.raises(BopkitError, match=f"{path} is damaged"):
        for _ in readable(batches, cifar10, "train"):
            pass
    with pytest.raises(KeyError):  # what happens to a batch is not its reader's business
        for _ in readable([1], cifar10, "train"):
            raise KeyError
    tf = import_tensorflow()
    step = tf.function(lambda batches: next(batches)[1])
    batches = iter(batches)
    with pytest.raises(BopkitError, match=f"{path} is damaged"), reading(cifar10, "train"):
        for _ in range(300):
            step(batches)


def test_a_kernel_that_misses_something_is_not_blamed_on_the_dataset(data_dir):
    cifar10 = open_dataset("cifar10", data_dir)
    tf = import_tensorflow()

    @tf.function
    def step(batches):
        images, _ = next(batches)
        with tf.control_dependencies([images]):
            return tf.io.read_file("/no/such/kernel")

    batches = evaluation_batches(cifar10, "train", get_preprocessing("resize", (32, 32, 3)), 10)
    with pytest.raises(tf.errors.NotFoundError, match="/no/such/kernel"), reading(cifar10, "train"):
        step(iter(batches))
    waited_for_input = (
        "No algorithm worked!\n\t [[{{node conv1/Conv2D}}]]\n\t [[IteratorGetNext/_2]] [Op:__inference_1]"
    )
    with pytest.raises(tf.errors.NotFoundError, match="No algorithm"), reading(cifar10, "train"):
        raise tf.errors.NotFoundError(None, None, waited_for_input)


@pytest.mark.integration
def test_what_a_dataset_is_takes_no_tensorflow(data_dir):
    """`bopkit benchmark` asks before it starts the processes that read pictures."""
    code = f"""
import sys
from bopkit.data import open_dataset
dataset = open_dataset("cifar10", {str(data_dir)!r})
print(len(dataset.class_names), dataset.count("test"), "tensorflow" in sys.modules)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.stdout == "10 60 False\n", result.stderr


def test_a_damaged_description_of_a_dataset(damaged_cifar10):
    folder, _ = damaged_cifar10
    (description,) = folder.rglob("dataset_info.json")
    description.write_text("{")
    with pytest.raises(BopkitError, match="dataset_info.json"):
        open_dataset("cifar10", folder)


def test_a_picture_that_cannot_be_decoded():
    class NoPictures(Counting):
        def read(self, split):
            return import_tensorflow().data.Dataset.from_tensors((b"GIF of a JPEG", 0))

    dataset = NoPictures(0)
    batches = evaluation_batches(dataset, "train", get_preprocessing("resize", (8, 8, 1)), 1)
    with pytest.raises(BopkitError, match="a picture that is damaged"):
        list(readable(batches, dataset, "train"))


def test_a_split_without_labels_is_refused():
    class Unlabelled(Counting):
        def read(self, split):
            return super().read(split).map(lambda image, label: (image, label - 1))

    Counting(0).check_labels("train")
    with pytest.raises(UsageError, match="Split train of dataset counting has no pictures"):
        Counting(0, pictures=0).check_labels("train")
    with pytest.raises(UsageError, match="no labels"):
        Unlabelled(0).check_labels("train")


def test_channels_that_a_preprocessing_cannot_make():
    for name, channels in (("resize", 5), ("imagenet", 1)):
        with pytest.raises(UsageError, match="channels"):
            get_preprocessing(name, (32, 32, channels))


def test_evaluation_batches_keep_order_and_the_last_pictures():
    digits = open_dataset("digits")
    batches = list(evaluation_batches(digits, "test", get_preprocessing("shift", digits.input_shape), 100))
    labels = np.concatenate([labels for _, labels in batches])
    np.testing.assert_array_equal(labels, digits.arrays("test")[1])


def test_unknown_names():
    with pytest.raises(UsageError, match="Did you mean 'cifar10'"):
        open_dataset("cifar11")
    with pytest.raises(UsageError, match="resize_and_flip"):
        get_preprocessing("resize_flip", (32, 32, 3))
    for name in ("", "cifar10/foo", "a b", "./cifar10", "no.such"):
        with pytest.raises(UsageError, match=r"bopkit data list"):
            open_dataset(name)
    with pytest.raises(UsageError, match="no versions"):
        open_dataset("digits", version="1.0.0")


def test_a_dataset_that_is_not_prepared_says_how(tmp_path):
    with pytest.raises(BopkitError, match=r"not prepared.*bopkit data prepare cifar100"):
        open_dataset("cifar100", tmp_path)
    assert not list(tmp_path.iterdir())


def test_imagenet_without_its_tars_says_where_they_go(tmp_path):
    with pytest.raises(BopkitError, match=r"ILSVRC2012_img_train.tar.*downloads/manual"):
        open_dataset("imagenet2012", tmp_path, prepare=True)
    assert not list(tmp_path.iterdir())


def test_no_network_is_known_in_seconds_and_leaves_nothing(tmp_path, monkeypatch):
    import requests

    def refuse(*args, **kwargs):
        raise requests.ConnectionError("no network")

    monkeypatch.setattr(requests, "head", refuse)
    with pytest.raises(BopkitError, match=r"does not answer.*--from FOLDER` .* has cifar-10-binary.tar.gz.*--data-dir"):
        open_dataset("cifar10", tmp_path, prepare=True)
    assert not list(tmp_path.iterdir())


def test_a_download_that_fails_leaves_nothing(tmp_path, monkeypatch):
    import requests
    import tensorflow_datasets as tfds

    monkeypatch.setattr(requests, "head", lambda *args, **kwargs: None)

    def fail(*args, **kwargs):
        raise requests.ConnectionError("reset by peer")

    monkeypatch.setattr(tfds.download.DownloadManager, "download_and_extract", fail)
    with pytest.raises(BopkitError, match=r"reset by peer.*bopkit data prepare cifar10"):
        open_dataset("cifar10", tmp_path, prepare=True)
    assert not list(tmp_path.rglob("*incomplete*"))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((28, 28, 1), ((28, 28, 1), "shift")),
        ((64, 64, 3), ((64, 64, 3), "shift")),
        ((None, None, 3), ((224, 224, 3), "imagenet")),
        ((512, 512, 3), ((224, 224, 3), "imagenet")),
    ],
)
def test_defaults_for_unknown_datasets(shape, expected):
    facts = facts_of_pictures("new", shape, 5, {"train": 10, "validation": 2})
    assert (facts.input_shape, facts.default_preprocessing) == expected
    assert facts.test_split == "validation"


def test_every_catalogued_default_exists():
    for facts in list_datasets():
        get_preprocessing(facts.default_preprocessing, facts.input_shape)


def test_a_limit_draws_pictures_from_all_over_a_split():
    class Sorted(Counting):
        """A hundred pictures in the order of their classes; each shows its place."""

        is_shuffled = False

        def read(self, split):
            places = np.arange(100)
            pixels = np.broadcast_to(places.astype(np.uint8)[:, None, None, None], (100, 8, 8, 1))
            return import_tensorflow().data.Dataset.from_tensor_slices((pixels, places // 50))

    def taken(limit, **others):
        batches = evaluation_batches(dataset, "train", preprocessing, 7, limit, **others)
        return [int(pixels[0, 0, 0]) for images, _ in batches for pixels in preprocessing.to_pixels(images.numpy())]

    dataset, preprocessing = Sorted(0, pictures=100), get_preprocessing("resize", (8, 8, 1))
    places = taken(20)
    assert places == sorted(set(places)) and len(places) == 20
    assert places == taken(20)
    assert min(np.bincount(np.array(places) // 25, minlength=4)) >= 2  # of each quarter
    assert taken(20, skip=5, stop=12) == places[5:12]
    assert sorted(taken(20, worker=0, workers=2) + taken(20, worker=1, workers=2)) == places
    assert taken(None) == taken(100) == taken(1000) == list(range(100))
    dataset.is_shuffled = True
    assert taken(20) == list(range(20))


def test_datasets_say_whether_they_are_shuffled(data_dir):
    assert open_dataset("cifar10", data_dir).is_shuffled
    assert not open_dataset("digits").is_shuffled
