"""Whether two latencies differ by more than the noise of their samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bopkit.benchmark.results import BenchmarkRow

RESAMPLES = 1000
"""Of the bootstrap: its interval then moves by a few percent of its own width from seed to seed."""

LARGEST_RESAMPLED = 4000
"""Samples beyond so many are thinned out first: seconds of arithmetic for nothing."""

FEWEST_SAMPLES = 5


def median_ratio_interval(samples: Sequence[float], others: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % interval of the ratio of two medians, by a block bootstrap.

    Neighbouring runs are alike (clocks and other programs change slowly), so blocks of them are drawn, of the square
    root of their number (Künsch 1989). It knows of the noise within two measurements, not of that between two days.

    Args:
        samples: In the order in which they were measured.
        others: Those of the denominator.

    Returns:
        Lower and upper end; None with fewer than `FEWEST_SAMPLES` of either, or times that are no times.
    """
    first, second = (_thinned(np.asarray(each, float)) for each in (samples, others))
    if min(len(first), len(second)) < FEWEST_SAMPLES or min(first.min(), second.min()) <= 0:
        return None
    generator = np.random.default_rng(0)
    ratios = _resampled_medians(first, generator) / _resampled_medians(second, generator)
    low, high = np.percentile(ratios, (2.5, 97.5))
    return float(low), float(high)


def may_be_as_fast(slower: BenchmarkRow, faster: BenchmarkRow) -> bool:
    """Whether two medians may differ by chance: their samples' 95 % interval of the ratio contains 1.

    Nothing is noise where there are no samples to tell it by.
    """
    if not slower.samples_ms or not faster.samples_ms:
        return False
    if np.percentile(slower.samples_ms, 10) > np.percentile(faster.samples_ms, 90):
        return False  # far apart: spares most pairs the resampling
    interval = median_ratio_interval(slower.samples_ms, faster.samples_ms)
    return interval is not None and interval[0] <= 1 <= interval[1]


def _thinned(samples: np.ndarray) -> np.ndarray:
    return samples[:: -(-len(samples) // LARGEST_RESAMPLED)] if len(samples) else samples


def _resampled_medians(samples: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Medians of `RESAMPLES` series of as many samples, made of blocks of neighbours; float [RESAMPLES]."""
    count = len(samples)
    length = round(np.sqrt(count))
    blocks = -(-count // length)
    starts = generator.integers(0, count, (RESAMPLES, blocks))
    # Round the end, so that the first and last samples are drawn as often as the others.
    places = (starts[:, :, None] + np.arange(length)) % count
    return np.median(samples[places].reshape(RESAMPLES, -1)[:, :count], axis=1)
