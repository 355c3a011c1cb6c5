"""`build_report`: what `bopkit report` does with result files."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bopkit.benchmark.reports.baseline import compare_lines
from bopkit.benchmark.reports.csv_table import csv_table
from bopkit.benchmark.reports.lines import Line
from bopkit.benchmark.reports.markdown import markdown
from bopkit.benchmark.reports.merging import MergedReport, merge_reports, source_names
from bopkit.benchmark.reports.page import render_page
from bopkit.benchmark.reports.reading import read_reports
from bopkit.benchmark.reports.rules import Finding, check_rules, parse_rule
from bopkit.benchmark.results import ROW_COLUMNS, BenchmarkReport, without_what_is_usual
from bopkit.errors import BopkitError, UsageError
from bopkit.tabular import Column, Tabular, record
from bopkit.text import change_text, threads_text


@dataclasses.dataclass(frozen=True, repr=False)
class Report(Tabular):
    """Merged results, compared and checked.

    Attributes:
        merged: The results; where there is a baseline, each line has its change.
        baseline: What they are compared with; None for no comparison.
        findings: Rows that a rule holds for, or cannot be checked on.
    """

    merged: MergedReport
    baseline: MergedReport | None = None
    findings: tuple[Finding, ...] = ()

    _columns = (*ROW_COLUMNS[:5], Column("p50 change", "latency_ratio", change_text), *ROW_COLUMNS[5:])

    @property
    def only_in_baseline(self) -> list[Line]:
        """Lines of the baseline that nothing matches any more."""
        matched = [line.change.baseline for line in self.merged.lines if line.change is not None]
        before = self.baseline.lines if self.baseline is not None else ()
        return [line for line in before if all(line is not each for each in matched)]

    @property
    def texts(self) -> list[str]:
        """What a person has to know besides the table, a line each: changes of latency, what is gone, what failed."""
        texts = []
        for line in self.merged.lines if self.baseline is not None else ():
            threads = "" if line.row.threads is None else f", {threads_text(line.row.threads)}"
            where = f"{line.row.artifact} on {line.row.device}{threads}"
            if line.change is None:
                texts.append(f"{where}: the baseline has no such row.")
            elif not line.change.same_machine:
                texts.append(f"{where}: the baseline was measured on another machine; times are not compared.")
            elif line.change.noise_text:
                texts.append(f"{where}: p50 {line.change.latency_text}.")
        texts += [f"{line.row.artifact} on {line.row.device}: in the baseline only." for line in self.only_in_baseline]
        return texts + [f"Error: {finding}" for finding in self.findings]

    def html(self) -> str:
        """The page."""
        return render_page(self.merged, self.findings, title="Benchmark report")

    def markdown(self) -> str:
        """The table as Markdown."""
        return markdown(self.merged, self.findings)

    def csv(self) -> str:
        """Every figure as CSV."""
        return csv_table(self.merged)

    def to_dict(self) -> dict[str, Any]:
        """As plain values: the merged results, with each line's change, and what the rules found."""
        values = self.merged.to_dict()
        if self.baseline is not None:
            for entry, line in zip(values["entries"], self.merged.lines, strict=True):
                entry["change"] = None if line.change is None else line.change.to_dict()
        return {**values, "findings": [dataclasses.asdict(finding) for finding in self.findings]}

    def _title(self) -> str:
        if self.findings:
            return f"{self.findings[0]}{f' And {len(self.findings) - 1} more.' if len(self.findings) > 1 else ''}"
        return "" if self.baseline is None else "compared with a baseline"

    def _records(self) -> list[dict[str, Any]]:
        records = []
        for line in self.merged.lines:
            report = line.accuracy_report
            origin = {"date": line.report.protocol.date, "source": line.source}
            change = record(line.change) if line.change is not None else {}
            records.append({**record(line.row), "dataset": report.dataset, "split": report.split, **origin, **change})
        return records

    def _shown_records(self) -> list[dict[str, Any]]:
        return without_what_is_usual(self._records())


def build_report(
    results: Sequence[str | Path], baseline: str | Path | None = None, fail_if: Sequence[str] = ()
) -> Report:
    """Merge result files, compare them with a baseline, and check rules.

    Args:
        results: Files of `bopkit benchmark --json`, in any order.
        baseline: Such a file to compare with; None for no comparison.
        fail_if: Rules, as `parse_rule` reads them.

    Raises:
        UsageError: A rule is invalid or lacks a baseline, or no result was named.
        BopkitError: A file is not a result.
    """
    rules = [parse_rule(text) for text in fail_if]
    relative = [rule.text for rule in rules if rule.needs_baseline]
    if relative and baseline is None:
        raise UsageError(f"The rule {relative[0]!r} needs a baseline.", "Name one with --baseline.")
    if not results:
        raise UsageError("No result was named.", "Give files of `bopkit benchmark --json`.")
    merged = merge_reports(_read_all(results))
    if not merged.lines:
        raise BopkitError("The results contain no rows.", "Give results of `bopkit benchmark --json`.")
    before = None if baseline is None else merge_reports(_read_all([baseline]))
    if before is not None:
        changes = compare_lines(merged.lines, before.lines)
        lines = (dataclasses.replace(line, change=each) for line, each in zip(merged.lines, changes, strict=True))
        merged = dataclasses.replace(merged, lines=tuple(lines))
    report = Report(merged, before)
    return dataclasses.replace(report, findings=tuple(check_rules(rules, merged.lines, report.only_in_baseline)))


def _read_all(paths: Sequence[str | Path]) -> list[tuple[str, BenchmarkReport]]:
    return [
        (name, report) for path, name in zip(paths, source_names(paths), strict=True) for report in read_reports(path)
    ]
