"""Write a TensorFlow Serving directory to a scratch path, and check it."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

from bopkit.artifacts import checksum
from bopkit.export.artifact_reports import report_artifact, report_layer
from bopkit.export.checks import bits, scores, structure
from bopkit.export.network.layers import LayerFacts
from bopkit.export.network.packing import pack
from bopkit.export.network.rewrites import is_packed
from bopkit.export.options import ExportOptions
from bopkit.export.reference import Reference
from bopkit.export.report import Agreement, ArtifactReport, LayerReport
from bopkit.export.serving import saved_model
from bopkit.export.serving.start import measure_start
from bopkit.export.spec import SAVED_MODEL
from bopkit.keras2 import import_tensorflow
from bopkit.progress import Progress


def make_saved_model(
    reference: Reference, path: Path, options: ExportOptions, progress: Progress
) -> tuple[ArtifactReport, list[str]]:
    """Write a version directory and check it.

    Args:
        reference: The network, and what it is checked against.
        path: The version directory, which must not exist yet.
        options: Of the export.
        progress: Called with one line before each slow step.

    Returns:
        The report, and one sentence for each check that failed.
    """
    progress("Writing a TensorFlow Serving directory")
    started = time.perf_counter()
    signature = reference.signature
    saved_model.write_saved_model(reference.model, reference.layers, reference.card, signature, path, options.pack)
    checksum.write_manifest(path)
    conversion_s = time.perf_counter() - started
    progress("Checking the TensorFlow Serving directory")
    loaded = import_tensorflow().saved_model.load(str(path))
    wrong_structure = structure.saved_model_structure(loaded, signature)
    wrong_bits = bits.saved_model_bits(loaded, reference.layers)
    agreements: list[Agreement] = []
    other_scores: list[str] = []
    for pictures, expected in reference.comparisons if not wrong_structure else []:
        inputs = {each.name: values for each, values in zip(signature.inputs, pictures.inputs, strict=True)}
        answers = saved_model.predict(loaded, inputs, reference.batch_size)
        outputs = [answers[each.name] for each in signature.outputs]
        agreements += scores.compare_outputs(signature, pictures, expected, outputs)
        if reference.trained is not False:  # TensorFlow computes both, so that few signs change
            other_scores += scores.other_scores(signature, pictures.source, expected, outputs)
    layers = [_report_layer(each, options.pack) for each in reference.layers]
    report = report_artifact(SAVED_MODEL, path, reference, layers, agreements, conversion_s)
    progress("Loading it in a new process")
    start = measure_start(path)
    report = dataclasses.replace(report, load_s=start.load_s, first_request_s=start.first_request_s)
    failures = scores.rule_failures(agreements, None, False, reference.trained, options.max_drop)
    return report, wrong_structure + wrong_bits + (failures or other_scores)


def _report_layer(facts: LayerFacts, packed: bool) -> LayerReport:
    if not is_packed(facts, SAVED_MODEL):
        return report_layer(facts, None, facts.float_reason)
    if not packed:
        return report_layer(facts, None, "--no-pack was asked for")
    kernel = facts.kernel()
    return report_layer(facts, pack(kernel).size_bytes + 4 * (facts.weights - kernel.size), "")
