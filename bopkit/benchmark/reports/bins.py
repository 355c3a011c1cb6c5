"""Into which bins the latencies of a row are counted."""

from __future__ import annotations

import numpy as np

MOST_BINS = 60
"""More cannot be told apart in a chart of a phone's width."""

FEWEST_BINS, FEW_VALUES = 20, 12
"""Of n samples there are no fewer bins than their square root, up to the first number: fewer hide that latencies have
two peaks. So few different values have a bin each."""

CONSTANT_WIDTH = 0.01
"""Width of the only bin of equal latencies, as a share of them."""


def latency_bins(samples_ms: np.ndarray, high_ms: float) -> tuple[np.ndarray, np.ndarray]:
    """Count latencies in bins of equal width.

    The width is that of Freedman and Diaconis, 2 IQR / n^(1/3), within the limits above. Where a clock
    ticks so slowly that few values occur, it is a multiple of a tick: else some bins would be empty by arithmetic.

    Args:
        samples_ms: float [n], n at least 1, in any order.
        high_ms: What is above is left out; not below the smallest sample.

    Returns:
        Edges in milliseconds, ascending float64 [bins + 1], and counts, int [bins].
    """
    kept = np.sort(np.asarray(samples_ms, np.float64))
    kept = kept[kept <= high_ms]
    low, span = kept[0], kept[-1] - kept[0]
    if not span > 0:
        half = abs(low) * CONSTANT_WIDTH / 2 or 0.5
        return np.array([low - half, low + half]), np.array([len(kept)])
    values = np.unique(kept)
    lower, upper = np.percentile(kept, (25, 75))
    width = 2 * (upper - lower) / len(kept) ** (1 / 3)
    fewest = max(min(FEWEST_BINS, int(len(kept) ** 0.5)), min(FEW_VALUES, len(values)))
    width = max(min(width or span, span / fewest), span / MOST_BINS)
    tick = np.diff(values).min() if len(values) <= MOST_BINS else 0.0
    start = low
    if tick > width / MOST_BINS:
        width, start = np.ceil(width / tick - 1e-6) * tick, low - tick / 2
    edges = start + width * np.arange(int(np.ceil((kept[-1] - start) / width - 1e-6)) + 1)
    edges[-1] = max(edges[-1], kept[-1])
    return edges, np.histogram(kept, edges)[0]
