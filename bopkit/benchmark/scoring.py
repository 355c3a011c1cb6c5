"""Accuracy figures of a row, from the scores that a measuring process left."""

from __future__ import annotations

import numpy as np

from bopkit.benchmark.metrics import TOP_K, share_within_tolerance, top1_agreement, top_k_accuracy
from bopkit.benchmark.report import BenchmarkRow

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
    "confusion",
    "top1_agreement",
    "top1_agreement_interval",
    "within_tolerance",
    "images_per_second",
)
"""Attributes of a row that accuracy fills in: they belong to the artifact, not to the device."""


def score(row: BenchmarkRow, scores: np.ndarray, labels: np.ndarray) -> None:
    """Fill in what scores tell by themselves.

    Args:
        row: Of the artifact.
        scores: float32 [n, classes], n > 0.
        labels: int64 [n], 0 to classes - 1.
    """
    row.top1 = top_k_accuracy(scores, labels, 1)
    row.top5 = top_k_accuracy(scores, labels, TOP_K) if scores.shape[1] > TOP_K else None


def compare(row: BenchmarkRow, scores: np.ndarray, reference: np.ndarray) -> None:
    """Fill in how far the scores agree with those of the reference, both float32 [n, classes]."""
    row.top1_agreement = top1_agreement(scores, reference)
    row.within_tolerance = share_within_tolerance(scores, reference)
