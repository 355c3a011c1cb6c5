"""A report as a table of GitHub's Markdown, for a README or a comment."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bopkit.benchmark.reports.comparison import Change
from bopkit.benchmark.reports.merging import MergedReport
from bopkit.benchmark.reports.rules import Finding
from bopkit.benchmark.reports.table import cells, columns_for, conditions, lines_of
from bopkit.text import printable


def markdown(
    merged: MergedReport, changes: Sequence[Change | None] | None = None, findings: Sequence[Finding] = ()
) -> str:
    """The table, how it was measured, errors, and what rules found.

    Args:
        merged: The report.
        changes: Of each of its entries, against a baseline; None without one.
        findings: Of `check_rules`.
    """
    lines = lines_of(merged, changes)
    columns = columns_for(lines)
    rows = [
        [column.heading for column in columns],
        ["---:" if column.is_number else "---" for column in columns],
        *(
            [
                text if column.is_number or not text else code(text)
                for column, text in zip(columns, cells(columns, line), strict=True)
            ]
            for line in lines
        ),
    ]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    failed = [
        f"- {code(line.entry.row.artifact)}: {code(line.entry.row.error)}" for line in lines if line.entry.row.error
    ]
    found = [f"- {code(str(finding))}" for finding in findings]
    facts = [f"{code(text)}  " for text in conditions(merged)]
    return "\n\n".join("\n".join(part) for part in ([table], found, failed, facts) if part) + "\n"


def code(text: str) -> str:
    """Text of a stranger as code, in which GitHub sees no link, mention or HTML; safe in a cell of a table."""
    text = printable(text).replace("|", "\\|")
    longest = max((len(ticks) for ticks in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    padding = " " if longest else ""
    return f"{fence}{padding}{text}{padding}{fence}"
