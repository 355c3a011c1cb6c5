"""`export_model`: load, rewrite, write, verify what was written, and only then put it in its place."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

from bopkit import pretrained
from bopkit.artifacts import artifact
from bopkit.errors import BopkitError, UsageError
from bopkit.export.make_c import check_c_name, make_c
from bopkit.export.make_flatbuffer import make_flatbuffer
from bopkit.export.make_saved_model import make_saved_model
from bopkit.export.notes import notes_on_artifacts
from bopkit.export.options import ExportOptions
from bopkit.export.publish import place_c_sources, publish, require_folder, require_free, require_new
from bopkit.export.reference import compute_reference
from bopkit.export.report import ExportReport
from bopkit.export.sources.source import (
    artifact_name,
    default_output,
    offered_formats,
    refuse_nesting,
    use_custom_code,
)
from bopkit.export.spec import TFLITE
from bopkit.export.tflite.convert import import_lce
from bopkit.export.tflite.refusal import NotForFlatbufferError
from bopkit.export.what_mends import what_mends
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
            `options.architecture`, of weights; a run directory; a SavedModel; `pull:NAME`.
        output: Folder for `<stem>.tflite` and `<stem>/<version>/`; None for the folder of the model, and for the
            working folder where that is `pull:NAME`.
        options: What to write, and what to check it on; None for the defaults.
        progress: Called with one line before each slow step.

    Returns:
        Files, layers, sizes and agreement with Keras.

    Raises:
        UsageError: A file is where a folder must be, or there is a version of that number.
        BopkitError: The model cannot be read or exported, or an artifact fails; all failures are named.
    """
    started = time.perf_counter()
    named = output
    if output is None and pretrained.is_pulled(model_path):
        output = Path()  # nothing of the user's is written into the cache folder
    model_path = artifact.resolve(pretrained.model_path(model_path, progress))
    name = artifact_name(model_path)
    output = Path(output) if output is not None else default_output(model_path)
    options = _with_folder_of_run(_with_calibration(options or ExportOptions(), model_path), model_path)
    say = progress or silent
    c_folder = _c_folder(output, name, options, is_named=named is not None) if options.c else None
    if c_folder is not None and c_folder == output:
        output = output.parent
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

        if options.tflite or options.c:
            import_lce()  # before anything slow
        reference, notes = compute_reference(model_path, options, progress, custom_code)
        options = offered_formats(reference.model, options)
        if options.savedmodel:
            refuse_nesting(output / name)
        attempts = []
        refused = ""
        c_report = None
        if options.tflite or options.c:
            path = scratch / f"{name}.tflite"
            try:
                attempts.append(make_flatbuffer(reference, path, model_path, options, progress))
            except NotForFlatbufferError as error:
                if options.c or not options.savedmodel:
                    raise
                refused = error.message
        if options.savedmodel:
            attempts.append(make_saved_model(reference, scratch / name, options, progress))
        failures = [failure for _, failed in attempts for failure in failed]
        if failures:
            raise BopkitError(
                f"The export of {model_path} was checked and refused: {'; '.join(failures)}.",
                f"Nothing was written. {what_mends(attempts, reference, options)}",
            )
        if c_folder is not None:
            c_report, failures = make_c(reference, path, scratch / "c", options, progress)
            if failures:
                raise BopkitError(
                    f"The export of {model_path} was checked and refused: {'; '.join(failures)}.",
                    "Nothing was written. Report this with the model file.",
                )
        check_interruption()  # once they are in place it is too late
        wanted = [artifact for artifact, _ in attempts if options.tflite or artifact.format != TFLITE.name]
        if c_report is not None and c_folder is not None:
            accuracy = attempts[0][0].accuracy
            c_report = place_c_sources(dataclasses.replace(c_report, accuracy=accuracy), c_folder)
        artifacts = publish(wanted, output, options.version)
    notes += notes_on_artifacts(artifacts, reference, options)
    return ExportReport(
        model_path=str(model_path),
        artifacts=tuple(artifacts),
        notes=tuple(notes),
        duration_s=time.perf_counter() - started,
        peak_memory_bytes=peak_memory_bytes(),
        dataset=next((pictures.dataset for pictures, _ in reference.comparisons if pictures.dataset), None),
        is_classifier=reference.signature.takes_picture and reference.signature.answers_scores,
        refused=refused,
        c=c_report,
    )


def _c_folder(output: Path, name: str, options: ExportOptions, is_named: bool) -> Path:
    """Where the C sources go: the folder that the user names, where nothing else goes there.

    Raises:
        UsageError: The name is none for C, or something is there.
    """
    check_c_name(options.c_name or name)
    is_alone = is_named and not (options.tflite or options.savedmodel)
    folder = output if is_alone else output / f"{name}_c"
    require_new(folder)
    return folder


def _with_calibration(options: ExportOptions, model_path: Path) -> ExportOptions:
    """The options with the card's dataset for the ranges of int8 numbers, where the user names none.

    Raises:
        UsageError: The network's file names no dataset.
    """
    if not options.c or options.float_weights != "int8" or options.calibrate is not None:
        return options
    card = artifact.read_card(model_path) if options.architecture is None else None
    if card is None or not card.dataset:
        raise UsageError(
            f"--c needs pictures for the ranges of int8 numbers, and {model_path} names no dataset.",
            "Add --calibrate DATASET, or for a chip with an FPU --float-weights float32.",
        )
    return dataclasses.replace(options, calibrate=card.dataset)


def _with_folder_of_run(options: ExportOptions, model_path: Path) -> ExportOptions:
    """The options with the run's folder of datasets, where the user names the run's dataset and no folder."""
    data = read_run_data(model_path)
    if data is None or options.data_dir or data.dataset not in (options.dataset, options.calibrate) or not data.is_ours:
        return options
    return dataclasses.replace(options, data_dir=data.data_dir)
