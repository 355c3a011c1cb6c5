"""Bins of latencies: they hold every sample, are neither too many nor too few, and follow the ticks of a clock."""

import numpy as np
import pytest

from bopkit.benchmark.reports.bins import FEWEST_BINS, MOST_BINS, latency_bins

RNG = np.random.default_rng(0)
CASES = {
    "one": [2.0],
    "constant": [2.0] * 50,
    "constant zero": [0.0] * 50,
    "two values": [1.0, 2.0],
    "nearly constant": [3.0] * 99 + [4.0],
    "few": [1.9, 2.0, 2.05, 2.3, 2.9],
    "two peaks": np.r_[RNG.normal(2, 0.01, 3000), RNG.normal(2.5, 0.01, 3000)],
    "slow clock": RNG.normal(2, 0.2, 300).round(1),
    "many": RNG.normal(2, 0.1, 20_000),
    "long tail": RNG.gamma(2, 1, 20_000),
    "far": [1e-300, 1e-290, 1e18],
}


@pytest.mark.parametrize("case", CASES)
def test_every_sample_is_in_a_bin(case):
    samples = np.asarray(CASES[case])
    edges, counts = latency_bins(samples, samples.max())
    assert len(edges) == len(counts) + 1 <= MOST_BINS + 1 and np.all(np.diff(edges) > 0)
    assert counts.sum() == len(samples) and edges[0] <= samples.min() and edges[-1] >= samples.max()
    assert counts[0] > 0 and counts[-1] > 0


def test_the_width_is_that_of_freedman_and_diaconis():
    samples = RNG.normal(2, 0.1, 1000)
    edges, _ = latency_bins(samples, samples.max())
    lower, upper = np.percentile(samples, (25, 75))
    assert edges[1] - edges[0] == pytest.approx(2 * (upper - lower) / 10)


def test_equal_latencies_are_one_narrow_bin_around_them():
    edges, counts = latency_bins(np.full(50, 2.0), 2.0)
    assert counts.tolist() == [50] and edges.tolist() == pytest.approx([1.99, 2.01])


def test_no_bin_is_empty_by_the_ticks_of_a_clock():
    samples = np.repeat(np.arange(20, 30) / 10, 7)  # every tick of a tenth occurs
    edges, counts = latency_bins(samples, samples.max())
    assert np.diff(edges) == pytest.approx([0.1] * 10) and counts.tolist() == [7] * 10


def test_two_peaks_are_seen():
    edges, counts = latency_bins(CASES["two peaks"], 3.0)
    is_between = (edges[:-1] > 2.1) & (edges[1:] < 2.4)
    assert len(counts) >= FEWEST_BINS and is_between.sum() >= 3 and counts[is_between].sum() == 0


def test_what_is_above_the_end_is_left_out():
    edges, counts = latency_bins(np.array([1.0, 1.1, 1.2, 90.0]), 2.0)
    assert counts.sum() == 3 and edges[-1] < 1.5
