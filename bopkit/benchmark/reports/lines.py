"""The lines of a report: measurements, the earlier ones of the same, and how each differs from a baseline."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterable
from typing import Any

from bopkit.benchmark.results import BenchmarkReport, BenchmarkRow, Environment
from bopkit.text import change_text


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measurement:
    """One row of a result, and where it comes from.

    Attributes:
        row: The figures; where accuracy was not measured with them, those of `accuracy_from` among them.
        report: The result that it is part of.
        row_index: Index of the row in that result, from 0.
        source: Name of the file; empty for a result that was just measured.
        accuracy_from: The measurement of the same file that accuracy is taken from; None for its own, or for none.
    """

    row: BenchmarkRow
    report: BenchmarkReport
    row_index: int
    source: str = ""
    accuracy_from: Measurement | None = None

    @property
    def date(self) -> datetime.datetime:
        """When its benchmark began; one without a zone is taken for UTC."""
        date = datetime.datetime.fromisoformat(self.report.protocol.date)
        return date if date.tzinfo is not None else date.replace(tzinfo=datetime.UTC)

    @property
    def environment(self) -> Environment | None:
        """The device; None where it did not answer."""
        return self.report.environments.get(self.row.device)

    @property
    def machine(self) -> tuple[str, int, str] | None:
        """What tells two devices of one name apart; None where it did not answer."""
        environment = self.environment
        return None if environment is None else (environment.cpu, environment.logical_cores, environment.machine)

    @property
    def cpu_mask(self) -> str | None:
        """Cores that it ran on; None for all."""
        return self.report.protocol.timing.cpu_mask

    @property
    def accuracy_report(self) -> BenchmarkReport:
        """The result that its accuracy is part of, with the dataset, the split and the names of classes."""
        return self.report if self.accuracy_from is None else self.accuracy_from.report

    @property
    def pictures(self) -> tuple[Any, ...]:
        """What accuracy was measured on: accuracy on other pictures says nothing about it."""
        report = self.accuracy_report
        return report.dataset, report.split, self.row.pictures, self.row.preprocessing

    @property
    def pictures_text(self) -> str:
        """The dataset, split and number of pictures of its accuracy; empty where there is none."""
        report = self.accuracy_report
        return "" if self.row.top1 is None else f"{report.dataset} {report.split}, {self.row.pictures} pictures"

    @property
    def accuracy_note(self) -> str | None:
        """Which result its accuracy is taken from, as a note of the row; None for its own, or for none."""
        other = self.accuracy_from
        if other is None:
            return None
        day = f"{other.date:%Y-%m-%d}"
        origin = f"from {other.source} ({day})" if other.source else f"of {day}"
        return f"Accuracy {origin}, measured on the same file (same SHA-256)."


@dataclasses.dataclass(frozen=True, kw_only=True)
class Line(Measurement):
    """A line of the table: the newest measurement of an artifact on a device with one runtime and number of threads.

    Attributes:
        number: Its place in the table, from 1.
        device_label: What to call its device.
        label: What to call it beside others in a chart: the name of the file, with what tells it from the others.
        file_label: What to call its file.
        earlier: Older measurements of the same, the newest of them first.
        change: How it differs from the baseline; None without a baseline, and for a line that the baseline lacks.
    """

    number: int
    device_label: str
    label: str
    file_label: str
    earlier: tuple[Measurement, ...] = ()
    change: BaselineChange | None = None

    @property
    def over_floor(self) -> float | None:
        """Size over the floor of one bit a binary weight and 32 bits any other."""
        row = self.row
        return row.size_bytes / row.floor_bytes if row.size_bytes and row.floor_bytes else None


@dataclasses.dataclass(frozen=True)
class BaselineChange:
    """How a line differs from its baseline.

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

    baseline: Line
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
            known = f"of the samples (95 % from {low} to {high}; no row was measured twice)"
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


def have_several_picture_sets(measurements: Iterable[Measurement]) -> bool:
    """Whether accuracies were measured on more than one set of pictures, so that each has to say on which."""
    return len({each.pictures_text for each in measurements if each.pictures_text}) > 1
