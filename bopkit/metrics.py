"""Accuracy, loss, calibration and agreement, from scores.

Scores are read a block of pictures at a time: those of 50,000 pictures of ImageNet are a mapped file of 200 MB.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

TOP_K = 5
"""Classes that count for top-5 accuracy, and that a served network answers for an encoded picture."""

SCORE_TOLERANCE = 1e-4
"""Largest absolute difference of scores that count as equal: float kernels sum in different orders."""

SUM_TOLERANCE = 1e-3
"""Largest difference from 1 of the sum of scores that count as probabilities."""

CALIBRATION_BINS = 15
"""Bins of equal width of the calibration error, as in Guo et al. 2017."""

BLOCK_SCORES = 1 << 21
"""Scores that are worked on at a time: 8 MB of float32."""

STANDARD_NORMAL_97_5 = 1.959963984540054
"""97.5 % of a standard normal distribution lie below: 95 % lie between this and its negative."""


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """The 95 % confidence interval of a share, by Wilson's score method (J. Am. Stat. Assoc. 22, 1927).

    Args:
        share: What was seen, 0 to 1.
        count: Number of independent trials, above 0.

    Returns:
        Lower and upper end, 0 to 1.
    """
    z2_n = STANDARD_NORMAL_97_5**2 / count
    centre = (share + z2_n / 2) / (1 + z2_n)
    half_width = math.sqrt(share * (1 - share) * z2_n + z2_n**2 / 4) / (1 + z2_n)
    return max(0.0, centre - half_width), min(1.0, centre + half_width)


def mean_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % confidence interval of the mean of a normal distribution, by Student's t.

    Args:
        values: Independent draws, such as the accuracy with each seed.

    Returns:
        Lower and upper end; None with fewer than two values, which do not tell how far they scatter.
    """
    if len(values) < 2:
        return None
    from scipy.special import stdtrit

    mean, freedom = math.fsum(values) / len(values), len(values) - 1
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / freedom)
    half_width = float(stdtrit(freedom, 0.975)) * deviation / math.sqrt(len(values))
    return mean - half_width, mean + half_width


def predicted_classes(scores: np.ndarray) -> np.ndarray:
    """The predicted class of each picture: that of the highest score, the first of equal ones.

    Args:
        scores: float32 [n, classes].

    Returns:
        int64 [n].
    """
    predicted = np.empty(len(scores), np.int64)
    for block in _blocks(scores):
        predicted[block] = scores[block].argmax(axis=1)
    return predicted


def are_probabilities(scores: np.ndarray) -> bool:
    """Whether the scores of each picture are from 0 and add up to 1; those of a network without softmax do not.

    Args:
        scores: float32 [n, classes].
    """
    return all(
        scores[block].min() >= 0 and np.abs(scores[block].sum(axis=1, dtype=np.float64) - 1).max() <= SUM_TOLERANCE
        for block in _blocks(scores)
    )


def cross_entropy(scores: np.ndarray, labels: np.ndarray) -> float | None:
    """Mean negative natural logarithm of the probability that each picture's class gets.

    Args:
        scores: float32 [n, classes], n > 0.
        labels: int64 [n], 0 to classes - 1.

    Returns:
        0 or more; None where the scores are no probabilities.
    """
    if not are_probabilities(scores):
        return None
    of_label = scores[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.maximum(of_label, np.finfo(np.float32).tiny)).mean())


def calibration_error(scores: np.ndarray, predicted: np.ndarray, labels: np.ndarray) -> float | None:
    """Expected calibration error: how far the highest scores are from the share of correct predictions.

    The mean over pictures of |share of correct predictions - mean highest score| of the picture's bin; bin m of M holds
    the highest scores in ((m - 1) / M, m / M] (Guo et al. 2017, arXiv 1706.04599, section 2).

    Args:
        scores: float32 [n, classes], n > 0.
        predicted: int64 [n]: `predicted_classes` of the scores.
        labels: int64 [n].

    Returns:
        0 to 1; None where the scores are no probabilities.
    """
    if not are_probabilities(scores):
        return None
    confidence = scores[np.arange(len(predicted)), predicted].astype(np.float64)
    inner_edges = np.arange(1, CALIBRATION_BINS) / CALIBRATION_BINS
    bins = np.searchsorted(inner_edges, confidence, side="left")
    correct = np.bincount(bins, predicted == labels, CALIBRATION_BINS)
    return float(np.abs(correct - np.bincount(bins, confidence, CALIBRATION_BINS)).sum() / len(labels))


def class_top1(predicted: np.ndarray, labels: np.ndarray, classes: int) -> list[float | None]:
    """Share of the pictures of each class that are predicted correctly; None for a class without pictures.

    Args:
        predicted: int64 [n]: `predicted_classes` of the scores.
        labels: int64 [n], 0 to classes - 1.
        classes: Number of classes.
    """
    pictures = np.bincount(labels, minlength=classes).tolist()
    correct = np.bincount(labels[predicted == labels], minlength=classes).tolist()
    return [count / of if of else None for count, of in zip(correct, pictures, strict=True)]


def balanced_accuracy(shares: Sequence[float | None]) -> float | None:
    """The mean of `class_top1`: each class counts alike, however many pictures it has; None without any picture."""
    known = [share for share in shares if share is not None]
    return math.fsum(known) / len(known) if known else None


def confusion(predicted: np.ndarray, labels: np.ndarray) -> list[tuple[int, int, int]]:
    """The confusion matrix without its zeros: of 1000 classes few of the million pairs occur.

    Args:
        predicted: int64 [n]: `predicted_classes` of the scores.
        labels: int64 [n].

    Returns:
        Class, predicted class and number of pictures of each pair that occurs, in ascending order.
    """
    pairs, counts = np.unique(np.stack([labels, predicted], axis=1), axis=0, return_counts=True)
    return [(label, guess, count) for (label, guess), count in zip(pairs.tolist(), counts.tolist(), strict=True)]


def top_k_accuracy(scores: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Share of pictures whose class is among the `k` highest scores; of equal scores the first class wins.

    Args:
        scores: float32 [n, classes], n > 0.
        labels: int64 [n], 0 to classes - 1.
        k: From 1 to the number of classes.

    Returns:
        From 0 to 1.
    """
    hits = 0
    for block in _blocks(scores):
        own = labels[block, None]
        of_label = np.take_along_axis(scores[block], own, axis=1)
        is_earlier_class = np.arange(scores.shape[1]) < own
        ahead = (scores[block] > of_label) | ((scores[block] == of_label) & is_earlier_class)
        hits += int(np.count_nonzero(ahead.sum(axis=1) < k))
    return hits / len(labels)


def top1_agreement(scores: np.ndarray, reference: np.ndarray) -> float:
    """Share of pictures for which both predict the same class, 0 to 1.

    Args:
        scores: float32 [n, classes], n > 0.
        reference: float32 [n, classes].
    """
    return float(np.mean(predicted_classes(scores) == predicted_classes(reference)))


def share_within_tolerance(scores: np.ndarray, reference: np.ndarray) -> float:
    """Share of pictures all of whose scores differ by at most `SCORE_TOLERANCE`, 0 to 1.

    Args:
        scores: float32 [n, classes], n > 0.
        reference: float32 [n, classes].
    """
    within = 0
    for block in _blocks(scores):
        furthest = np.abs(scores[block] - reference[block]).max(axis=1)
        within += int(np.count_nonzero(furthest <= SCORE_TOLERANCE))
    return within / len(scores)


def _blocks(scores: np.ndarray) -> Iterator[slice]:
    pictures = max(1, BLOCK_SCORES // scores.shape[1])
    return (slice(begin, begin + pictures) for begin in range(0, len(scores), pictures))
