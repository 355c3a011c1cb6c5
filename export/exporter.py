"""`export_model`: load, rewrite, write, verify what was written, and only then put it in its place."""

from __future__ import annotations

import time
from pathlib import Path

from bopkit import checksum
from bopkit.errors import BopkitError, UsageError
from bopkit.export import saved_model, verify
from bopkit.export.flatbuffer import parse
from bopkit.export.layers import LayerFacts
from bopkit.export.options import ExportOptions
from bopkit.export.packing import pack
from bopkit.export.publish import existing_ancestor, publish
from bopkit.export.reference import BATCH_SIZE, Reference, compute_reference
from bopkit.export.report import Agreement, ArtifactReport, ExportReport, LayerReport
from bopkit.export.rewrites import is_packed
from bopkit.export.spec import SAVED_MODEL, TFLITE, Target
from bopkit.export.tflite import import_lce, predict_flatbuffer, write_flatbuffer
from bopkit.files import scratch_directory, size_bytes
from bopkit.keras2 import import_tensorflow
from bopkit.progress import Progress, silent


def export_model(
    model_path: str | Path,
    output: str | Path | None = None,
    options: ExportOptions | None = None,
    progress: Progress | None = None,
) -> ExportReport:
    """Export a larq Keras model bit-packed, and check the written files against it.

    Nothing appears before every check has passed; a failed export leaves earlier artifacts as they were.

    Args:
        model_path: `.h5` or `.keras` file of a functional or sequential model: one picture in, scores out.
        output: Folder for `<stem>.tflite` and `<stem>/<version>/`; None for the folder of the model.
        options: What to write, and what to check it on; None for the defaults.
        progress: Called with one line before each slow step.

    Returns:
        Files, layers, sizes and agreement with Keras.

    Raises:
        UsageError: A file is where a folder must be.
        BopkitError: The model cannot be read or exported, or an artifact fails; all failures are named.
    """
    model_path = Path(model_path)
    output = Path(output) if output is not None else model_path.parent
    options = options or ExportOptions()
    progress = progress or silent
    for folder in (output, output / model_path.stem) if options.savedmodel else (output,):
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder} is a file where a folder must be.", "Name another --output.")
    if options.tflite:
        import_lce()  # before anything slow

    reference, notes = compute_reference(model_path, options, progress)
    with scratch_directory(existing_ancestor(output)) as scratch:
        attempts = []
        if options.tflite:
            attempts.append(_make_flatbuffer(reference, scratch / f"{model_path.stem}.tflite", progress))
        if options.savedmodel:
            attempts.append(_make_saved_model(reference, scratch / model_path.stem, progress))
        failures = [failure for _, failed in attempts for failure in failed]
        if failures:
            raise BopkitError(
                f"The export of {model_path} was checked and refused: {'; '.join(failures)}.",
                "Nothing was written. Train on and export again, or report this with the model file.",
            )
        artifacts = publish([artifact for artifact, _ in attempts], output)
    return ExportReport(str(model_path), tuple(artifacts), tuple(notes))


def _make_flatbuffer(reference: Reference, path: Path, progress: Progress) -> tuple[ArtifactReport, list[str]]:
    """Write the flatbuffer to a scratch path and check it; the report, and the failures."""
    progress("Converting to an LCE flatbuffer")
    started = time.perf_counter()
    write_flatbuffer(reference.model, reference.facts, reference.card, reference.output_name, path)
    conversion_s = time.perf_counter() - started
    progress("Checking the flatbuffer")
    flatbuffer = path.read_bytes()
    parsed = parse(flatbuffer)
    wrong_structure = verify.flatbuffer_structure(parsed, reference.model)
    matches, wrong_bits = verify.flatbuffer_bits(parsed, reference.facts)
    agreements = []
    for pictures, expected in reference.comparisons if not wrong_structure else []:
        (scores,) = predict_flatbuffer(flatbuffer, pictures.images)
        agreement = verify.compare(pictures, expected, scores)
        agreements.append(verify.trace_disagreements(agreement, pictures.images, reference.model, flatbuffer, matches))
    sizes = {match.facts.name: match.convolution.size_bytes for match in matches}
    layers = [_layer_report(each, sizes.get(each.name), each.float_reason) for each in reference.facts]
    report = _artifact_report(TFLITE, path, reference, layers, agreements, conversion_s)
    return report, wrong_structure + wrong_bits + _agreement_failures(reference, agreements)


def _make_saved_model(reference: Reference, path: Path, progress: Progress) -> tuple[ArtifactReport, list[str]]:
    """Write the version directory to a scratch path and check it; the report, and the failures."""
    progress("Writing a TensorFlow Serving directory")
    started = time.perf_counter()
    saved_model.write_saved_model(reference.model, reference.facts, reference.card, reference.output_name, path)
    checksum.write_manifest(path)
    conversion_s = time.perf_counter() - started
    progress("Checking the TensorFlow Serving directory")
    loaded = import_tensorflow().saved_model.load(str(path))
    wrong_structure = verify.saved_model_structure(loaded, reference.model, reference.output_name)
    wrong_bits = verify.saved_model_bits(loaded, reference.facts)
    agreements = []
    for pictures, expected in reference.comparisons if not wrong_structure else []:
        scores = saved_model.predict(loaded, pictures.images, BATCH_SIZE)
        agreements.append(verify.compare(pictures, expected, scores))
    layers = [_layer_report_of_saved_model(each) for each in reference.facts]
    report = _artifact_report(SAVED_MODEL, path, reference, layers, agreements, conversion_s)
    return report, wrong_structure + wrong_bits + _agreement_failures(reference, agreements)


def _agreement_failures(reference: Reference, agreements: list[Agreement]) -> list[str]:
    return [line for each in agreements for line in verify.agreement_failures(each, reference.trained)]


def _layer_report_of_saved_model(facts: LayerFacts) -> LayerReport:
    if is_packed(facts, SAVED_MODEL):
        kernel = facts.kernel()
        return _layer_report(facts, pack(kernel).size_bytes + 4 * (facts.weights - kernel.size), "")
    return _layer_report(facts, None, facts.float_reason)


def _layer_report(facts: LayerFacts, packed_bytes: int | None, float_reason: str) -> LayerReport:
    """The report of one layer; `packed_bytes` is its size where it is packed."""
    packed = packed_bytes is not None
    return LayerReport(
        name=facts.name,
        type=facts.type,
        kernel_shape=facts.kernel_shape,
        input_bits=facts.input_bits,
        kernel_bits=facts.kernel_bits,
        size_bytes=4 * facts.weights if packed_bytes is None else packed_bytes,
        packed=packed,
        reason="" if packed else float_reason,
    )


def _artifact_report(
    target: Target,
    path: Path,
    reference: Reference,
    layers: list[LayerReport],
    agreements: list[Agreement],
    conversion_s: float,
) -> ArtifactReport:
    return ArtifactReport(
        format=target.name,
        path=str(path),
        size_bytes=size_bytes(path),
        floor_bytes=reference.floor_bytes,
        layers=tuple(layers),
        agreements=tuple(agreements),
        conversion_s=conversion_s,
    )
