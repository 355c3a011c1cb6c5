"""`export_model`: load, rewrite, write, verify what was written, and only then put it in its place."""

from __future__ import annotations

import dataclasses
import math
import time
from pathlib import Path
from typing import Any

from bopkit.artifacts import artifact
from bopkit.data import get_preprocessing
from bopkit.errors import BopkitError
from bopkit.export.checks.scores import agreement_failures, rule_failures
from bopkit.export.make_flatbuffer import make_flatbuffer
from bopkit.export.make_saved_model import make_saved_model
from bopkit.export.options import ExportOptions
from bopkit.export.publish import publish, require_folder, require_free
from bopkit.export.reference import Reference, compute_reference
from bopkit.export.report import ArtifactReport, Disagreement, ExportReport
from bopkit.export.sources.source import (
    artifact_name,
    default_output,
    offered_formats,
    refuse_nesting,
    use_custom_code,
)
from bopkit.export.spec import TFLITE
from bopkit.export.tflite.build import normalisation
from bopkit.export.tflite.convert import import_lce
from bopkit.export.tflite.refusal import NotForFlatbufferError
from bopkit.files import existing_ancestor, scratch_directory
from bopkit.host import peak_memory_bytes
from bopkit.interruption import interruptible
from bopkit.progress import Progress, silent
from bopkit.runs.run_data import read_run_data


def export_model(
    model_path: str | Path,
    output: str | Path | None = None,
    options: ExportOptions | None = None,
    progress: Progress | None = None,
) -> ExportReport:
    """Export a larq Keras model bit-packed, and check the written files against it.

    Nothing appears before every check has passed; a failed export leaves earlier artifacts as they were. Where both
    formats are asked for, and a flatbuffer cannot hold the network, the SavedModel is written, and `refused` says why.

    Args:
        model_path: The network: a `.h5` or `.keras` file, whole or, with
            `options.architecture`, of weights; a run directory; a SavedModel.
        output: Folder for `<stem>.tflite` and `<stem>/<version>/`; None for the folder of the model.
        options: What to write, and what to check it on; None for the defaults.
        progress: Called with one line before each slow step.

    Returns:
        Files, layers, sizes and agreement with Keras.

    Raises:
        UsageError: A file is where a folder must be, or there is a version of that number.
        BopkitError: The model cannot be read or exported, or an artifact fails; all failures are named.
    """
    started = time.perf_counter()
    model_path = artifact.resolve(model_path)
    name = artifact_name(model_path)
    output = Path(output) if output is not None else default_output(model_path)
    options = _with_folder_of_run(options or ExportOptions(), model_path)
    say = progress or silent
    for folder in (output, output / name) if options.savedmodel else (output,):
        require_folder(folder)
    if options.version is not None:
        require_free(output / name, options.version)
    with (
        interruptible() as check_interruption,
        use_custom_code(options.custom) as custom_code,
        scratch_directory(existing_ancestor(output)) as scratch,
    ):

        def progress(line: str) -> None:
            check_interruption()
            say(line)

        if options.tflite:
            import_lce()  # before anything slow
        reference, notes = compute_reference(model_path, options, progress, custom_code)
        options = offered_formats(reference.model, options)
        if options.savedmodel:
            refuse_nesting(output / name)
        attempts = []
        refused = ""
        if options.tflite:
            path = scratch / f"{name}.tflite"
            try:
                attempts.append(make_flatbuffer(reference, path, model_path, options, progress))
            except NotForFlatbufferError as error:
                if not options.savedmodel:
                    raise
                refused = error.message
        if options.savedmodel:
            attempts.append(make_saved_model(reference, scratch / name, options, progress))
        failures = [failure for _, failed in attempts for failure in failed]
        if failures:
            raise BopkitError(
                f"The export of {model_path} was checked and refused: {'; '.join(failures)}.",
                f"Nothing was written. {_what_next(attempts, reference, options)}",
            )
        check_interruption()  # once they are in place it is too late
        artifacts = publish([artifact for artifact, _ in attempts], output, options.version)
    notes += _precision_notes(artifacts, reference, options) + _runtime_notes(artifacts, options)
    notes += _mediapipe_notes(artifacts, reference, options)
    duration_s = time.perf_counter() - started
    return ExportReport(
        *(str(model_path), tuple(artifacts), tuple(notes), duration_s, peak_memory_bytes()),
        dataset=next((pictures.dataset for pictures, _ in reference.comparisons if pictures.dataset), None),
        is_classifier=reference.signature.takes_picture and reference.signature.answers_scores,
        refused=refused,
    )


def _with_folder_of_run(options: ExportOptions, model_path: Path) -> ExportOptions:
    """The options with the run's folder of datasets, where the user names the run's dataset and no folder."""
    data = read_run_data(model_path)
    if data is None or options.data_dir or data.dataset not in (options.dataset, options.calibrate) or not data.is_ours:
        return options
    return dataclasses.replace(options, data_dir=data.data_dir)


def _what_next(attempts: list[tuple[ArtifactReport, list[str]]], reference: Reference, options: ExportOptions) -> str:
    """What mends an export that was refused: other bits, more training, or nothing that a user can do."""
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


_REPORT_IT = "Report this with the model file."


def _more_bits(options: ExportOptions) -> str:
    """What rounds less than these options do."""
    if options.calibrate is not None:
        return "Leave out --calibrate, so that int8 is for weights alone"
    return "Type --float-weights float16" if options.float_weights == "int8" else "Leave out --float-weights"


def _runtime_notes(artifacts: list[ArtifactReport], options: ExportOptions) -> list[str]:
    """Where a flatbuffer was not checked or does not run, and where it takes one picture at a time."""
    notes = []
    for each in artifacts:
        name = Path(each.path).name
        if each.needs_indirect_bgemm:
            notes.append(
                f"{name} has binary convolutions with groups, which LCE's default kernels do not run: use its indirect "
                "ones (use_indirect_bgemm), or bopkit-runtime."
            )
        if each.format == TFLITE.name and not each.native_agreements and options.target == "arm":
            notes.append(f"{name} was checked in LCE's interpreter alone: bopkit-runtime is not installed.")
        if each.takes_one_picture:
            notes.append(
                f"{name} takes one picture at a time: the converter fixed the number inside. `predict` of "
                "bopkit-runtime runs one after the other by itself; do not resize another interpreter."
            )
    return notes


def _mediapipe_notes(artifacts: list[ArtifactReport], reference: Reference, options: ExportOptions) -> list[str]:
    """That MediaPipe refuses a flatbuffer which it could run but for the normalisation in its metadata."""
    named = reference.card.preprocessing if reference.card is not None and reference.signature.takes_picture else ""
    if not named or options.input_type != "float32":
        return []
    shape: Any = reference.signature.inputs[0].shape
    mean, std = normalisation(get_preprocessing(named, shape))
    if len(set(mean)) == len(set(std)) == 1:
        return []
    return [
        f"{Path(each.path).name}: MediaPipe refuses it, as {named} has a mean and a deviation for each "
        "channel. For MediaPipe type --input uint8."
        for each in artifacts
        if each.format == TFLITE.name and not any(layer.packed for layer in each.layers)
    ]


def _precision_notes(artifacts: list[ArtifactReport], reference: Reference, options: ExportOptions) -> list[str]:
    """What the reader should know of float layers in fewer bits."""
    if options.float_weights == "float32":
        return []
    if not any(each.is_rounded for each in artifacts):
        return [
            f"--float-weights {options.float_weights} changed nothing: no full-precision kernel of the network gains "
            "by it. The flatbuffer is that of float32."
        ]
    if all(artifact.accuracy is None for artifact in artifacts):
        wanted = "name a labelled dataset with --dataset"
        if not (reference.signature.takes_picture and reference.signature.answers_scores):
            wanted = "it needs a network that maps one picture to one row of scores"
        return [f"Warning: the accuracy lost to {options.float_weights} weights was not measured: {wanted}."]
    if reference.trained is False:
        return ["The network is untrained: --max-drop was not applied."]
    return []
