"""What changed against a baseline, and whether a latency did so beyond the noise of its samples."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bopkit.benchmark.reports.merging import Entry, Measurement
from bopkit.benchmark.results import BenchmarkRow
from bopkit.text import change_text

RESAMPLES = 1000
"""Of the bootstrap: its interval then moves by a few percent of its own width from seed to seed."""

LARGEST_RESAMPLED = 4000
"""Samples beyond so many are thinned out first: seconds of arithmetic for nothing."""

FEWEST_SAMPLES = 5


@dataclasses.dataclass(frozen=True)
class Change:
    """A row against its baseline.

    Attributes:
        baseline: What it is compared with.
        same_machine: Whether both ran on the same CPU; else nothing is said of times and memory.
        same_pictures: Whether accuracy was measured on the same pictures; else nothing is said of it.
        latency_ratio: p50 over the baseline's p50.
        latency_ratio_interval: Ends of the 95 % bootstrap interval of that ratio; None with too few samples.
        repeat_ratio: Largest over smallest p50 among repeated measurements of the same, on either side: noise from run
            to run, which samples of one run know nothing of. None where nothing was measured twice.
        size_ratio: Size over the baseline's.
        top1_difference: top-1 less the baseline's, -1 to 1.
    """

    baseline: Measurement
    same_machine: bool
    same_pictures: bool
    latency_ratio: float | None
    latency_ratio_interval: tuple[float, float] | None
    repeat_ratio: float | None
    size_ratio: float | None
    top1_difference: float | None

    @property
    def is_beyond_noise(self) -> bool | None:
        """Whether the interval leaves out 1, and the ratio is beyond that of repeats; None where there is none."""
        interval, ratio = self.latency_ratio_interval, self.latency_ratio
        if interval is None or ratio is None:
            return None
        is_beyond_repeats = self.repeat_ratio is None or max(ratio, 1 / ratio) > self.repeat_ratio
        return is_beyond_repeats and not interval[0] <= 1 <= interval[1]

    @property
    def latency_text(self) -> str:
        """How p50 changed and whether beyond noise, for a person: `+4.2 %, beyond noise, ...`."""
        return ", ".join(text for text in (change_text(self.latency_ratio), self.noise_text) if text)

    @property
    def noise_text(self) -> str:
        """What the interval says of a difference of p50, for a person; empty where there is none."""
        if self.latency_ratio_interval is None:
            return ""
        low, high = map(change_text, self.latency_ratio_interval)
        if self.repeat_ratio is None:
            known = f"of the samples (95 % from {low} to {high}; nothing was measured twice)"
        else:
            known = f"(95 % from {low} to {high}; repeats differ by {change_text(self.repeat_ratio)[1:]})"
        return f"{'beyond' if self.is_beyond_noise else 'within'} the noise {known}"

    def to_dict(self) -> dict[str, Any]:
        """As plain values; of the baseline its artifact and date."""
        return {
            "baseline_artifact": self.baseline.row.artifact,
            "baseline_date": self.baseline.report.protocol.date,
            "same_machine": self.same_machine,
            "same_pictures": self.same_pictures,
            "latency_ratio": self.latency_ratio,
            "latency_ratio_interval": self.latency_ratio_interval,
            "repeat_ratio": self.repeat_ratio,
            "is_beyond_noise": self.is_beyond_noise,
            "size_ratio": self.size_ratio,
            "top1_difference": self.top1_difference,
        }


def compare_entries(entries: Sequence[Entry], baseline: Sequence[Entry]) -> list[Change | None]:
    """Compare entries with those of a baseline, each with at most one, and no two with the same.

    An entry matches one with the same device, threads and runtime, and of these the one with the same path; else with
    the same file name, else with the same SHA-256, else with the same architecture and kind of artifact, as long as
    there is one such only. One that was measured on the same machine comes first.

    Args:
        entries: What was measured.
        baseline: What it is compared with.

    Returns:
        One an entry; None where the baseline has no such row.
    """
    measured, others = [each.newest for each in entries], [each.newest for each in baseline]
    partners: dict[int, int] = {}
    for on_machine, identity in itertools.product((True, False), _IDENTITIES):
        waiting = {index: each for index, each in enumerate(measured) if index not in partners}
        free = {index: each for index, each in enumerate(others) if index not in partners.values()}
        names = _unique(waiting, identity, on_machine)
        for name, index in _unique(free, identity, on_machine).items():
            if name in names:
                partners[names[name]] = index
    return [
        _change(entry, baseline[partners[index]]) if index in partners else None for index, entry in enumerate(entries)
    ]


_IDENTITIES: tuple[Callable[[BenchmarkRow], Any], ...] = (
    lambda row: row.artifact,
    lambda row: Path(row.artifact).name,
    lambda row: row.model_sha256,
    lambda row: (row.architecture, row.kind) if row.architecture else None,
)


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


def _unique(
    measurements: Mapping[int, Measurement], identity: Callable[[BenchmarkRow], Any], on_machine: bool
) -> dict[tuple[Any, ...], int]:
    """The numbers of measurements that are the only ones of an identity, by it and by where they were measured."""
    found: dict[tuple[Any, ...], list[int]] = {}
    for index, each in measurements.items():
        row, name = each.row, identity(each.row)
        if name is not None:
            place = (row.device, row.threads, row.runtime, each.cpu_mask, each.machine if on_machine else None)
            found.setdefault((name, *place), []).append(index)
    return {name: places[0] for name, places in found.items() if len(places) == 1}


def _change(entry: Entry, before: Entry) -> Change:
    measurement, baseline = entry.newest, before.newest
    row, old = measurement.row, baseline.row
    same_machine = measurement.machine == baseline.machine
    same_pictures = measurement.pictures == baseline.pictures
    ratio = _ratio(row.latency_ms_p50, old.latency_ms_p50) if same_machine else None
    return Change(
        baseline=baseline,
        same_machine=same_machine,
        same_pictures=same_pictures,
        latency_ratio=ratio,
        latency_ratio_interval=median_ratio_interval(row.samples_ms, old.samples_ms) if same_machine else None,
        repeat_ratio=_repeat_ratio((entry, before)) if same_machine else None,
        size_ratio=_ratio(row.size_bytes, old.size_bytes),
        top1_difference=row.top1 - old.top1
        if same_pictures and row.top1 is not None and old.top1 is not None
        else None,
    )


def _repeat_ratio(entries: Iterable[Entry]) -> float | None:
    """Largest over smallest p50 of the same artifact: a file that has changed is no repeat."""
    ratios = []
    for entry in entries:
        same = [each for each in (entry.newest, *entry.earlier) if _contents(each.row) == _contents(entry.row)]
        times_ms = [each.row.latency_ms_p50 for each in same if each.row.latency_ms_p50]
        if len(times_ms) > 1:
            ratios.append(max(times_ms) / min(times_ms))
    return max(ratios, default=None)


def _contents(row: BenchmarkRow) -> tuple[int | None, str | None]:
    return row.size_bytes, row.model_sha256


def _ratio(value: float | None, baseline: float | None) -> float | None:
    """The ratio of two figures; None where one was not measured, or is no figure to compare with."""
    return value / baseline if value is not None and value > 0 and baseline is not None and baseline > 0 else None
