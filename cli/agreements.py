"""How far two networks agree, as `bopkit export` and `bopkit verify` say it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bopkit.export.report import Agreement, Disagreement

_VERDICTS = {True: "a near-tie", False: "NOT a near-tie", None: "not shown to be a near-tie"}
_COUNTED = {True: "near-ties", False: "NOT near-ties", None: "not shown to be near-ties"}


def disagreement_lines(agreement: Agreement, reference: str, other: str, verbose: bool) -> list[str]:
    """The pictures that are answered otherwise: counted in one line, or one line each.

    Args:
        agreement: What was compared.
        reference: What the first network is called, as in `class 3 in Keras`.
        other: The same of the second.
        verbose: Whether to list them.
    """
    found = agreement.disagreements
    if not found:
        return []
    if not verbose:
        counts = Counter(each.near_tie for each in found)
        parts = ", ".join(f"{text}: {counts[verdict]}" for verdict, text in _COUNTED.items() if counts[verdict])
        return [f"  {parts} (--verbose lists the pictures)"]
    lines = []
    for each in found:
        answers = f"class {each.keras_class} {reference}, {each.artifact_class} {other}"
        if each.keras_class is None:
            answers = f"values differ by up to {each.score_margin:.1e}"
        lines.append(f"  picture {each.picture}: {answers}, {_VERDICTS[each.near_tie]}: {_evidence(each)}")
    return lines


def _evidence(disagreement: Disagreement) -> str:
    if disagreement.first_layer:
        return (
            f"{disagreement.signs_changed} of {disagreement.signs} signs differ into {disagreement.first_layer}, the "
            f"largest {disagreement.largest_relative_magnitude:.1e} of that input's root mean square"
        )
    signs = "no sign differs" if disagreement.traced else "signs not traced"
    if disagreement.keras_class is None:
        return signs
    return f"{signs}; their scores are at most {disagreement.score_margin:.1e} apart"
