"""Results of several devices and days side by side: the newest of each measurement, the older ones counted."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bopkit.benchmark.report import SCHEMA_VERSION, BenchmarkReport, BenchmarkRow, Environment
from bopkit.benchmark.reports.reading import MERGED_REPORTS


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One row and where it comes from.

    Attributes:
        row: The figures.
        report: The result that it is part of.
        source: Name of the file; empty for a result that was just measured.
    """

    row: BenchmarkRow
    report: BenchmarkReport
    source: str = ""

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
    def pictures(self) -> tuple[Any, ...]:
        """What accuracy was measured on: accuracy on other pictures says nothing about it."""
        return self.report.dataset, self.report.split, self.row.pictures, self.row.preprocessing

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for measurements of the same thing: artifact, threads and runtime on the same cores of a device."""
        return self.row.artifact, self.row.device, self.machine, self.row.threads, self.row.runtime, self.cpu_mask


@dataclasses.dataclass(frozen=True)
class Entry:
    """One line of a merged report.

    Attributes:
        newest: What stands in the tables.
        earlier: Older measurements of the same, the newest of them first.
    """

    newest: Measurement
    earlier: tuple[Measurement, ...] = ()

    @property
    def row(self) -> BenchmarkRow:
        """The figures of the newest measurement."""
        return self.newest.row


@dataclasses.dataclass(frozen=True)
class MergedReport:
    """Results in one.

    Attributes:
        sources: Each result with the name of its file.
        entries: By device, then in the order given.
    """

    sources: tuple[tuple[str, BenchmarkReport], ...]
    entries: tuple[Entry, ...]

    def to_dict(self) -> dict[str, Any]:
        """As dictionaries, lists, strings and finite numbers; `bopkit report` reads it again.

        Returns:
            `reports` as they were, and of each line of the tables the numbers of its report and row (from 0) under
            `newest`, and those of the measurements that it stands for under `earlier`.
        """
        reports = [report for _, report in self.sources]
        return {
            "schema_version": SCHEMA_VERSION,
            MERGED_REPORTS: [report.to_dict() for report in reports],
            "sources": [source for source, _ in self.sources],
            "entries": [
                {
                    "newest": _place(entry.newest, reports),
                    "earlier": [_place(each, reports) for each in entry.earlier],
                }
                for entry in self.entries
            ],
        }


def merge_reports(sources: Iterable[tuple[str, BenchmarkReport]]) -> MergedReport:
    """Merge results; the same result given twice counts once.

    Args:
        sources: Name of the file and result, in any order.
    """
    kept: list[tuple[str, BenchmarkReport]] = []
    for source, report in sources:
        if all(report != other for _, other in kept):
            kept.append((source, report))
    by_key: dict[tuple[Any, ...], list[Measurement]] = {}
    for source, report in kept:
        for row in report.rows:
            measurement = Measurement(row, report, source)
            by_key.setdefault(measurement.key, []).append(measurement)
    devices = list(dict.fromkeys(key[1:3] for key in by_key))
    entries = [_entry(measurements) for measurements in by_key.values()]
    entries.sort(key=lambda entry: devices.index(entry.newest.key[1:3]))
    return MergedReport(tuple(kept), tuple(entries))


def device_labels(measurements: Sequence[Measurement]) -> list[str]:
    """What to call the device of each: its name, and its CPU where another device has the same name."""
    machines: dict[str, set[Any]] = {}
    for each in measurements:
        machines.setdefault(each.row.device, set()).add(each.machine)
    return [_device_label(each, len(machines[each.row.device]) > 1) for each in measurements]


def _device_label(measurement: Measurement, is_shared: bool) -> str:
    environment = measurement.environment
    if not is_shared or environment is None:
        return measurement.row.device
    return f"{measurement.row.device} ({environment.cpu}, {environment.logical_cores} cores)"


def source_names(paths: Sequence[str | Path]) -> list[str]:
    """Short names of files, all different: without the folders that they share."""
    names = [Path(path).name for path in paths]
    return names if len(set(names)) == len(set(map(str, paths))) else list(map(str, paths))


def _entry(measurements: Sequence[Measurement]) -> Entry:
    # Of two with the same date the one that was given later counts as the newer.
    ordered = sorted(enumerate(measurements), key=lambda each: (each[1].date, each[0]), reverse=True)
    newest, *earlier = (measurement for _, measurement in ordered)
    return Entry(newest, tuple(earlier))


def _place(measurement: Measurement, reports: Sequence[BenchmarkReport]) -> dict[str, int]:
    for number, report in enumerate(reports):
        if report is measurement.report:
            index = next(index for index, row in enumerate(report.rows) if row is measurement.row)
            return {"report": number, "row": index}
    raise ValueError("a measurement belongs to none of the reports")
