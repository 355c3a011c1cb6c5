"""Write an LCE flatbuffer to a scratch path, and check it."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from bopkit.artifacts.tflite_file import TfliteFile
from bopkit.artifacts.tflite_graph import has_groups
from bopkit.export.artifact_reports import report_artifact, report_layer
from bopkit.export.checks import bits, scores, structure
from bopkit.export.checks.bits import MatchedConvolution
from bopkit.export.checks.tracing import trace_disagreements
from bopkit.export.network.layers import LayerFacts
from bopkit.export.options import ExportOptions
from bopkit.export.reference import Reference
from bopkit.export.report import Accuracy, Agreement, ArtifactReport, Disagreement, LayerReport
from bopkit.export.spec import TFLITE, TRACED_PICTURES, UNCHANGED_PICTURES
from bopkit.export.tflite.batch import fixes_one_picture
from bopkit.export.tflite.build import Flatbuffer, build_flatbuffer, describe_flatbuffer, inputs_for
from bopkit.export.tflite.quantize import StoredKernel
from bopkit.export.tflite.run import Inputs, has_native_runtime, predict_flatbuffer, predict_natively
from bopkit.progress import Progress

Predict = Callable[[bytes, Inputs], list[np.ndarray]]
"""Runs a flatbuffer on what it takes, one array [n, ...] an output."""

Compared = tuple[Agreement, Inputs, list[np.ndarray], list[int]]
"""The agreement of an output, what was shown to both, what Keras answered, one array an output, and `scores.apart`."""


def make_flatbuffer(
    reference: Reference, path: Path, model_path: Path, options: ExportOptions, progress: Progress
) -> tuple[ArtifactReport, list[str]]:
    """Write a flatbuffer and check it.

    Args:
        reference: The network, and what it is checked against.
        path: The file to write.
        model_path: The Keras file, for the record inside the flatbuffer.
        options: Of the export.
        progress: Called with one line before each slow step.

    Returns:
        The report, and one sentence for each check that failed.
    """
    progress("Converting to an LCE flatbuffer")
    started = time.perf_counter()
    built = build_flatbuffer(reference, options, path.with_suffix(".savedmodel"))
    conversion_s = time.perf_counter() - started
    progress("Checking the flatbuffer")
    wrong_structure = structure.flatbuffer_structure(built.model, built.signature, options.input_type)
    if wrong_structure:
        path.write_bytes(built.content)  # the report tells its size
        return report_artifact(TFLITE, path, reference, [], [], conversion_s), wrong_structure
    compared, accuracy = _compare_with_keras(predict_flatbuffer, built.content, reference, options)
    path.write_bytes(describe_flatbuffer(built, reference, options, model_path, accuracy))
    written = path.read_bytes()
    (graph,) = TfliteFile(written, path).graphs
    needs_indirect_bgemm = has_groups(graph)
    matches, failures = bits.flatbuffer_bits(written, reference.layers, may_stay_float=options.target != "arm")
    failures += _other_outputs(built, written, reference, has_default_kernels=not needs_indirect_bgemm)
    judged = partial(_judged, reference=reference, built=built, written=written, matches=matches, options=options)
    agreements, wrong_answers = judged(predict_flatbuffer, compared, accuracy)
    failures += wrong_answers
    native_agreements: list[Agreement] = []
    if not failures and has_native_runtime() and options.target == "arm":
        progress("Checking it in the native runtime")
        in_it = _compare_with_keras(predict_natively, written, reference, options)
        native_agreements, wrong_answers = judged(predict_natively, *in_it)
        failures += [f"in bopkit-runtime: {failure}" for failure in wrong_answers]
    layers = _report_layers(reference, matches, built.kernels)
    report = report_artifact(TFLITE, path, reference, layers, agreements, conversion_s)
    report = dataclasses.replace(
        report,
        needs_indirect_bgemm=needs_indirect_bgemm,
        native_agreements=tuple(native_agreements),
        passes=built.passes,
        accuracy=accuracy,
        takes_one_picture=fixes_one_picture(graph),
        is_rounded=built.is_rounded,
    )
    return report, failures


def _compare_with_keras(
    predict: Predict, flatbuffer: bytes, reference: Reference, options: ExportOptions
) -> tuple[list[Compared], Accuracy | None]:
    """The agreement of every output, and accuracy where there are labels."""
    agreements: list[Compared] = []
    accuracy = None
    for pictures, expected in reference.comparisons:
        outputs = predict(flatbuffer, inputs_for(reference, pictures.inputs))
        outputs = list(map(scores.softmax, outputs)) if options.output == "logits" else outputs
        compared = scores.compare_outputs(reference.signature, pictures, expected, outputs)
        apart = map(scores.apart, expected, outputs)
        agreements += [(each, pictures.inputs, expected, far) for each, far in zip(compared, apart, strict=True)]
        if len(expected) == 1 and reference.signature.outputs[0].names_class:
            accuracy = accuracy or scores.measure_accuracy(pictures, *expected, *outputs)
    return agreements, accuracy


def _other_outputs(built: Flatbuffer, written: bytes, reference: Reference, has_default_kernels: bool) -> list[str]:
    """Check that the finished file answers as before its metadata, bit for bit, in LCE's default kernels too."""
    first = tuple(each[:UNCHANGED_PICTURES] for each in reference.comparisons[0][0].inputs)
    inputs = inputs_for(reference, first)
    before, after = (predict_flatbuffer(each, inputs) for each in (built.content, written))
    if not all(map(np.array_equal, before, after)):
        return ["the flatbuffer gives other outputs once its metadata is inside"]
    if not has_default_kernels:
        return []
    default = predict_flatbuffer(written, inputs, use_indirect_bgemm=False)
    return [] if all(map(np.array_equal, after, default)) else ["LCE's default kernels differ from its indirect ones"]


def _judged(
    predict: Predict,
    compared: list[Compared],
    accuracy: Accuracy | None,
    *,
    reference: Reference,
    built: Flatbuffer,
    written: bytes,
    matches: list[MatchedConvolution],
    options: ExportOptions,
) -> tuple[list[Agreement], list[str]]:
    """The agreements, with exact weights traced to the signs that differ, and one sentence for each that is too low."""
    if built.is_rounded:
        agreements = [each for each, *_ in compared]
        return agreements, scores.rule_failures(agreements, accuracy, True, reference.trained, options.max_drop)
    trace = partial(
        trace_disagreements,
        model=reference.model,
        flatbuffer=written,
        matches=matches,
        feed=partial(inputs_for, reference),
        most=TRACED_PICTURES if reference.has_own_card else options.pictures,  # without a card, near-ties decide
        batch_size=reference.batch_size,
        predict=predict,
    )
    agreements, failures = [], []
    for agreement, inputs, expected, apart in compared:
        agreements.append(trace(agreement, inputs, expected))
        if apart:
            others = tuple(Disagreement(each, None, None, 0.0) for each in apart[:TRACED_PICTURES])
            traced = trace(dataclasses.replace(agreement, disagreements=others), inputs, expected).disagreements
            if all(each.traced and not each.first_layer for each in traced):
                failures.append(
                    f"its scores are others than Keras' on {agreement.source}, though all signs are the same"
                )
    failures += scores.rule_failures(agreements, accuracy, False, reference.trained, options.max_drop)
    return agreements, failures


def _report_layers(
    reference: Reference, matches: list[MatchedConvolution], kernels: tuple[StoredKernel, ...]
) -> list[LayerReport]:
    """The report of every layer: packed, or float in the number of bits that its kernel takes."""
    packed = {match.facts.name: match.convolution.size_bytes for match in matches}
    unassigned = list(kernels)
    layers = []
    for facts in reference.layers:
        reason = facts.float_reason or "LCE does not pack it for this target"
        report = report_layer(facts, packed.get(facts.name), reason)
        stored = None if report.packed else _stored_kernel_of(facts, unassigned)
        if stored is not None:
            unassigned.remove(stored)
            kernel_bits = report.kernel_bits if stored.exact else stored.bits
            size_bytes = report.size_bytes - stored.saved_bytes
            report = dataclasses.replace(report, kernel_bits=kernel_bits, size_bytes=size_bytes)
        layers.append(report)
    return layers


def _stored_kernel_of(facts: LayerFacts, kernels: list[StoredKernel]) -> StoredKernel | None:
    """The kernel that is most likely the layer's, as the converter names no layers and transposes kernels."""
    candidates = [each for each in kernels if math.prod(each.shape) == math.prod(facts.kernel_shape)]

    def unlikeness(kernel: StoredKernel) -> tuple[bool, bool]:
        same_sizes = _sizes(kernel.shape) == _sizes(facts.kernel_shape)
        return not same_sizes, kernel.exact != (facts.kernel_bits == 1)

    return min(candidates, key=unlikeness, default=None)


def _sizes(shape: tuple[int, ...]) -> list[int]:
    """The sizes of a kernel in an order that no layout changes; a dense kernel may have become a convolution's."""
    return sorted(size for size in shape if size > 1)
