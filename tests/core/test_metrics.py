"""Figures of accuracy against formulas written out picture by picture."""

import math

import numpy as np
import pytest

from bopkit import metrics
from bopkit.benchmark.accuracy_figures import fill_accuracy, fill_agreement
from bopkit.benchmark.results import BenchmarkRow

CLASSES = 7
PICTURES = 211


def probabilities(seed, sharpness=2.0):
    """float32 [n, classes] and labels that the scores name more often than chance; no picture has class 3."""
    rng = np.random.default_rng(seed)
    labels = rng.choice([0, 1, 2, 4, 5, 6], PICTURES)
    logits = rng.normal(0, 1, (PICTURES, CLASSES))
    logits[np.arange(PICTURES), labels] += 1
    powers = np.exp(sharpness * logits)
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32), labels


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(metrics, "BLOCK_SCORES", 50 * CLASSES)  # the last block is a part of one


def naive_calibration_error(scores, labels):
    total = 0.0
    for number in range(15):
        members = [i for i in range(PICTURES) if number / 15 < max(map(float, scores[i])) <= (number + 1) / 15]
        if members:
            accuracy = sum(int(scores[i].tolist().index(max(scores[i].tolist())) == labels[i]) for i in members)
            confidence = sum(max(map(float, scores[i])) for i in members)
            total += len(members) / PICTURES * abs(accuracy / len(members) - confidence / len(members))
    return total


@pytest.mark.parametrize("sharpness", [0.3, 2.0, 30.0])
def test_calibration_error_is_that_of_its_definition(sharpness):
    scores, labels = probabilities(0, sharpness)
    named = metrics.predicted_classes(scores)
    expected = naive_calibration_error(scores, labels)
    assert expected > 0.05
    assert metrics.calibration_error(scores, named, labels) == pytest.approx(expected, rel=1e-12)


def test_a_score_on_the_edge_of_a_bin_belongs_to_the_lower_one():
    scores = np.array([[6 / 15, 0.3, 0.3], [0.39, 0.31, 0.3]])  # float64: no float32 lies on an edge but 1
    labels = np.array([0, 1])
    error = metrics.calibration_error(scores, np.zeros(2, int), labels)
    assert error == pytest.approx(abs(1 - 6 / 15 - 0.39) / 2)  # one bin: one of two right
    scores = np.array([[0.97, 0.03], [0.92, 0.08]])  # bins of their own, off in both directions
    assert metrics.calibration_error(scores, np.zeros(2, int), np.array([1, 0])) == pytest.approx((0.97 + 0.08) / 2)


def test_figures_of_classes_are_counts():
    scores, labels = probabilities(1)
    named = [max(range(CLASSES), key=lambda k, i=i: scores[i][k]) for i in range(PICTURES)]
    assert metrics.predicted_classes(scores).tolist() == named
    of_class = metrics.class_top1(np.array(named), labels, CLASSES)
    for label in range(CLASSES):
        answers = [name for name, own in zip(named, labels, strict=True) if own == label]
        assert of_class[label] == (answers.count(label) / len(answers) if answers else None)
    assert of_class[3] is None
    pairs = sorted(zip(labels.tolist(), named, strict=True))
    assert metrics.confusion(np.array(named), labels) == [(*pair, pairs.count(pair)) for pair in dict.fromkeys(pairs)]


def test_blocks_change_nothing(monkeypatch):
    (scores, labels), (reference, _) = probabilities(2), probabilities(3)
    reference[::2] = scores[::2] + 5e-5
    blockwise = [BenchmarkRow("in blocks"), BenchmarkRow("in blocks")]
    for row in blockwise:
        fill_accuracy(row, scores, labels)
        fill_agreement(row, scores, reference)
        monkeypatch.setattr(metrics, "BLOCK_SCORES", 10**9)
    assert blockwise[0] == blockwise[1]
    assert blockwise[0].within_tolerance == pytest.approx(106 / 211)


def test_a_row_gets_every_figure_and_its_interval():
    (scores, labels), (reference, _) = probabilities(4), probabilities(5)
    row = BenchmarkRow("model.h5")
    fill_accuracy(row, scores, labels)
    fill_agreement(row, scores, reference)
    order = np.argsort(-scores, axis=1, kind="stable")
    assert row.top1 == np.mean(order[:, 0] == labels)
    assert row.top5 == np.mean((order[:, :5] == labels[:, None]).any(axis=1))
    assert row.top1_agreement == np.mean(order[:, 0] == reference.argmax(axis=1))
    assert row.loss == pytest.approx(np.mean([-math.log(scores[i, labels[i]]) for i in range(PICTURES)]))
    for name in ("top1", "top5", "top1_agreement"):
        share = getattr(row, name)
        assert getattr(row, f"{name}_interval") == metrics.wilson_interval(share, PICTURES)
    assert row.calibration_error is not None and sum(count for *_, count in row.confusion) == PICTURES


def test_logits_have_neither_loss_nor_calibration():
    scores, labels = probabilities(6)
    row = BenchmarkRow("model.h5")
    fill_accuracy(row, scores - 0.01, labels)
    assert row.loss is None and row.calibration_error is None and row.top1 is not None
    late = scores.copy()
    late[-1] *= 1.01  # in the last block
    assert metrics.are_probabilities(scores) and not metrics.are_probabilities(late)


def test_a_mapped_file_of_imagenet_is_not_loaded_at_once(tmp_path, monkeypatch):
    """Peak memory of NumPy's arrays while the scores of many pictures are worked on."""
    import tracemalloc

    monkeypatch.undo()
    pictures, classes = 20_000, 1000
    scores = np.lib.format.open_memmap(tmp_path / "scores.npy", "w+", np.float32, (pictures, classes))
    scores[:, 0] = 1
    tracemalloc.start()
    row = BenchmarkRow("model.h5")
    fill_accuracy(row, scores, np.zeros(pictures, np.int64))
    fill_agreement(row, scores, scores)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert row.top1 == 1 and row.loss == 0
    assert peak_bytes < 60e6 < scores.nbytes


def test_the_interval_of_a_mean():
    """The quantiles of Student's distribution, 12.7062 and 4.30265, are from printed tables."""
    assert metrics.mean_interval([0.5]) is None
    assert metrics.mean_interval([0.0, 1.0]) == pytest.approx((0.5 - 12.7062 / 2, 0.5 + 12.7062 / 2))
    half_width = 4.30265 / math.sqrt(3)
    assert metrics.mean_interval([1.0, 2.0, 3.0]) == pytest.approx((2 - half_width, 2 + half_width), abs=1e-5)
