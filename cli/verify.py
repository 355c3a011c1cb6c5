"""`bopkit verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bopkit.cli.agreements import disagreement_lines
from bopkit.cli.arguments import Custom, DataDir, Dataset, Json, MaxDrop, Verbose
from bopkit.cli.output import percent_text, print_json, say, show
from bopkit.export.spec import MAX_DROP_POINTS
from bopkit.text import count_text

if TYPE_CHECKING:
    from bopkit.export.report import Agreement
    from bopkit.export.verification.result import Verification


def verify(
    first: Annotated[
        Path, typer.Argument(metavar="A", help="The reference: any artifact, or pull:NAME.", show_default=False)
    ],
    second: Annotated[
        Path, typer.Argument(metavar="B", help="The artifact that is compared with it.", show_default=False)
    ],
    dataset: Dataset = None,
    data_dir: DataDir = None,
    preprocess_fn: Annotated[
        str | None,
        typer.Option(
            "--preprocess-fn",
            metavar="NAME[:RANGE]",
            help="Preprocessing of artifacts whose cards name none, for instance resize:0..1 or resize:0..255.",
        ),
    ] = None,
    pictures: Annotated[int, typer.Option("--pictures", min=1, help="Check with at most N real pictures.")] = 256,
    max_drop: MaxDrop = MAX_DROP_POINTS,
    custom: Custom = None,
    verbose: Verbose = False,
    json: Json = False,
) -> None:
    """Check that two artifacts are the same network: structure, bits and scores. Exit with 1 if they are not."""
    from bopkit.export.verification.verify import verify_artifacts

    verification = verify_artifacts(
        first, second, dataset, data_dir, pictures, custom or (), say, preprocess_fn, max_drop
    )
    if json:
        print_json(verification.to_dict())
    else:
        _print(verification, verbose)
    for note in verification.notes:
        say(note)
    if not json:
        show(verification.verdict)
    for failure in verification.failures:
        say(f"Error: {failure}")
    if not verification.passed:
        raise typer.Exit(1)


def _print(verification: Verification, verbose: bool) -> None:
    from bopkit.export.network.signature import tensors_text

    for side in (verification.first, verification.second):
        if side is not None:
            takes, answers = tensors_text(side.inputs), tensors_text(side.outputs)
            show(f"{side.path}: {side.kind}, takes {takes}, returns {answers}, on {side.runtime}")
    matched = [match for match in verification.kernels if match.second is not None]
    if matched:
        bits, different = sum(match.weights for match in matched), sum(match.different for match in matched)
        show(f"bits: {different:,} of {bits:,} in {count_text(len(matched), 'binary kernel')} differ")
    if verification.preprocessing is not None:
        difference = verification.preprocessing
        largest, mean = difference.largest_difference, difference.mean_difference
        names = " and ".join(
            dict.fromkeys(side.preprocessing or "unknown" for side in (verification.first, verification.second) if side)
        )
        show(f"preprocessing {names}: inputs differ by at most {largest:.1e}, mean {mean:.1e}")
    for what, agreement in verification.agreements:
        show(f"{what}{', ' + agreement.output if agreement.output else ''}: {_agreement_text(agreement)}")
        for line in disagreement_lines(agreement, "in the first", "in the second", verbose):
            show(line)
    if verification.accuracy is not None:
        accuracy = verification.accuracy
        show(
            f"top-1 accuracy: first {percent_text(accuracy.before)}, second {percent_text(accuracy.after)} "
            f"({0.0 - accuracy.drop_points:+.2f} points), on {accuracy.pictures} pictures of {accuracy.source}"
        )


def _agreement_text(agreement: Agreement) -> str:
    classes = "" if agreement.top1 is None else f"top-1 agrees on {percent_text(agreement.top1)} of "
    if agreement.same_side is not None:
        classes = f"{percent_text(agreement.same_side)} on the same side of one half, of "
    return (
        f"{classes}{agreement.pictures} pictures ({agreement.source}), "
        f"{percent_text(agreement.within_tolerance)} within {agreement.tolerance:g}; difference at most "
        f"{agreement.largest_difference:.1e}, mean {agreement.mean_difference:.1e}"
    )
