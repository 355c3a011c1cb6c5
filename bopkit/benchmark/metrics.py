"""Accuracy, loss and agreement, from scores."""

from __future__ import annotations

import math

import numpy as np

TOP_K = 5
"""Classes that count for top-5 accuracy, and that a served network answers for an encoded picture."""

SCORE_TOLERANCE = 1e-4
"""Largest absolute difference of scores that count as equal: float kernels sum in different orders."""

SUM_TOLERANCE = 1e-3
"""Largest difference from 1 of the sum of scores that count as probabilities."""

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


def cross_entropy(scores: np.ndarray, labels: np.ndarray) -> float | None:
    """Mean negative natural logarithm of the probability that each picture's class gets.

    Args:
        scores: float32 [n, classes], n > 0.
        labels: int64 [n], 0 to classes - 1.

    Returns:
        0 or more; None where the scores are no probabilities, as those of a network without softmax.
    """
    if scores.min() < 0 or np.abs(scores.sum(axis=1, dtype=np.float64) - 1).max() > SUM_TOLERANCE:
        return None
    of_label = np.take_along_axis(scores, labels[:, None], axis=1).astype(np.float64)
    return float(-np.log(np.maximum(of_label, np.finfo(np.float32).tiny)).mean())


def top_k_accuracy(scores: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Share of pictures whose class is among the `k` highest scores; of equal scores the first class wins.

    Args:
        scores: float32 [n, classes], n > 0.
        labels: int64 [n], 0 to classes - 1.
        k: From 1 to the number of classes.

    Returns:
        From 0 to 1.
    """
    of_label = np.take_along_axis(scores, labels[:, None], axis=1)
    is_earlier_class = np.arange(scores.shape[1]) < labels[:, None]
    ahead = (scores > of_label) | ((scores == of_label) & is_earlier_class)
    return float(np.mean(ahead.sum(axis=1) < k))


def top1_agreement(scores: np.ndarray, reference: np.ndarray) -> float:
    """Share of pictures for which both name the same class, 0 to 1.

    Args:
        scores: float32 [n, classes], n > 0.
        reference: float32 [n, classes].
    """
    return float(np.mean(scores.argmax(axis=1) == reference.argmax(axis=1)))


def share_within_tolerance(scores: np.ndarray, reference: np.ndarray) -> float:
    """Share of pictures all of whose scores differ by at most `SCORE_TOLERANCE`, 0 to 1.

    Args:
        scores: float32 [n, classes], n > 0.
        reference: float32 [n, classes].
    """
    return float(np.mean(np.abs(scores - reference).max(axis=1) <= SCORE_TOLERANCE))
