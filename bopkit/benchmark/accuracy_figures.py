"""The accuracy figures of a row, computed from the scores that a measuring process wrote."""

from __future__ import annotations

import numpy as np

from bopkit.benchmark.results import BenchmarkRow
from bopkit.metrics import (
    TOP_K,
    balanced_accuracy,
    calibration_error,
    class_top1,
    confusion,
    cross_entropy,
    predicted_classes,
    share_within_tolerance,
    top1_agreement,
    top_k_accuracy,
    wilson_interval,
)

ACCURACY_FIGURES = (
    "preprocessing",
    "preprocessing_source",
    "pictures",
    "top1",
    "top1_interval",
    "top5",
    "top5_interval",
    "loss",
    "calibration_error",
    "class_top1",
    "balanced_accuracy",
    "confusion",
    "top1_agreement",
    "top1_agreement_interval",
    "within_tolerance",
    "images_per_second",
)
"""The attributes of a row that hold its accuracy: they are the artifact's, the same on every device."""


def fill_accuracy(row: BenchmarkRow, scores: np.ndarray, labels: np.ndarray) -> None:
    """Fill in top-1, top-5, loss, calibration error and confusion.

    Args:
        row: Of the artifact.
        scores: float32 [n, classes], n > 0.
        labels: int64 [n], 0 to classes - 1.
    """
    count, classes = scores.shape
    predicted = predicted_classes(scores)
    row.top1 = top_k_accuracy(scores, labels, 1)
    row.top1_interval = wilson_interval(row.top1, count)
    if classes > TOP_K:
        row.top5 = top_k_accuracy(scores, labels, TOP_K)
        row.top5_interval = wilson_interval(row.top5, count)
    row.loss = cross_entropy(scores, labels)
    row.calibration_error = calibration_error(scores, predicted, labels)
    row.class_top1 = class_top1(predicted, labels, classes)
    row.balanced_accuracy = balanced_accuracy(row.class_top1)
    row.confusion = confusion(predicted, labels)


def fill_agreement(row: BenchmarkRow, scores: np.ndarray, reference: np.ndarray) -> None:
    """Fill in how often an artifact agrees with the reference.

    Args:
        row: Of the artifact.
        scores: float32 [n, classes], n > 0, of the artifact.
        reference: float32 [n, classes], of the reference.
    """
    row.top1_agreement = top1_agreement(scores, reference)
    row.top1_agreement_interval = wilson_interval(row.top1_agreement, len(scores))
    row.within_tolerance = share_within_tolerance(scores, reference)
