"""`bopkit export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bopkit.cli.arguments import DataDir, Dataset, Hparams, HparamsSet, Json, complete_model, parse_shape
from bopkit.cli.output import percent_text, print_json, print_table, say, size_text

if TYPE_CHECKING:
    from bopkit.export.report import Agreement, ArtifactReport, Disagreement


def export(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            help="A .h5 or .keras file, a run directory, or a SavedModel.",
            show_default=False,
        ),
    ],
    tflite: Annotated[bool, typer.Option("--tflite", help="Write the LCE flatbuffer.")] = False,
    savedmodel: Annotated[bool, typer.Option("--savedmodel", help="Write the TensorFlow Serving directory.")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder; default: beside the model.")] = None,
    dataset: Dataset = None,
    data_dir: DataDir = None,
    pictures: Annotated[int, typer.Option("--pictures", min=1, help="Most real pictures to check with.")] = 256,
    architecture: Annotated[
        str | None,
        typer.Option(
            "--architecture",
            metavar="NAME",
            help="The file holds the weights of this network (`bopkit models`, or my_package.my_network).",
            autocompletion=complete_model,
        ),
    ] = None,
    hparams_set: HparamsSet = None,
    hparams: Hparams = None,
    input_shape: Annotated[
        str | None, typer.Option("--input-shape", metavar="H,W,C", help="Default: the architecture's own.")
    ] = None,
    classes: Annotated[int | None, typer.Option("--classes", min=1, help="Default: the architecture's own.")] = None,
    custom: Annotated[
        list[str] | None,
        typer.Option("--custom", metavar="MODULE", help="Module of your own, whose code the file may run. Repeatable."),
    ] = None,
    json: Json = False,
) -> None:
    """Export a larq Keras model bit-packed, both ways unless one is named, and check it against the model."""
    from bopkit.export import ExportOptions, export_model
    from bopkit.hparams import parse_overrides

    both = not (tflite or savedmodel)
    options = ExportOptions(
        tflite=tflite or both,
        savedmodel=savedmodel or both,
        dataset=dataset,
        data_dir=data_dir,
        pictures=pictures,
        architecture=architecture,
        hparams_set=hparams_set,
        hparams=parse_overrides(hparams or []),
        input_shape=parse_shape(input_shape),
        classes=classes,
        custom=tuple(custom or ()),
    )
    report = export_model(model, output, options, progress=say)
    if json:
        print_json(report.to_dict())
        return
    for artifact in report.artifacts:
        _print_artifact(artifact)
    for note in report.notes:
        say(note)


def _print_artifact(artifact: ArtifactReport) -> None:
    print_table(
        ["layer", "type", "kernel", "input bits", "kernel bits", "size", "packed", ""],
        [
            [
                layer.name,
                layer.type,
                "x".join(map(str, layer.kernel_shape)),
                str(layer.input_bits),
                str(layer.kernel_bits),
                size_text(layer.size_bytes),
                "packed" if layer.packed else "float",
                layer.reason,
            ]
            for layer in artifact.layers
        ],
        title=f"{artifact.format}: {artifact.path}",
        right=["input bits", "kernel bits", "size"],
    )
    over = f" ({artifact.size_bytes / artifact.floor_bytes - 1:+.1%})" if artifact.floor_bytes else ""
    typer.echo(
        f"size {artifact.size_bytes:,} bytes, 1-bit floor {artifact.floor_bytes:,} bytes{over}, "
        f"written in {artifact.conversion_s:.1f} s"
    )
    for agreement in artifact.agreements:
        _print_agreement(agreement)
    if artifact.format == "savedmodel" and any(agreement.disagreements for agreement in artifact.agreements):
        typer.echo("  Signs are traced in flatbuffers only: a SavedModel computes with unpacked float kernels.")
    typer.echo("")


def _print_agreement(agreement: Agreement) -> None:
    typer.echo(
        f"{agreement.source}: top-1 agrees with Keras on {percent_text(agreement.top1)} of {agreement.pictures} "
        f"pictures, {percent_text(agreement.within_tolerance)} within {agreement.tolerance:g}; "
        f"difference at most {agreement.largest_difference:.1e}, mean {agreement.mean_difference:.1e}"
    )
    for each in agreement.disagreements:
        verdict = {True: "a near-tie", False: "NOT a near-tie", None: "not shown to be a near-tie"}[each.near_tie]
        typer.echo(
            f"  picture {each.picture}: class {each.keras_class} in Keras, {each.artifact_class} here, "
            f"{verdict}: {_evidence(each)}"
        )


def _evidence(disagreement: Disagreement) -> str:
    if disagreement.first_layer:
        return (
            f"{disagreement.signs_changed} of {disagreement.signs} signs differ into {disagreement.first_layer}, the "
            f"largest {disagreement.largest_relative_magnitude:.1e} of that input's root mean square"
        )
    signs = "no sign differs" if disagreement.traced else "signs not traced"
    return f"{signs}; their scores are at most {disagreement.score_margin:.1e} apart"
