"""Results of several devices and days side by side: the newest of each measurement, the older ones counted."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bopkit.benchmark.accuracy_figures import ACCURACY_FIGURES
from bopkit.benchmark.reports.reading import MERGED_REPORTS
from bopkit.benchmark.results import SCHEMA_VERSION, BenchmarkReport, BenchmarkRow, Environment
from bopkit.benchmark.row_notes import is_dataset_suggestion, is_trained_on_note


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One row and where it comes from.

    Attributes:
        row: The figures; where accuracy was not measured with them, those of `donor` among them.
        report: The result that it is part of.
        number: Of the row in that result, from 0.
        source: Name of the file; empty for a result that was just measured.
        donor: The measurement of the same file that accuracy is taken from; None for its own, or for none.
    """

    row: BenchmarkRow
    report: BenchmarkReport
    number: int
    source: str = ""
    donor: Measurement | None = None

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
        return self.report if self.donor is None else self.donor.report

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
    def donor_note(self) -> str | None:
        """Where its accuracy is taken from, as a note of the row; None for its own, or for none."""
        return None if self.donor is None else _donor_note(self.donor)

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
            `newest`, those of the measurements that it stands for under `earlier`, and under `accuracy` those of the
            row that accuracy is taken from, null where that is its own or there is none.
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
                    "accuracy": entry.newest.donor and _place(entry.newest.donor, reports),
                }
                for entry in self.entries
            ],
        }


def merge_reports(sources: Iterable[tuple[str, BenchmarkReport]]) -> MergedReport:
    """Merge results; the same result given twice counts once.

    Accuracy belongs to the artifact: lines without any take that of the same file, which the SHA-256 tells; of several
    that on most pictures, then the newest. SavedModel directories have no SHA-256, so they keep to their own: a path
    does not tell what is in it.

    Args:
        sources: Name of the file and result, in any order.
    """
    kept: list[tuple[str, BenchmarkReport]] = []
    for source, report in sources:
        if all(report != other for _, other in kept):
            kept.append((source, report))
    by_key: dict[tuple[Any, ...], list[Measurement]] = {}
    all_measurements = [
        Measurement(row, report, number, source) for source, report in kept for number, row in enumerate(report.rows)
    ]
    for measurement in all_measurements:
        by_key.setdefault(measurement.key, []).append(measurement)
    devices = list(dict.fromkeys(key[1:3] for key in by_key))
    donors = _donors(all_measurements)
    entries = [_entry(measurements, donors) for measurements in by_key.values()]
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


def _newest_first(measurements: Iterable[Measurement]) -> list[Measurement]:
    """Of two with the same date the one that was given later counts as the newer."""
    ordered = sorted(enumerate(measurements), key=lambda each: (each[1].date, each[0]), reverse=True)
    return [measurement for _, measurement in ordered]


def _entry(measurements: Sequence[Measurement], donors: Mapping[str, Measurement]) -> Entry:
    newest, *earlier = _newest_first(measurements)
    return Entry(_with_accuracy(newest, donors), tuple(earlier))


def _donors(measurements: Sequence[Measurement]) -> dict[str, Measurement]:
    """The measurement with the accuracy of each file on most pictures, of several the newest; by its SHA-256."""
    found: dict[str, Measurement] = {}
    for each in sorted(_newest_first(measurements), key=lambda each: -(each.row.pictures or 0)):
        if each.row.top1 is not None and each.row.model_sha256:
            found.setdefault(each.row.model_sha256, each)
    return found


_OF_THE_HOST = ("images_per_second",)
"""Figures that come with accuracy, and are of the host that measured it."""


def _with_accuracy(measurement: Measurement, donors: Mapping[str, Measurement]) -> Measurement:
    """The measurement with the accuracy of its file, and a note of where that comes from; as it is if it has one."""
    row = measurement.row
    donor = donors.get(row.model_sha256 or "")
    if donor is None or row.top1 is not None or row.error is not None:
        return measurement
    figures = {name: getattr(donor.row, name) for name in ACCURACY_FIGURES if name not in _OF_THE_HOST}
    own = [note for note in row.notes if not is_dataset_suggestion(note)]
    notes = [*own, *filter(is_trained_on_note, donor.row.notes), _donor_note(donor)]
    return dataclasses.replace(measurement, row=dataclasses.replace(row, **figures, notes=notes), donor=donor)


def _donor_note(donor: Measurement) -> str:
    day = f"{donor.date:%Y-%m-%d}"
    origin = f"from {donor.source} ({day})" if donor.source else f"of {day}"
    return f"Accuracy {origin}: the same file by its SHA-256."


def _place(measurement: Measurement, reports: Sequence[BenchmarkReport]) -> dict[str, int]:
    for number, report in enumerate(reports):
        if report is measurement.report:
            return {"report": number, "row": measurement.number}
    raise ValueError("a measurement belongs to none of the reports")
