"""`export_model`: load, rewrite, write, verify what was written, and only then put it in its place."""

from __future__ import annotations

import dataclasses
import math
import time
from functools import partial
from pathlib import Path

import numpy as np

from bopkit.artifacts import artifact, checksum
from bopkit.errors import BopkitError
from bopkit.export import checks
from bopkit.export.network.layers import LayerFacts
from bopkit.export.network.packing import pack
from bopkit.export.network.rewrites import is_packed
from bopkit.export.options import ExportOptions
from bopkit.export.publish import publish, require_folder, require_free
from bopkit.export.reference import BATCH_SIZE, Reference, compute_reference
from bopkit.export.report import Agreement, ArtifactReport, ExportReport, LayerReport
from bopkit.export.serving import saved_model
from bopkit.export.serving.start import measure_start
from bopkit.export.sources.source import (
    artifact_name,
    default_output,
    offered_formats,
    refuse_nesting,
    vouched_code,
)
from bopkit.export.spec import SAVED_MODEL, TFLITE, TRACED_PICTURES, UNCHANGED_PICTURES, Target
from bopkit.export.tflite.build import (
    Flatbuffer,
    Inputs,
    build_flatbuffer,
    describe_flatbuffer,
    inputs_for,
    predict_flatbuffer,
)
from bopkit.export.tflite.convert import import_lce
from bopkit.export.tflite.quantize import StoredKernel
from bopkit.files import existing_ancestor, scratch_directory, size_bytes
from bopkit.host import peak_memory_bytes
from bopkit.interruption import interruptible
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
        model_path: What maps one picture to scores: a `.h5` or `.keras` file, whole or, with
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
    options = options or ExportOptions()
    say = progress or silent
    for folder in (output, output / name) if options.savedmodel else (output,):
        require_folder(folder)
    if options.version is not None:
        require_free(output / name, options.version)
    with (
        interruptible() as check_interruption,
        vouched_code(options.custom) as vouched,
        scratch_directory(existing_ancestor(output)) as scratch,
    ):

        def progress(line: str) -> None:
            check_interruption()
            say(line)

        if options.tflite:
            import_lce()  # before anything slow
        reference, notes = compute_reference(model_path, options, progress, vouched)
        options = offered_formats(reference.model, options)
        if options.savedmodel:
            refuse_nesting(output / name)
        attempts = []
        if options.tflite:
            path = scratch / f"{name}.tflite"
            attempts.append(_make_flatbuffer(reference, path, model_path, options, progress))
        if options.savedmodel:
            attempts.append(_make_saved_model(reference, scratch / name, options.pack, progress))
        failures = [failure for _, failed in attempts for failure in failed]
        if failures:
            raise BopkitError(
                f"The export of {model_path} was checked and refused: {'; '.join(failures)}.",
                "Nothing was written. Train on and export again, or report this with the model file.",
            )
        check_interruption()  # once they are in place it is too late
        artifacts = publish([artifact for artifact, _ in attempts], output, options.version)
    notes += _precision_notes(artifacts, reference, options)
    duration_s = time.perf_counter() - started
    return ExportReport(str(model_path), tuple(artifacts), tuple(notes), duration_s, peak_memory_bytes())


def _precision_notes(artifacts: list[ArtifactReport], reference: Reference, options: ExportOptions) -> list[str]:
    """What the reader should know of float layers in fewer bits."""
    if options.float_weights == "float32":
        return []
    if all(artifact.accuracy is None for artifact in artifacts):
        wanted = "name a dataset with --dataset"
        if not (reference.ports.takes_picture and reference.ports.answers_scores):
            wanted = "it takes a network of one picture in and one row of scores out"
        return [
            f"WARNING: what {options.float_weights} costs in accuracy was not measured, for want of labelled pictures: "
            f"{wanted}."
        ]
    if reference.trained is False:
        return ["The network is untrained: --max-drop was not applied."]
    return []


def _make_flatbuffer(
    reference: Reference, path: Path, model_path: Path, options: ExportOptions, progress: Progress
) -> tuple[ArtifactReport, list[str]]:
    """Write the flatbuffer to a scratch path and check it; the report, and the failures."""
    progress("Converting to an LCE flatbuffer")
    started = time.perf_counter()
    built = build_flatbuffer(reference, options, path.with_suffix(".savedmodel"))
    conversion_s = time.perf_counter() - started
    progress("Checking the flatbuffer")
    wrong_structure = checks.flatbuffer_structure(built.model, built.ports, options.input_type)
    if wrong_structure:
        path.write_bytes(built.content)  # the report tells its size
        return _artifact_report(TFLITE, path, reference, [], [], conversion_s), wrong_structure
    agreements: list[Agreement] = []
    shown: list[Inputs] = []  # what each agreement is about
    accuracy = None
    for pictures, expected in reference.comparisons:
        outputs = predict_flatbuffer(built.content, inputs_for(reference, pictures.inputs))
        outputs = list(map(checks.softmax, outputs)) if options.output == "logits" else outputs
        compared = checks.compare_outputs(reference.ports, pictures, expected, outputs)
        agreements += compared
        shown += [pictures.inputs] * len(compared)
        if reference.ports.answers_scores:
            accuracy = accuracy or checks.measure_accuracy(pictures, *expected, *outputs)
    path.write_bytes(describe_flatbuffer(built, reference, options, model_path, accuracy))
    written = path.read_bytes()
    matches, failures = checks.flatbuffer_bits(written, reference.facts, may_stay_float=options.target != "arm")
    failures += _unchanged(built, written, reference)
    is_exact = options.float_weights == "float32"
    if is_exact:  # fewer bits change signs everywhere: no near-ties to trace, and accuracy is the measure
        feed = partial(inputs_for, reference)
        most = TRACED_PICTURES if reference.card is not None else options.pictures  # there, near-ties decide
        agreements = [
            checks.trace_disagreements(each, inputs, reference.model, written, matches, feed, most)
            for each, inputs in zip(agreements, shown, strict=True)
        ]
        failures += _agreement_failures(reference, agreements)
    elif reference.trained is not False:
        failures += checks.accuracy_failures(accuracy, options.max_drop)
    layers = _flatbuffer_layers(reference, matches, built.kernels)
    report = _artifact_report(TFLITE, path, reference, layers, agreements, conversion_s)
    return dataclasses.replace(report, passes=built.passes, accuracy=accuracy), failures


def _unchanged(built: Flatbuffer, written: bytes, reference: Reference) -> list[str]:
    """Check that the finished file answers as the checked network does, bit for bit."""
    first = tuple(each[:UNCHANGED_PICTURES] for each in reference.comparisons[0][0].inputs)
    inputs = inputs_for(reference, first)
    before, after = (predict_flatbuffer(each, inputs) for each in (built.content, written))
    same = all(map(np.array_equal, before, after))
    return [] if same else ["the flatbuffer answers otherwise once its metadata is inside"]


def _flatbuffer_layers(
    reference: Reference, matches: list[checks.MatchedConvolution], kernels: tuple[StoredKernel, ...]
) -> list[LayerReport]:
    """The report of every layer: packed, or float in the number of bits that its kernel takes."""
    packed = {match.facts.name: match.convolution.size_bytes for match in matches}
    waiting = list(kernels)
    layers = []
    for facts in reference.facts:
        reason = facts.float_reason or "LCE does not pack it for this target"
        report = _layer_report(facts, packed.get(facts.name), reason)
        stored = None if report.packed else _stored_kernel_of(facts, waiting)
        if stored is not None:
            waiting.remove(stored)
            bits = report.kernel_bits if stored.exact else stored.bits
            report = dataclasses.replace(report, kernel_bits=bits, size_bytes=report.size_bytes - stored.saved_bytes)
        layers.append(report)
    return layers


def _stored_kernel_of(facts: LayerFacts, kernels: list[StoredKernel]) -> StoredKernel | None:
    """The kernel that is most likely the layer's, as the converter names no layers and turns kernels round."""
    candidates = [each for each in kernels if math.prod(each.shape) == math.prod(facts.kernel_shape)]

    def unlikeness(kernel: StoredKernel) -> tuple[bool, bool]:
        same_sizes = _sizes(kernel.shape) == _sizes(facts.kernel_shape)
        return not same_sizes, kernel.exact != (facts.kernel_bits == 1)

    return min(candidates, key=unlikeness, default=None)


def _sizes(shape: tuple[int, ...]) -> list[int]:
    """The sizes of a kernel in an order that no layout changes; a dense kernel may have become a convolution's."""
    return sorted(size for size in shape if size > 1)


def _make_saved_model(
    reference: Reference, path: Path, packed: bool, progress: Progress
) -> tuple[ArtifactReport, list[str]]:
    """Write the version directory to a scratch path and check it; the report, and the failures."""
    progress("Writing a TensorFlow Serving directory")
    started = time.perf_counter()
    ports = reference.ports
    saved_model.write_saved_model(reference.model, reference.facts, reference.card, ports, path, packed)
    checksum.write_manifest(path)
    conversion_s = time.perf_counter() - started
    progress("Checking the TensorFlow Serving directory")
    loaded = import_tensorflow().saved_model.load(str(path))
    wrong_structure = checks.saved_model_structure(loaded, ports)
    wrong_bits = checks.saved_model_bits(loaded, reference.facts)
    agreements: list[Agreement] = []
    for pictures, expected in reference.comparisons if not wrong_structure else []:
        inputs = {port.name: values for port, values in zip(ports.inputs, pictures.inputs, strict=True)}
        answer = saved_model.predict(loaded, inputs, BATCH_SIZE)
        outputs = [answer[port.name] for port in ports.outputs]
        agreements += checks.compare_outputs(ports, pictures, expected, outputs)
    layers = [_layer_report_of_saved_model(each, packed) for each in reference.facts]
    report = _artifact_report(SAVED_MODEL, path, reference, layers, agreements, conversion_s)
    progress("Loading it in a new process")
    start = measure_start(path)
    report = dataclasses.replace(report, load_s=start.load_s, first_request_s=start.first_request_s)
    return report, wrong_structure + wrong_bits + _agreement_failures(reference, agreements)


def _agreement_failures(reference: Reference, agreements: list[Agreement]) -> list[str]:
    return [line for each in agreements for line in checks.agreement_failures(each, reference.trained)]


def _layer_report_of_saved_model(facts: LayerFacts, packed: bool) -> LayerReport:
    if is_packed(facts, SAVED_MODEL):
        if not packed:
            return _layer_report(facts, None, "--no-pack was asked for")
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
