"""Short names of devices, files, lines and cores, different for different things."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import Any

from bopkit.benchmark.reports.lines import Line, Measurement
from bopkit.benchmark.results import LOCAL
from bopkit.errors import UsageError
from bopkit.host import parse_cpu_mask
from bopkit.text import threads_text


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


def chart_labels(measurements: Sequence[Measurement]) -> list[str]:
    """What to call each in a chart: the name of its file if that is enough, threads and runtime if they differ."""
    rows = [each.row for each in measurements]
    artifacts = {row.artifact for row in rows}
    names = {artifact: PurePath(artifact).name or artifact for artifact in artifacts}
    if len(set(names.values())) < len(artifacts):
        names = {artifact: artifact for artifact in artifacts}
    threads = {row.threads for row in rows if row.error is None}
    runtimes = {(row.artifact, row.runtime) for row in rows if row.runtime}
    labels = []
    for row in rows:
        more = [threads_text(row.threads)] if len(threads) > 1 and row.threads is not None else []
        if sum(artifact == row.artifact for artifact, _ in runtimes) > 1:
            more.append(row.runtime)
        labels.append(", ".join([names[row.artifact], *more]))
    return labels


def file_labels(measurements: Sequence[Measurement], devices: Sequence[str]) -> list[str]:
    """What to call the file of each: its path, and its device where another file has the same path elsewhere.

    Args:
        measurements: Of the lines.
        devices: The label of each one's device.
    """
    contents: dict[str, set[str | int]] = {}
    for row in (each.row for each in measurements):
        known = row.model_sha256 or row.size_bytes
        contents.setdefault(row.artifact, set()).update([] if known is None else [known])
    names = [(each.row.artifact, device) for each, device in zip(measurements, devices, strict=True)]
    return [f"{name} on {device}" if len(contents[name]) > 1 else name for name, device in names]


def sentence_label(lines: Sequence[Line], all_lines: Sequence[Line]) -> str:
    """What to call lines of one artifact in a sentence: `a.tflite on ssh://pi@board, 1 thread; on ...`.

    A device other than this host is always named; threads, runtime and cores where they tell lines of one artifact and
    device apart.

    Args:
        lines: Of the same artifact; at least one.
        all_lines: Of the report.
    """
    first, *others = (_place_texts(line, all_lines) for line in lines)
    comma = "," if first and not first[0].startswith("on ") else ""
    start = " ".join([lines[0].row.artifact + comma, *([", ".join(first)] if first else [])])
    return "; ".join([start, *map(", ".join, others)])


def _place_texts(line: Line, all_lines: Sequence[Line]) -> list[str]:
    """Where and how a line was measured, as far as it has to be said; empty for the only one of an artifact here."""
    of_artifact = [each for each in all_lines if each.row.artifact == line.row.artifact]
    on_device = [each for each in of_artifact if each.device_label == line.device_label]
    is_plain = line.device_label == LOCAL and len(on_device) == len(of_artifact)
    texts = [] if is_plain else [f"on {line.device_label}"]
    for value_of, text_of in _SETTINGS:
        if len({value_of(each) for each in on_device}) > 1 and value_of(line) is not None:
            texts.append(text_of(line))
    return texts


_SETTINGS: tuple[tuple[Callable[[Line], object], Callable[[Line], str]], ...] = (
    (lambda line: line.row.threads, lambda line: threads_text(line.row.threads or 0)),
    (lambda line: line.row.runtime or None, lambda line: line.row.runtime),
    (
        lambda line: line.cpu_mask or "all",
        lambda line: on_cores_text(line.cpu_mask) if line.cpu_mask else "on all cores",
    ),
)
"""What tells lines of one artifact and device apart, None where it is not known, and how to say it."""


def cores_text(cpu_mask: str | None) -> str:
    """The cores of a mask by their numbers: `1`, `4-7`, `0, 2-3`; `all` without one.

    Args:
        cpu_mask: Hexadecimal, as `taskset` takes it; what is no mask is named as it is.
    """
    if cpu_mask is None:
        return "all"
    try:
        cores = sorted(parse_cpu_mask(cpu_mask))
    except UsageError:  # a file may hold anything
        return f"mask {cpu_mask}"
    neighbours = itertools.groupby(enumerate(cores), lambda each: each[1] - each[0])
    runs = [[core for _, core in group] for _, group in neighbours]
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def on_cores_text(cpu_mask: str) -> str:
    """`on core 1`, `on cores 4-7`."""
    text = cores_text(cpu_mask)
    if text.startswith("mask"):
        return f"with CPU {text}"
    return f"on core{'' if text.isdecimal() else 's'} {text}"
