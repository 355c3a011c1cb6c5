"""Erased and mixed pictures: what each one is made of, and that nothing but seed, epoch and picture decides it."""

import numpy as np
import pytest

from bopkit.data import BatchOptions, PictureRecipe, get_preprocessing, open_dataset, training_batches
from bopkit.data.erasing import erase
from bopkit.data.mixing import Mixing, _shares
from bopkit.data.pipeline import augmentation_seed, some_of
from bopkit.data.randaugment import randaugment
from bopkit.data.statistics_batches import statistics_batches
from bopkit.keras2 import import_tensorflow

BATCH = 24
STEPS = 3
EVERYTHING = PictureRecipe(mixup=0.4, cutmix=1.0, random_erasing=0.5, randaugment_count=1)


def batches_of(recipe, preprocess_fn="shift", epochs=2, **others):
    """Pixels and labels of each batch; labels are three arrays where pictures are mixed."""
    digits = open_dataset("digits")
    options = BatchOptions(batch_size=BATCH, steps_per_epoch=STEPS, seed=3, epochs=epochs, **others)
    side = 32 if preprocess_fn == "shift" else 20  # float32 where a picture is resized
    preprocessing = get_preprocessing(preprocess_fn, (side, side, 1))
    batches = training_batches(digits, "train", preprocessing, options, recipe=recipe)
    return [(pixels.numpy(), np.stack(import_tensorflow().nest.flatten(labels))) for pixels, labels in batches]


def assert_equal_batches(found, expected):
    assert len(found) == len(expected) > 0
    for pair in zip(found, expected, strict=True):
        for ours, theirs in zip(*pair, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def seeds(count=500):
    tf = import_tensorflow()
    epoch = tf.constant(1, tf.int64)
    return tf.stack([augmentation_seed(3, epoch, index) for index in tf.range(count, dtype=tf.int64)])


@pytest.mark.parametrize("alpha", [0.1, 1.0, 4.0])
def test_shares_have_the_beta_distribution(alpha):
    tf = import_tensorflow()
    drawn = np.random.default_rng(0).beta(alpha, alpha, 200_000)
    expected = np.quantile(np.maximum(drawn, 1 - drawn), np.linspace(0, 1, 21))
    found = _shares(alpha, tf.constant(np.linspace(0, 1 - 2**-24, 21), tf.float32)).numpy()
    np.testing.assert_allclose(found[:-1], expected[:-1], atol=5e-3)
    assert 0.5 <= found.min() and found.max() <= 1


@pytest.mark.parametrize("preprocess_fn", ["shift", "resize:0..1"])
def test_mixup_is_the_weighted_mean_with_the_next_picture(preprocess_fn):
    plain = batches_of(PictureRecipe(), preprocess_fn)
    mixed = batches_of(PictureRecipe(mixup=0.4), preprocess_fn)
    for (pixels, (labels,)), (found, (own, partner, share)) in zip(plain, mixed, strict=True):
        np.testing.assert_array_equal(own, labels)
        np.testing.assert_array_equal(partner, np.roll(labels, -1))
        weight = np.float32(share)[:, None, None, None]
        mean = weight * pixels + (1 - weight) * np.roll(pixels, -1, axis=0)
        assert found.dtype == pixels.dtype
        np.testing.assert_allclose(found, mean, atol=0.501 if found.dtype == np.uint8 else 1e-4)
        assert 0.5 <= share.min() and share.max() <= 1 and len(set(share)) > BATCH / 2
    assert not np.array_equal(mixed[0][1][2], mixed[STEPS][1][2])  # another epoch, other shares


def test_cutmix_pastes_a_rectangle_whose_area_is_the_partners_share():
    tf = import_tensorflow()
    pixels = np.broadcast_to(np.arange(50, dtype=np.uint8)[:, None, None, None], (50, 9, 12, 3))
    found, labels = Mixing(0.0, 1.0).mix(tf.constant(pixels), tf.range(50, dtype=tf.int64), seeds(50))
    for place, (picture, share) in enumerate(zip(found.numpy(), labels.share.numpy(), strict=True)):
        is_partner = picture[..., 0] == (place + 1) % 50
        assert np.all(is_partner | (picture[..., 0] == place))
        rows, columns = is_partner.any(axis=1), is_partner.any(axis=0)
        np.testing.assert_array_equal(is_partner, rows[:, None] & columns)
        assert all(np.count_nonzero(np.diff(each.astype(int))) <= 2 for each in (rows, columns))
        assert share == pytest.approx(1 - is_partner.mean())
        assert share >= 0.5
    assert labels.share.numpy().min() < 0.7


def test_with_both_ways_each_picture_is_mixed_in_one_of_them():
    tf = import_tensorflow()
    pixels = np.zeros((200, 16, 16, 1), np.uint8)
    pixels[::2] = 200
    found, _ = Mixing(1.0, 1.0).mix(tf.constant(pixels), tf.range(200, dtype=tf.int64), seeds(200))
    has_greys = [bool(set(np.unique(each)) - {0, 200}) for each in found.numpy()]
    assert 70 < sum(has_greys) < 130


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_erasing_paints_a_rectangle_of_some_pictures(dtype):
    tf = import_tensorflow()
    pixels = np.random.default_rng(0).integers(0, 256, (500, 20, 28, 3)).astype(dtype)
    found = erase(tf.constant(pixels), seeds(), 0.3).numpy()
    assert found.dtype == dtype
    is_changed = np.any(found != pixels, axis=-1)
    assert 110 < is_changed.any(axis=(1, 2)).sum() < 190
    areas = []
    for picture, mask in zip(found, is_changed, strict=True):
        if mask.any():
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            inside = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            assert np.all(inside == inside[0, 0])
            areas.append(inside.shape[0] * inside.shape[1] / mask.size)
    assert 0.01 < min(areas) < 0.05 and 0.25 < max(areas) < 0.36
    np.testing.assert_array_equal(erase(tf.constant(pixels), seeds(), 0.0), pixels)


@pytest.fixture(scope="module")
def alone():
    """The batches of one replica in one process."""
    return batches_of(EVERYTHING)


def test_a_run_with_a_recipe_resumes_inside_an_epoch(alone):
    assert_equal_batches(batches_of(EVERYTHING, first_epoch=1, first_step=1), alone[STEPS + 1 :])


@pytest.mark.parametrize("replicas, workers", [(2, 1), (2, 2), (6, 3)])
def test_replicas_and_workers_mix_what_one_would(replicas, workers, alone):
    elements = replicas // workers
    for worker in range(workers):
        part = batches_of(EVERYTHING, replicas=replicas, workers=workers, worker=worker)
        assert all(len(pixels) == BATCH // replicas for pixels, _ in part)
        mine = [part[first : first + elements] for first in range(0, len(part), elements)]
        joined = [(np.concatenate([a for a, _ in each]), np.concatenate([b for _, b in each], axis=1)) for each in mine]
        assert_equal_batches(joined, [(a[worker::workers], b[:, worker::workers]) for a, b in alone])


def test_batch_norm_statistics_are_of_pictures_that_are_augmented_and_whole():
    digits, preprocessing = open_dataset("digits"), get_preprocessing("shift", (32, 32, 1))
    recipe = PictureRecipe(mixup=0.4, random_erasing=1.0, randaugment_count=1)
    (found,) = statistics_batches(digits, "train", preprocessing, 20, 20, seed=3, recipe=recipe)
    drawn = some_of(digits.read("train"), digits, "train", 20)
    for index, (image, _) in enumerate(drawn):
        seed = augmentation_seed(3, 0, index)
        expected = randaugment(preprocessing.augment(image, seed), seed, 1, recipe.randaugment_magnitude)
        np.testing.assert_array_equal(found[index], expected)
