"""`bopkit diff`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bopkit.cli.arguments import Custom, Json
from bopkit.cli.output import percent_text, print_json, print_table, say, show

if TYPE_CHECKING:
    from bopkit.export.inspection import Difference
    from bopkit.export.inspection.diff import ChangedValue


def diff(
    first: Annotated[Path, typer.Argument(metavar="A", help="A file, a SavedModel or pull:NAME.", show_default=False)],
    second: Annotated[
        Path, typer.Argument(metavar="B", help="The file or SavedModel to compare with it.", show_default=False)
    ],
    custom: Custom = None,
    json: Json = False,
) -> None:
    """Show how two artifacts differ, without running them: model card, layers, flipped weights, other weights."""
    from bopkit.export.inspection import diff_artifacts

    difference = diff_artifacts(first, second, custom or (), say)
    if json:
        print_json(difference.to_dict())
        return
    _print(difference)
    for note in difference.notes:
        say(note)


def _changed_parts(change: ChangedValue) -> list[tuple[str, object, object]]:
    """A value that differs, or those parts of it that do, as single hyper-parameters."""
    one, two = change.first, change.second
    if not (isinstance(one, dict) and isinstance(two, dict)):
        return [(change.what, one, two)]
    names = [name for name in one | two if one.get(name) != two.get(name)]
    return [(f"{change.what} {name}", one.get(name), two.get(name)) for name in names]


def _print(difference: Difference) -> None:
    for change in (*difference.facts, *difference.layers):
        show(f"{change.what}: {change.first} | {change.second}")
    for change in difference.card:
        for name, one, two in _changed_parts(change):
            show(f"card {name}: {one} | {two}")
    for path, names in ((difference.first, difference.only_first), (difference.second, difference.only_second)):
        if names:
            show(f"only in {path}: {', '.join(names)}")
    if difference.kernels:
        flipped = sum(match.different for match in difference.kernels)
        weights = sum(match.weights for match in difference.kernels)
        print_table(
            ["binary kernel", "in the other", "weights", "flipped", "share"],
            [
                [
                    match.first,
                    match.second or "missing",
                    f"{match.weights:,}",
                    f"{match.different:,}" if match.second else "-",
                    percent_text(match.different / match.weights) if match.second else "-",
                ]
                for match in difference.kernels
            ],
            right=["weights", "flipped", "share"],
            important=["flipped", "share", "weights"],
        )
        show(f"{flipped:,} of {weights:,} binary weights differ ({percent_text(flipped / weights)})")
    if difference.floats:
        print_table(
            ["other weights", "values", "different", "largest difference"],
            [
                [each.name, f"{each.values:,}", f"{each.different:,}", f"{each.largest_difference:.3g}"]
                for each in difference.floats
            ],
            right=["values", "different", "largest difference"],
            important=["different", "largest difference"],
        )
    if difference.same:
        show("The weights are the same.")
