"""The rows of a comparison: under the names of the networks, not of scratch files, and the ratios among them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from bopkit.benchmark import BenchmarkReport, BenchmarkRow
from bopkit.benchmark.reports import Gain
from bopkit.errors import BopkitError
from bopkit.export.comparison.build import FLOAT32, INT8, PACKED, Built


class Titles:
    """Names for a person of flatbuffers that lie in a scratch folder."""

    def __init__(self, built: Sequence[Built]):
        self._titles = {str(each.path): f"{each.name}, {each.variant}" for each in built}

    def put_into(self, text: str) -> str:
        """The text with a title in place of each path."""
        for path, title in self._titles.items():
            text = text.replace(path, title)
        return text


def _row_name(name: str, variant: str) -> str:
    return f"{name} ({variant})"


def failed_row(name: str, error: BopkitError, device: str) -> BenchmarkRow:
    """The row of a network that could not be exported, or of a device that does not answer."""
    return BenchmarkRow(_row_name(name, PACKED), device, variant=PACKED, error=error.message, hint=error.hint)


def join_reports(
    reports: Sequence[BenchmarkReport],
    built: Sequence[Built],
    failed: Sequence[BenchmarkRow],
    devices: Sequence[str],
) -> BenchmarkReport:
    """One report of all rows under the names of their networks: by device, then in the order of the networks."""
    by_path = {str(each.path): each for each in built}
    order = list(by_path)
    titles = Titles(built)
    rows = sorted(
        (row for report in reports for row in report.rows),
        key=lambda row: (list(devices).index(row.device), order.index(row.artifact)),
    )
    named = [_with_network_name(row, by_path[row.artifact], titles) for row in rows]
    environments = {name: each for report in reports for name, each in report.environments.items()}
    # Networks of different kinds are no references of each other.
    return dataclasses.replace(reports[0], rows=(*named, *failed), reference=None, environments=environments)


def _with_network_name(row: BenchmarkRow, built: Built, titles: Titles) -> BenchmarkRow:
    return dataclasses.replace(
        row,
        error=titles.put_into(row.error) if row.error is not None else None,
        hint=titles.put_into(row.hint) if row.hint is not None else None,
        notes=list(map(titles.put_into, row.notes)),
        artifact=_row_name(built.name, built.variant),
        variant=built.variant,
        floor_bytes=built.floor_bytes,
        top1_agreement=None,
        top1_agreement_interval=None,
        within_tolerance=None,
    )


def find_gains(rows: Sequence[BenchmarkRow], names: Sequence[str]) -> Iterator[Gain]:
    """How much smaller and faster each packed network is than its twins, on one device and number of threads each."""
    by_name = {(row.artifact, row.device, row.threads): row for row in rows if row.error is None}
    for (_, device, threads), packed in by_name.items():
        for name in names:
            if packed.artifact != _row_name(name, PACKED):
                continue
            for variant in (FLOAT32, INT8):
                twin = by_name.get((_row_name(name, variant), device, threads))
                if twin is not None:
                    yield Gain(name, variant, device, threads, *_ratios(twin, packed))


def _ratios(twin: BenchmarkRow, packed: BenchmarkRow) -> tuple[float | None, float | None]:
    size = twin.size_bytes / packed.size_bytes if twin.size_bytes and packed.size_bytes else None
    latency = twin.latency_ms_p50 / packed.latency_ms_p50 if twin.latency_ms_p50 and packed.latency_ms_p50 else None
    return size, latency
