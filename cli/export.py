"""`bopkit export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bopkit.cli.agreements import disagreement_lines
from bopkit.cli.arguments import (
    CardPreprocessFn,
    Custom,
    DataDir,
    Dataset,
    Hparams,
    HparamsSet,
    InputShape,
    Json,
    MaxDrop,
    Verbose,
    complete_model,
    parse_memory,
    parse_shape,
)
from bopkit.cli.next_step import say_benchmark_next, say_serving
from bopkit.cli.output import percent_text, print_json, print_table, say, say_with_time, show, size_text
from bopkit.errors import BopkitError, UsageError
from bopkit.export.spec import MAX_DROP_POINTS

if TYPE_CHECKING:
    from bopkit.export.options import ExportOptions
    from bopkit.export.report import Accuracy, Agreement, ArtifactReport, CReport, ExportReport, PassReport


def export(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            help="A .h5 or .keras file, a run, a SavedModel, pull:NAME, or a checkpoint with --architecture.",
            show_default=False,
        ),
    ],
    tflite: Annotated[bool, typer.Option("--tflite", help="Write the LCE flatbuffer.")] = False,
    savedmodel: Annotated[bool, typer.Option("--savedmodel", help="Write the TensorFlow Serving directory.")] = False,
    c: Annotated[
        bool, typer.Option("--c", help="Write C sources for microcontrollers, in int8 and bits, into a new folder.")
    ] = False,
    output: Annotated[
        list[str] | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR|probabilities|logits",
            help="Folder (default: beside the model; of pull:NAME here; --c alone: MODEL_c), or what the flatbuffer "
            "returns (default: probabilities). May be given twice.",
        ),
    ] = None,
    dataset: Dataset = None,
    data_dir: DataDir = None,
    preprocess_fn: CardPreprocessFn = None,
    pictures: Annotated[int, typer.Option("--pictures", min=1, help="Check with at most N real pictures.")] = 256,
    no_pack: Annotated[
        bool, typer.Option("--no-pack", help="Keep the SavedModel's binary kernels as float32, not as bits.")
    ] = False,
    version: Annotated[
        int | None,
        typer.Option(
            "--version", help="Number of the version directory; default: the next free number.", show_default=False
        ),
    ] = None,
    float_weights: Annotated[
        str | None,
        typer.Option(
            "--float-weights",
            help="Full-precision kernels of the flatbuffer: float32, float16 or int8. Default: float32; with --c int8.",
            show_default=False,
        ),
    ] = None,
    calibrate: Annotated[
        str | None,
        typer.Option(
            "--calibrate",
            metavar="DATASET",
            help="With int8: run those layers in int8 too, calibrated on this dataset. Default with --c: the model's.",
        ),
    ] = None,
    max_drop: MaxDrop = MAX_DROP_POINTS,
    input_type: Annotated[
        str, typer.Option("--input", help="Input of the flatbuffer: float32, or uint8 pixels, which it normalises.")
    ] = "float32",
    c_name: Annotated[
        str | None,
        typer.Option(
            "--c-name", help="What the C functions are called. Default: the model's file.", show_default=False
        ),
    ] = None,
    flash: Annotated[
        str | None,
        typer.Option("--flash", metavar="SIZE", help="Refuse C sources that need more flash, e.g. 64k."),
    ] = None,
    ram: Annotated[
        str | None,
        typer.Option("--ram", metavar="SIZE", help="Refuse C sources that need more RAM, e.g. 20k."),
    ] = None,
    target: Annotated[str, typer.Option("--target", help="Devices that LCE converts for: arm or xcore.")] = "arm",
    architecture: Annotated[
        str | None,
        typer.Option(
            "--architecture",
            metavar="NAME",
            help="The file holds the weights of this network (`bopkit models`, or a module of yours).",
            autocompletion=complete_model,
        ),
    ] = None,
    hparams_set: HparamsSet = None,
    hparams: Hparams = None,
    input_shape: InputShape = None,
    classes: Annotated[int | None, typer.Option("--classes", min=1, help="Default: the architecture's own.")] = None,
    custom: Custom = None,
    verbose: Verbose = False,
    json: Json = False,
) -> None:
    """Export a larq Keras model bit-packed, as flatbuffer and SavedModel unless a format is named, and check it."""
    from bopkit.export import ExportOptions, export_model
    from bopkit.hparams import parse_overrides

    both = not (tflite or savedmodel or c)
    folder, scores = _folder_and_scores(output or [])
    options = ExportOptions(
        tflite=tflite or both,
        savedmodel=savedmodel or both,
        c=c,
        dataset=dataset,
        data_dir=data_dir,
        preprocess_fn=preprocess_fn,
        pictures=pictures,
        pack=not no_pack,
        version=version,
        c_name=c_name,
        flash_bytes=parse_memory(flash, "--flash"),
        ram_bytes=parse_memory(ram, "--ram"),
        float_weights=float_weights,  # type: ignore[arg-type]  # None for the default of the formats
        calibrate=calibrate,
        max_drop=max_drop,
        input_type=input_type,
        output=scores,
        target=target,
        architecture=architecture,
        hparams_set=hparams_set,
        hparams=parse_overrides(hparams or []),
        input_shape=parse_shape(input_shape),
        classes=classes,
        custom=tuple(custom or ()),
    )
    report = export_model(model, folder, options, progress=say_with_time())
    if json:
        print_json(report.to_dict())
    else:
        _print_report(model, report, options, verbose)
    if report.refused:
        raise BopkitError(report.refused, "The SavedModel was written. With --savedmodel alone this is no error.")


def _print_report(model: Path, report: ExportReport, options: ExportOptions, verbose: bool) -> None:
    for artifact in report.artifacts:
        _print_artifact(artifact, verbose)
    if report.c is not None:
        _print_c(report.c)
    for note in (*report.notes, *(report.c.notes if report.c is not None else ())):
        say(note)
    say(f"Done in {report.duration_s:.1f} s with at most {size_text(report.peak_memory_bytes)} of memory.")
    for artifact in report.artifacts:
        say(f"{artifact.path}: {_summary(artifact)}")
        if artifact.format == "savedmodel":
            say_serving(Path(artifact.path))
    say_benchmark_next(model, report, options)


def _print_c(c: CReport) -> None:
    print_table(
        ["layer", "what it computes", "flash", "result"],
        [
            [step.name, step.description, size_text(step.constant_bytes), size_text(step.output_bytes)]
            for step in c.steps
        ],
        title=f"c: {c.path}",
        right=["flash", "result"],
        text=["what it computes"],
        important=["flash", "result"],
    )
    code = f", code {c.code_bytes:,}" if c.code_bytes is not None else ""
    stack = f", stack {c.stack_bytes:,}" if c.stack_bytes is not None else ""
    on = f" ({c.board}, emulated)" if c.board else ""
    over = f" ({c.arena_bytes / c.arena_lower_bound_bytes:.2f} x the least)" if c.arena_lower_bound_bytes else ""
    if c.accuracy is not None:
        _print_accuracy(c.accuracy)
    if c.is_compared:
        exactly = "bit for bit" if c.is_integer else "within 1e-5"
        show(f"answers as the flatbuffer does in LiteRT's reference kernels, {exactly}, on {c.pictures:,} pictures")
    show(f"flash: weights {c.weight_bytes:,} bytes, thresholds and tables {c.constant_bytes:,}{code}{on}")
    show(f"RAM: arena {c.arena_bytes:,} bytes{over}{stack}, input {c.input_bytes:,}, output {c.output_bytes:,}")
    macs = f"{c.binary_macs:,} of 1 bit, {c.int8_macs:,} of int8, {c.float_macs:,} of float32"
    show(f"multiply-accumulates: {macs}")
    if c.instructions is not None:
        show(f"instructions of a run: {c.instructions:,}{on}")
    show("")


def _folder_and_scores(output: list[str]) -> tuple[Path | None, str]:
    """The folder, None where it is not named, and what the flatbuffer answers."""
    from bopkit.export.options import OUTPUTS

    scores = [each for each in output if each in OUTPUTS]
    folders = [each for each in output if each not in OUTPUTS]
    if len(scores) > 1 or len(folders) > 1:
        raise UsageError("--output names two folders or two kinds of scores.", "Name one folder and one kind at most.")
    return Path(folders[0]) if folders else None, scores[0] if scores else OUTPUTS[0]


def _print_artifact(artifact: ArtifactReport, verbose: bool) -> None:
    print_table(
        ["layer", "type", "kernel", "input bits", "kernel bits", "size", "packed", "why not packed"],
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
        text=["why not packed"],
        important=["packed", "size", "kernel", "why not packed", "kernel bits", "input bits"],
    )
    over = f" ({artifact.size_bytes / artifact.floor_bytes:.2f} x)" if artifact.floor_bytes else ""
    show(
        f"size {artifact.size_bytes:,} bytes, 1-bit floor {artifact.floor_bytes:,} bytes{over}, "
        f"written in {artifact.conversion_s:.1f} s"
    )
    if artifact.load_s is not None and artifact.first_request_s is not None:
        show(
            f"a new process loads it in {artifact.load_s:.2f} s and answers its first picture in "
            f"{artifact.first_request_s:.2f} s"
        )
    for each in artifact.passes:
        if each.layers:
            _print_pass(each)
    if artifact.accuracy is not None:
        _print_accuracy(artifact.accuracy)
    for agreement in artifact.agreements:
        _print_agreement(agreement, verbose)
    for agreement in artifact.native_agreements:
        _print_agreement(agreement, verbose, "in bopkit-runtime, ")
    has_disagreements = any(agreement.disagreements for agreement in artifact.agreements)
    if verbose and has_disagreements and artifact.format == "savedmodel":
        show("  Signs are traced in flatbuffers only: a SavedModel computes with unpacked float kernels.")
    show("")


def _summary(artifact: ArtifactReport) -> str:
    """Size, agreement and accuracy in one line."""
    parts = [size_text(artifact.size_bytes)]
    if artifact.top1_agreement is not None:
        parts.append(f"top-1 agrees with Keras on {percent_text(artifact.top1_agreement)}")
    if artifact.accuracy is not None:
        parts.append(f"top-1 accuracy {percent_text(artifact.accuracy.after)}")
    return ", ".join(parts)


def _print_pass(each: PassReport) -> None:
    show(f"  {each.name}: {_count(len(each.layers), 'layer')}; {_savings(each)}")


def _savings(each: PassReport) -> str:
    numbers = {"byte": each.saved_bytes, "operator": each.saved_operators, "byte of values": each.saved_value_bytes}
    saved = [_count(number, unit) for unit, number in numbers.items() if number and number > 0]
    added = [_count(-number, unit) for unit, number in numbers.items() if number and number < 0]
    parts = [f"saves {', '.join(saved) or 'nothing'}", *([f"adds {', '.join(added)}"] if added else [])]
    return f"{', '.join(parts)} ({'measured' if each.measured else 'derived'})"


def _count(number: int, unit: str) -> str:
    word, _, rest = unit.partition(" ")
    return f"{number:,} {word}{'s' if number != 1 else ''}{f' {rest}' if rest else ''}"


def _print_accuracy(accuracy: Accuracy) -> None:
    show(
        f"top-1 accuracy {percent_text(accuracy.before)} in Keras, {percent_text(accuracy.after)} here "
        f"({0.0 - accuracy.drop_points:+.2f} points), on {accuracy.pictures} pictures of {accuracy.source}"
    )


def _print_agreement(agreement: Agreement, verbose: bool, where: str = "") -> None:
    about = f"{agreement.source}, {agreement.output}" if agreement.output else agreement.source
    classes = f"top-1 agrees with Keras on {percent_text(agreement.top1)} of {agreement.pictures} pictures"
    if agreement.top1 is None:
        classes = f"{agreement.pictures} pictures"
    if agreement.same_side is not None:
        classes += f", {percent_text(agreement.same_side)} on the same side of one half"
    show(
        f"{where}{about}: {classes}, {percent_text(agreement.within_tolerance)} within {agreement.tolerance:g}; "
        f"difference at most {agreement.largest_difference:.1e}, mean {agreement.mean_difference:.1e}"
    )
    for line in disagreement_lines(agreement, "in Keras", "here", verbose):
        show(line)
