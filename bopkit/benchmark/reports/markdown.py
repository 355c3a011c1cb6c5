"""A report as a table of GitHub's Markdown, for a README or a comment."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from bopkit.benchmark.reports.accuracy_table import TEXT_HEADINGS, accuracy_table
from bopkit.benchmark.reports.conditions import conditions
from bopkit.benchmark.reports.footnotes import footnotes
from bopkit.benchmark.reports.labels import sentence_label
from bopkit.benchmark.reports.merging import MergedReport
from bopkit.benchmark.reports.rules import Finding
from bopkit.benchmark.reports.table import cells, columns_for
from bopkit.text import printable


def markdown(merged: MergedReport, findings: Sequence[Finding] = ()) -> str:
    """The table, what rules found, errors, notes, the table of accuracies, and how all was measured.

    Args:
        merged: The report.
        findings: Of `check_rules`.
    """
    lines = merged.lines
    columns = columns_for(lines)
    headings = [column.heading for column in columns]
    texts = {column.heading for column in columns if not column.is_number}
    table = _table(headings, (cells(columns, line) for line in lines), texts)
    failed = [f"- {code(sentence_label([line], lines))}: {code(line.row.error)}" for line in lines if line.row.error]
    notes = [f"- {code(note.label)}: {code(note.text)}" for note in footnotes(lines)]
    headings, accuracies = accuracy_table(lines)
    accuracy = _table(headings, accuracies, TEXT_HEADINGS) if accuracies else []
    found = [f"- {code(str(finding))}" for finding in findings]
    facts = [f"{code(text)}  " for text in conditions(merged)]
    return "\n\n".join("\n".join(part) for part in (table, found, failed, notes, accuracy, facts) if part) + "\n"


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]], texts: Iterable[str]) -> list[str]:
    """Its lines; columns under the headings `texts` hold a stranger's text, the others numbers."""
    is_text = [heading in set(texts) for heading in headings]
    escaped = (
        [code(cell) if a_text and cell else cell for cell, a_text in zip(row, is_text, strict=True)] for row in rows
    )
    rules = ["---" if a_text else "---:" for a_text in is_text]
    return [f"| {' | '.join(row)} |" for row in (headings, rules, *escaped)]


def code(text: str) -> str:
    """Text of a stranger as code, in which GitHub sees no link, mention or HTML; safe in a cell of a table."""
    text = printable(text).replace("|", "\\|")
    longest = max((len(ticks) for ticks in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    padding = " " if longest else ""
    return f"{fence}{padding}{text}{padding}{fence}"
