"""Accuracy and agreement, from scores."""

from __future__ import annotations

import numpy as np

TOP_K = 5
"""Classes that count for top-5 accuracy, and that a served network answers for an encoded picture."""

SCORE_TOLERANCE = 1e-4
"""Largest absolute difference of scores that count as equal: float kernels sum in different orders."""


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
