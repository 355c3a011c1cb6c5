"""What mends an export that was refused: other bits, more training, or nothing that a user can do."""

from __future__ import annotations

import math

from bopkit.export.checks.scores import agreement_failures, rule_failures
from bopkit.export.options import ExportOptions
from bopkit.export.reference import Reference
from bopkit.export.report import ArtifactReport, Disagreement

_REPORT_IT = "Report this with the model file."


def what_mends(attempts: list[tuple[ArtifactReport, list[str]]], reference: Reference, options: ExportOptions) -> str:
    """One sentence for the user.

    Args:
        attempts: The report of each format that was written, and the sentences of its checks that failed.
        reference: The network.
        options: Of the export.
    """
    disagreements: list[Disagreement] = []
    for report, failures in attempts:
        by_rule: list[str] = []
        for agreement in report.agreements if not report.is_rounded else ():
            lines = agreement_failures(agreement, reference.trained, max_drop=options.max_drop)
            by_rule += lines
            disagreements += agreement.disagreements if any(line in failures for line in lines) else ()
        if report.is_rounded:
            by_rule = rule_failures((), report.accuracy, True, reference.trained, options.max_drop)
        if any(failure not in by_rule for failure in failures):
            return _REPORT_IT
    lossy = [each.accuracy.drop_points for each, failures in attempts if each.accuracy and each.is_rounded and failures]
    if not all(each.near_tie for each in disagreements) or not (disagreements or lossy):
        return _REPORT_IT
    if lossy:
        return f"{_more_bits(options)}, or allow the loss with --max-drop {math.ceil(10 * max(lossy)) / 10:g}."
    return "All disagreements are near-ties, which training makes rare: train on and export again."


def _more_bits(options: ExportOptions) -> str:
    """What rounds less than these options do."""
    if options.calibrate is not None:
        return "Leave out --calibrate, so that int8 is for weights alone"
    return "Type --float-weights float16" if options.float_weights == "int8" else "Leave out --float-weights"
