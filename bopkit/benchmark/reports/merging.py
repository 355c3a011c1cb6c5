"""Results of several devices and days side by side: the newest of each measurement, the older ones counted."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bopkit.benchmark.accuracy_figures import ACCURACY_FIGURES
from bopkit.benchmark.reports.labels import chart_labels, device_labels, file_labels
from bopkit.benchmark.reports.lines import Line, Measurement
from bopkit.benchmark.reports.reading import MERGED_REPORTS
from bopkit.benchmark.results import SCHEMA_VERSION, BenchmarkReport
from bopkit.benchmark.row_notes import is_dataset_suggestion, is_trained_on_note


@dataclasses.dataclass(frozen=True)
class MergedReport:
    """Results in one.

    Attributes:
        sources: Each result with the name of its file.
        lines: Of the table: by device, then in the order given.
    """

    sources: tuple[tuple[str, BenchmarkReport], ...]
    lines: tuple[Line, ...]

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
                    "newest": _place(line, reports),
                    "earlier": [_place(each, reports) for each in line.earlier],
                    "accuracy": line.accuracy_from and _place(line.accuracy_from, reports),
                }
                for line in self.lines
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
    measurements = [
        Measurement(row=row, report=report, row_index=index, source=source)
        for source, report in kept
        for index, row in enumerate(report.rows)
    ]
    of_the_same: dict[tuple[Any, ...], list[Measurement]] = {}
    for each in measurements:
        of_the_same.setdefault(_subject(each), []).append(each)
    devices = list(dict.fromkeys(map(_device, measurements)))
    histories = sorted(map(_newest_first, of_the_same.values()), key=lambda each: devices.index(_device(each[0])))
    return MergedReport(tuple(kept), _lines(histories, _accuracies(measurements)))


def source_names(paths: Sequence[str | Path]) -> list[str]:
    """Short names of files, all different: without the folders that they share."""
    names = [Path(path).name for path in paths]
    return names if len(set(names)) == len(set(map(str, paths))) else list(map(str, paths))


def _device(measurement: Measurement) -> tuple[Any, ...]:
    return measurement.row.device, measurement.machine


def _subject(measurement: Measurement) -> tuple[Any, ...]:
    """Equal for measurements of the same thing: artifact, threads and runtime on the same cores of a device."""
    row = measurement.row
    return row.artifact, *_device(measurement), row.threads, row.runtime, measurement.cpu_mask


def _newest_first(measurements: Iterable[Measurement]) -> list[Measurement]:
    """Of two with the same date the one that was given later counts as the newer."""
    ordered = sorted(enumerate(measurements), key=lambda each: (each[1].date, each[0]), reverse=True)
    return [measurement for _, measurement in ordered]


def _lines(histories: Sequence[Sequence[Measurement]], accuracies: Mapping[str, Measurement]) -> tuple[Line, ...]:
    """The lines of the table.

    Args:
        histories: For each line its measurements, the newest first.
        accuracies: The measurement with the accuracy of each file, by its SHA-256.
    """
    newest = [_with_accuracy(each[0], accuracies) for each in histories]
    devices = device_labels(newest)
    charts, files = chart_labels(newest), file_labels(newest, devices)
    return tuple(
        Line(
            **vars(each),
            number=index + 1,
            device_label=devices[index],
            label=charts[index],
            file_label=files[index],
            earlier=tuple(histories[index][1:]),
        )
        for index, each in enumerate(newest)
    )


def _accuracies(measurements: Sequence[Measurement]) -> dict[str, Measurement]:
    """The measurement with the accuracy of each file on most pictures, of several the newest; by its SHA-256."""
    found: dict[str, Measurement] = {}
    for each in sorted(_newest_first(measurements), key=lambda each: -(each.row.pictures or 0)):
        if each.row.top1 is not None and each.row.model_sha256:
            found.setdefault(each.row.model_sha256, each)
    return found


_OF_THE_HOST = ("images_per_second",)
"""Figures that come with accuracy, and are of the host that measured it."""


def _with_accuracy(measurement: Measurement, accuracies: Mapping[str, Measurement]) -> Measurement:
    """The measurement with the accuracy of its file, and a note of where that comes from; as it is if it has one."""
    row = measurement.row
    other = accuracies.get(row.model_sha256 or "")
    if other is None or row.top1 is not None or row.error is not None:
        return measurement
    figures = {name: getattr(other.row, name) for name in ACCURACY_FIGURES if name not in _OF_THE_HOST}
    taken = dataclasses.replace(measurement, accuracy_from=other)
    own = [note for note in row.notes if not is_dataset_suggestion(note)]
    notes = [*own, *filter(is_trained_on_note, other.row.notes), str(taken.accuracy_note)]
    return dataclasses.replace(taken, row=dataclasses.replace(row, **figures, notes=notes))


def _place(measurement: Measurement, reports: Sequence[BenchmarkReport]) -> dict[str, int]:
    for number, report in enumerate(reports):
        if report is measurement.report:
            return {"report": number, "row": measurement.row_index}
    raise ValueError("a measurement belongs to none of the reports")
