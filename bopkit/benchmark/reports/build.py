"""`build_report`: what `bopkit report` does with result files."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bopkit.benchmark.reports.baseline import Change, compare_entries
from bopkit.benchmark.reports.csv_table import csv_table
from bopkit.benchmark.reports.markdown import markdown
from bopkit.benchmark.reports.merging import Entry, MergedReport, merge_reports, source_names
from bopkit.benchmark.reports.page import render_page
from bopkit.benchmark.reports.reading import read_reports
from bopkit.benchmark.reports.rules import Finding, check_rules, parse_rule
from bopkit.benchmark.results import BenchmarkReport
from bopkit.errors import BopkitError, UsageError


@dataclasses.dataclass(frozen=True)
class Report:
    """Merged results, compared and checked.

    Attributes:
        merged: The results.
        changes: Of each entry against the baseline; None without a baseline, and for an entry that it lacks.
        findings: Rows that a rule holds for, or cannot be checked on.
        only_before: Entries of the baseline that nothing matches any more.
    """

    merged: MergedReport
    changes: tuple[Change | None, ...] | None = None
    findings: tuple[Finding, ...] = ()
    only_before: tuple[Entry, ...] = ()

    @property
    def texts(self) -> list[str]:
        """What a person has to know besides the table, a line each: changes of latency, what is gone, what failed."""
        texts = []
        for entry, change in zip(self.merged.entries, self.changes or (), strict=False):
            threads = "" if entry.row.threads is None else f", {entry.row.threads} thread(s)"
            where = f"{entry.row.artifact} on {entry.row.device}{threads}"
            if change is None:
                texts.append(f"{where}: the baseline has no such row.")
            elif not change.same_machine:
                texts.append(f"{where}: the baseline was measured on another machine; times are not compared.")
            elif change.noise_text:
                texts.append(f"{where}: p50 {change.latency_text}.")
        texts += [f"{entry.row.artifact} on {entry.row.device}: in the baseline only." for entry in self.only_before]
        return texts + [f"Error: {finding}" for finding in self.findings]

    def html(self) -> str:
        """The page."""
        return render_page(self.merged, self.changes, self.findings, title="Benchmark report")

    def markdown(self) -> str:
        """The table as Markdown."""
        return markdown(self.merged, self.changes, self.findings)

    def csv(self) -> str:
        """Every figure as CSV."""
        return csv_table(self.merged, self.changes)

    def to_dict(self) -> dict[str, Any]:
        """As plain values: the merged results, with each entry's change, and what the rules found."""
        values = self.merged.to_dict()
        for entry, change in zip(values["entries"], self.changes or (), strict=False):
            entry["change"] = None if change is None else change.to_dict()
        return {**values, "findings": [dataclasses.asdict(finding) for finding in self.findings]}


def build_report(
    results: Sequence[str | Path], baseline: str | Path | None = None, fail_if: Sequence[str] = ()
) -> Report:
    """Merge result files, compare them with a baseline, and check rules.

    Args:
        results: Files of `bopkit benchmark --json`, in any order.
        baseline: Such a file to compare with; None for no comparison.
        fail_if: Rules, as `parse_rule` reads them.

    Raises:
        UsageError: A rule is none, or needs a baseline and there is none; no result was named.
        BopkitError: A file is no result.
    """
    rules = [parse_rule(text) for text in fail_if]
    relative = [rule.text for rule in rules if rule.needs_baseline]
    if relative and baseline is None:
        raise UsageError(f"The rule {relative[0]!r} needs a baseline.", "Name one with --baseline.")
    if not results:
        raise UsageError("No result was named.", "Give files of `bopkit benchmark --json`.")
    merged = merge_reports(_read_all(results))
    if not merged.entries:
        raise BopkitError("The results hold no rows.", "Give results of `bopkit benchmark --json`.")
    if baseline is None:
        return Report(merged, findings=tuple(check_rules(rules, merged.entries, [None] * len(merged.entries))))
    before = merge_reports(_read_all([baseline]))
    changes = compare_entries(merged.entries, before.entries)
    matched = [change.baseline for change in changes if change is not None]
    only_before = [entry for entry in before.entries if all(entry.newest is not each for each in matched)]
    findings = check_rules(rules, merged.entries, changes, only_before)
    return Report(merged, tuple(changes), tuple(findings), tuple(only_before))


def _read_all(paths: Sequence[str | Path]) -> list[tuple[str, BenchmarkReport]]:
    return [
        (name, report) for path, name in zip(paths, source_names(paths), strict=True) for report in read_reports(path)
    ]
