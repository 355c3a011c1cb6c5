"""Rules that make a report fail: `latency_ms_p50 > 1.05x`, `top1 < baseline - 0.005`, `size_bytes > 5e6`."""

from __future__ import annotations

import dataclasses
import difflib
import math
import operator
import re
import types
import typing
from collections.abc import Sequence

from bopkit.benchmark.accuracy_figures import ACCURACY_FIGURES
from bopkit.benchmark.reports.lines import Line
from bopkit.benchmark.reports.reading import LARGEST_NUMBER
from bopkit.benchmark.results import BenchmarkRow
from bopkit.errors import UsageError
from bopkit.text import threads_text

OPERATORS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}

GRAMMAR = "FIELD OP LIMIT, OP one of > >= < <=, LIMIT one of 4.5, 1.05x, baseline, baseline + 0.2, baseline - 0.005"

MACHINE_INDEPENDENT = frozenset(
    {
        *("size_bytes", "floor_bytes", "classes", "pictures", "top1", "top5", "loss", "calibration_error"),
        *("top1_agreement", "within_tolerance"),
    }
)
"""Figures that do not depend on the machine: they are compared with a baseline of any."""

_NUMBER = r"\d+(?:\.\d*)?(?:e[+-]?\d+)?|\.\d+(?:e[+-]?\d+)?"
_RULE = re.compile(
    rf"\s*(?P<field>\w+)\s*(?P<operator>>=|<=|>|<)\s*"
    rf"(?:(?P<baseline>baseline)(?:\s*(?P<sign>[+-])\s*(?P<offset>{_NUMBER}))?"
    rf"|(?P<number>-?(?:{_NUMBER}))\s*(?P<times>x)?)\s*",
    re.IGNORECASE | re.ASCII,
)


@dataclasses.dataclass(frozen=True)
class Rule:
    """What no row may be.

    Attributes:
        text: As the user typed it.
        field: A figure of `BenchmarkRow`.
        operator: One of `OPERATORS`.
        factor: Of the baseline's figure in the limit; 0 for a limit of its own.
        offset: What is added to that.
    """

    text: str
    field: str
    operator: str
    factor: float
    offset: float

    @property
    def needs_baseline(self) -> bool:
        """Whether its limit is relative."""
        return self.factor != 0

    def holds(self, value: float, baseline: float | None) -> bool:
        """Whether a figure is beyond the limit."""
        return OPERATORS[self.operator](value, self.limit(baseline))

    def limit(self, baseline: float | None) -> float:
        """The limit, for a baseline's figure; None where the rule needs none."""
        return self.offset + (self.factor * baseline if baseline is not None and self.factor else 0.0)


@dataclasses.dataclass(frozen=True)
class Finding:
    """A rule and a row that it holds for, or cannot be checked on.

    Attributes:
        rule: The rule, as typed.
        artifact: Of the row.
        device: Of the row.
        threads: Of the row.
        value: The row's figure.
        baseline: The baseline's; None for a rule that needs none.
        limit: Where the rule begins to hold.
        problem: Why it cannot be checked; None where it holds.
        noise: Whether a difference of p50 is beyond noise, in words; empty where nothing is known of it.
    """

    rule: str
    artifact: str
    device: str
    threads: int | None
    value: float | None = None
    baseline: float | None = None
    limit: float | None = None
    problem: str | None = None
    noise: str = ""

    def __str__(self) -> str:
        threads = "" if self.threads is None else f", {threads_text(self.threads)}"
        where = f"{self.artifact} on {self.device}{threads}"
        if self.problem is not None:
            return f"{where}: `{self.rule}` cannot be checked: {self.problem}."
        baseline = "" if self.baseline is None else f", baseline {self.baseline:.6g}"
        noise = f" (p50 is {self.noise})" if self.noise else ""
        return f"{where}: `{self.rule}` is true: {self.value:.6g}{baseline}, limit {self.limit:.6g}{noise}."


def rule_fields() -> list[str]:
    """Figures that a rule can be about: the numbers of a row, in its order."""
    hints = typing.get_type_hints(BenchmarkRow)
    return [name for name, hint in hints.items() if _is_number(hint)]


def parse_rule(text: str) -> Rule:
    """Read a rule.

    Args:
        text: `FIELD OP LIMIT`; the limit is a number, a multiple of the baseline (`1.05x`), or the baseline with
            something added or taken away (`baseline - 0.005`). It says what fails.

    Raises:
        UsageError: It is none, or there is no such figure.
    """
    match = _RULE.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is not a rule.", f"Write {GRAMMAR}.")
    field, fields = match["field"], rule_fields()
    if field not in fields:
        close = difflib.get_close_matches(field, fields, n=3, cutoff=0.4)
        nearest = f"Did you mean {', '.join(close)}?" if close else f"Known: {', '.join(fields)}."
        raise UsageError(f"A row has no figure {field!r}.", nearest)
    if not math.isfinite(float(match["number"] or match["offset"] or 0) * LARGEST_NUMBER):
        raise UsageError(f"{text!r} has a limit that no figure reaches.", "Use a smaller number.")
    if match["baseline"]:
        offset = float(match["offset"] or 0) * (-1 if match["sign"] == "-" else 1)
        return Rule(text, field, match["operator"], 1.0, offset)
    number = float(match["number"])
    if not match["times"]:
        return Rule(text, field, match["operator"], 0.0, number)
    if number <= 0:
        raise UsageError(f"{text!r} compares with {number:g} times the baseline.", "Use a factor above 0.")
    return Rule(text, field, match["operator"], number, 0.0)


def check_rules(rules: Sequence[Rule], lines: Sequence[Line], only_in_baseline: Sequence[Line] = ()) -> list[Finding]:
    """All rows that a rule holds for, and all that it cannot be checked on: nothing passes unseen.

    Args:
        rules: What fails.
        lines: What was measured, each with its change against the baseline.
        only_in_baseline: Lines of the baseline that were not measured again.
    """
    found = [finding for rule in rules for line in lines if (finding := _finding(rule, line)) is not None]
    gone = [
        Finding(
            rule.text, row.artifact, row.device, row.threads, problem="the baseline has this row, these results do not"
        )
        for rule in rules
        if rule.needs_baseline
        for row in (line.row for line in only_in_baseline)
    ]
    return found + gone


def _finding(rule: Rule, line: Line) -> Finding | None:
    row, change = line.row, line.change
    value = getattr(row, rule.field)
    baseline = getattr(change.baseline.row, rule.field) if change is not None and rule.needs_baseline else None
    found = Finding(rule.text, row.artifact, row.device, row.threads, value, baseline)
    problem = _problem(rule, line, baseline)
    if problem is not None:
        return dataclasses.replace(found, problem=problem)
    if not rule.holds(value, baseline):
        return None
    is_of_latency = change is not None and rule.needs_baseline and rule.field.startswith("latency_ms_")
    noise = change.noise_text if change is not None and is_of_latency else ""
    return dataclasses.replace(found, limit=rule.limit(baseline), noise=noise)


def _problem(rule: Rule, line: Line, baseline: float | None) -> str | None:
    row, change = line.row, line.change
    if row.error is not None:
        return f"the row failed: {row.error.rstrip('.')}"
    if getattr(row, rule.field) is None:
        return f"the row has no {rule.field}"
    if not rule.needs_baseline:
        return None
    if change is None:
        return "the baseline has no such row"
    if not change.same_pictures and rule.field in ACCURACY_FIGURES:
        return "the baseline was measured on other pictures"
    if not change.same_machine and rule.field not in MACHINE_INDEPENDENT:
        return "the baseline was measured on another machine"
    return f"the baseline's row has no {rule.field}" if baseline is None else None


def _is_number(hint: object) -> bool:
    members = set(typing.get_args(hint)) if isinstance(hint, types.UnionType) else {hint}
    return members - {type(None)} in ({int}, {float})
