"""Accuracy of a trained network: the figures that Keras itself gives, on the pictures that were asked for."""

import dataclasses
import math
import sys

import numpy as np
import pytest
from written_runs import write_run

from bopkit.artifacts.card import ModelCard
from bopkit.artifacts.keras_file import save_model
from bopkit.benchmark.evaluate import evaluate_model
from bopkit.data import evaluation_batches, get_preprocessing, open_dataset
from bopkit.errors import BopkitError, UsageError
from bopkit.keras2 import import_tensorflow
from bopkit.metrics import STANDARD_NORMAL_97_5, cross_entropy, wilson_interval

SHAPE = (16, 16, 1)
CARD = ModelCard("tiny", SHAPE, (-1.0, 1.0), "resize", dataset="digits")
PICTURES = 130


def make_network(classes=10, activation="softmax", shape=SHAPE, scale=1.0):
    """A dense layer with random weights: near chance, and far from sure."""
    tf = import_tensorflow()
    layers = [
        tf.keras.layers.Input(shape),
        tf.keras.layers.Flatten(),
        tf.keras.layers.Dense(classes, activation, kernel_initializer=tf.keras.initializers.RandomNormal(0, scale, 1)),
    ]
    return tf.keras.Sequential(layers)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A network that has seen a few digits, and its file."""
    network = make_network(scale=0.01)
    batches = evaluation_batches(open_dataset("digits"), "train", get_preprocessing("resize", SHAPE), 50, 500)
    network.compile("adam", loss="sparse_categorical_crossentropy")
    network.fit(batches, verbose=0)
    path = tmp_path_factory.mktemp("model") / "model.h5"
    save_model(network, CARD, path)
    return network, path


@pytest.mark.parametrize(("split", "preprocess_fn", "batch_size"), [(None, None, 32), ("train[90%:]", "shift", 100)])
def test_figures_are_those_of_keras(saved, split, preprocess_fn, batch_size):
    metrics = import_tensorflow().keras.metrics
    network, path = saved
    top1, top5 = metrics.SparseCategoricalAccuracy(), metrics.SparseTopKCategoricalAccuracy(5)
    network.compile(loss="sparse_categorical_crossentropy", metrics=[top1, top5])
    preprocessing = get_preprocessing(preprocess_fn or "resize", SHAPE)
    batches = evaluation_batches(open_dataset("digits"), split or "test", preprocessing, 50, PICTURES)
    expected = network.evaluate(batches, verbose=0)
    found = evaluate_model(path, split=split, preprocess_fn=preprocess_fn, limit=PICTURES, batch_size=batch_size)
    assert [found.loss, found.top1, found.top5] == pytest.approx(expected, rel=1e-5)
    assert 0.15 < found.top1 < found.top5 < 1
    assert found.top1_interval == wilson_interval(found.top1, PICTURES)
    assert (found.split, found.pictures, found.preprocessing) == (split or "test", PICTURES, preprocessing.name)
    assert found.preprocessing_source == ("preprocess_fn" if preprocess_fn else "model card")
    assert found.images_per_second > 0


def test_a_wilson_interval_ends_where_the_share_is_just_plausible():
    for share, count in ((0.5, 10), (0.913, 10_000), (0.0, 40), (1.0, 364)):
        low, high = wilson_interval(share, count)
        for end in {low, high} - {0.0, 1.0}:
            deviation = STANDARD_NORMAL_97_5 * math.sqrt(end * (1 - end) / count)
            assert abs(share - end) == pytest.approx(deviation, rel=1e-9)
        assert 0 <= low <= share <= high <= 1
    assert wilson_interval(0.5, 10) == pytest.approx((0.23659, 0.76341), abs=1e-5)


def test_loss_of_scores_that_are_no_probabilities_is_none(tmp_path):
    assert cross_entropy(np.float32([[0.25, 0.75], [1, 0]]), np.array([1, 1])) == pytest.approx(
        (-math.log(0.75) - math.log(np.finfo(np.float32).tiny)) / 2
    )
    save_model(make_network(activation=None), CARD, tmp_path / "logits.h5")
    found = evaluate_model(tmp_path / "logits.h5", limit=20)
    assert found.loss is None and found.top5 is not None


def test_a_run_stands_for_its_model(saved, tmp_path):
    _, path = saved
    run = write_run(tmp_path / "run")
    with pytest.raises(BopkitError, match=r"run has no model.h5 yet\. Resume it with the same train command"):
        evaluate_model(run)
    (run / "model.h5").write_bytes(path.read_bytes())
    found = evaluate_model(run, limit=20)
    assert found.model == str(run / "model.h5")
    assert found.top1 == evaluate_model(path, limit=20).top1
    assert evaluate_model(path.parent, limit=20).top1 == found.top1  # of a network that was pulled, not trained here


def test_a_card_chooses_no_code_that_is_run(tmp_path, monkeypatch):
    network = make_network()
    (tmp_path / "plain.py").write_text("from pathlib import Path; Path('imported').touch()")
    (tmp_path / "hostile.py").write_text("from pathlib import Path; Path('imported').touch()")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    for dataset, words in (
        ("hostile.module", "The card names the dataset.*--dataset"),
        ("plain", "The model card names the dataset 'plain', which neither"),
        ("", "does not say.*--dataset"),
    ):
        save_model(network, dataclasses.replace(CARD, dataset=dataset), tmp_path / "model.h5")
        with pytest.raises(UsageError, match=words):
            evaluate_model("model.h5")
    assert not (tmp_path / "imported").exists()


def test_a_network_that_does_not_fit_the_dataset_is_refused_as_by_the_benchmark(tmp_path):
    save_model(make_network(classes=3), CARD, tmp_path / "classes.h5")
    save_model(make_network(), dataclasses.replace(CARD, preprocessing=""), tmp_path / "range.h5")
    for name, words in (
        ("classes.h5", "It has 3 classes, and dataset digits has 10"),
        ("range.h5", "Accuracy needs the preprocessing .* no model card names it"),
    ):
        with pytest.raises(BopkitError, match=words):
            evaluate_model(tmp_path / name)


def test_a_strangers_network_is_shown_the_range_that_it_wants(saved, tmp_path):
    tf = import_tensorflow()
    network, path = saved
    strangers = tf.keras.Sequential([tf.keras.layers.Input(SHAPE), tf.keras.layers.Rescaling(1 / 127.5, -1), network])
    strangers.save(tmp_path / "stranger.h5")
    own = evaluate_model(path, limit=PICTURES)
    found = evaluate_model(tmp_path / "stranger.h5", "digits", preprocess_fn="resize:0..255", limit=PICTURES)
    assert (found.top1, found.preprocessing, found.preprocessing_source) == (own.top1, "resize:0..255", "preprocess_fn")
    assert found.loss == pytest.approx(own.loss, rel=1e-4)
    with pytest.raises(UsageError, match="--preprocess-fn, for instance"):
        evaluate_model(tmp_path / "stranger.h5", "digits", limit=PICTURES)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dataset": "digit"}, "digit"),
        ({"split": "tset"}, "no split"),
        ({"preprocess_fn": "resise"}, "Did you mean 'resize'"),
        ({"device": "gpu:99"}, "no device gpu:99"),
        ({"limit": 0}, "limit is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"model": "."}, "neither a run directory nor a Keras file.*bopkit benchmark"),
    ],
)
def test_a_wrong_request_is_one_error(saved, options, words):
    with pytest.raises(UsageError, match=words):
        evaluate_model(**{"model": saved[1], **options})
