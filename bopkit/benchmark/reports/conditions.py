"""How the figures of a report were measured, in sentences below its table."""

from __future__ import annotations

from bopkit.benchmark.reports.labels import on_cores_text
from bopkit.benchmark.reports.merging import MergedReport
from bopkit.benchmark.results import EMULATED, LOCAL, BenchmarkReport


def conditions(merged: MergedReport) -> list[str]:
    """One or two sentences a result, each once."""
    return list(dict.fromkeys(text for _, report in merged.sources for text in _conditions_of(report)))


def has_agreement(report: BenchmarkReport) -> bool:
    """Whether any of its rows was compared with the reference."""
    return bool(report.reference) and any(row.top1_agreement is not None for row in report.rows)


def has_latency(report: BenchmarkReport) -> bool:
    """Whether latency was to be measured: on emulated boards none is."""
    return not report.rows or any(not row.is_emulated for row in report.rows)


def _emulation_texts(report: BenchmarkReport) -> list[str]:
    """What the instructions of emulated boards are, a sentence a compiler."""
    boards: dict[object, list[str]] = {}
    for row in report.rows:
        environment = report.environments.get(row.device)
        if row.instructions is not None and environment is not None:
            boards.setdefault(row.settings.get("compiler"), []).append(f"{environment.cpu} ({row.device})")
    return [
        f"instructions of one picture, which are no time, on {'; '.join(dict.fromkeys(names))}; built by {compiler}"
        for compiler, names in boards.items()
    ]


def _preprocessings(report: BenchmarkReport) -> str:
    """Which preprocessings its rows were measured with, and who named them."""
    names = dict.fromkeys(
        f"{row.preprocessing} ({(row.preprocessing_source or 'unknown').replace('preprocess_fn', '--preprocess-fn')})"
        for row in report.rows
        if row.preprocessing
    )
    return f", preprocessing {', '.join(names)}" if names else ""


def _conditions_of(report: BenchmarkReport) -> list[str]:
    texts = []
    pictures = next((row.pictures for row in report.rows if row.pictures), None)
    if pictures:
        agreement = f"; agreement: same top-1 as {report.reference}" if has_agreement(report) else ""
        texts.append(
            f"accuracy on {pictures} pictures of {report.dataset} {report.split}{_preprocessings(report)}{agreement}"
        )
    timing, threads = report.protocol.timing, ", ".join(map(str, report.protocol.threads))
    where = "; ".join(
        f"{environment.cpu}, {environment.logical_cores} cores" + ("" if name == LOCAL else f" ({name})")
        for name, environment in report.environments.items()
        if not name.startswith(EMULATED)
    )
    texts += _emulation_texts(report)
    if not has_latency(report):
        return texts
    pinned = f" {on_cores_text(timing.cpu_mask)}" if timing.cpu_mask else ""
    texts.append(
        f"latency of one picture, {threads} {'thread' if threads == '1' else 'threads'}{pinned}, "
        f"{timing.warmup_runs} warm-up runs, then at least {timing.runs} runs and {timing.min_duration_s:g} s "
        f"(at most {timing.time_limit_s:g} s); {where or 'no device answered'}"
    )
    return texts
