"""What the reader of an export's report should know of the artifacts, one sentence each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bopkit.data import get_preprocessing
from bopkit.export.options import ExportOptions
from bopkit.export.reference import Reference
from bopkit.export.report import ArtifactReport
from bopkit.export.spec import TFLITE
from bopkit.export.tflite.build import normalisation


def notes_on_artifacts(artifacts: list[ArtifactReport], reference: Reference, options: ExportOptions) -> list[str]:
    """All notes on what was written; those on a flatbuffer only where there is one."""
    flatbuffers = [each for each in artifacts if each.format == TFLITE.name]
    return [
        note
        for each in flatbuffers
        for note in (
            *_on_precision(each, reference, options),
            *_on_runtimes(each, options),
            *_on_mediapipe(each, reference, options),
        )
    ]


def _on_precision(flatbuffer: ArtifactReport, reference: Reference, options: ExportOptions) -> list[str]:
    """What the reader should know of float layers in fewer bits."""
    if options.float_weights == "float32":
        return []
    if not flatbuffer.is_rounded:
        return [
            f"--float-weights {options.float_weights} changed nothing: no full-precision kernel of the network gains "
            "by it. The flatbuffer is that of float32."
        ]
    if flatbuffer.accuracy is None:
        wanted = "name a labelled dataset with --dataset"
        if not (reference.signature.takes_picture and reference.signature.answers_scores):
            wanted = "it needs a network that maps one picture to one row of scores"
        return [f"Warning: the accuracy lost to {options.float_weights} weights was not measured: {wanted}."]
    return ["The network is untrained: --max-drop was not applied."] if reference.trained is False else []


def _on_runtimes(flatbuffer: ArtifactReport, options: ExportOptions) -> list[str]:
    """Where it was not checked or does not run, and where it takes one picture at a time."""
    name, notes = Path(flatbuffer.path).name, []
    if flatbuffer.needs_indirect_bgemm:
        notes.append(
            f"{name} has binary convolutions with groups, which LCE's default kernels do not run: use its indirect "
            "ones (use_indirect_bgemm), or bopkit-runtime."
        )
    if not flatbuffer.native_agreements and options.target == "arm":
        notes.append(f"{name} was checked in LCE's interpreter alone: bopkit-runtime is not installed.")
    if flatbuffer.takes_one_picture:
        notes.append(
            f"{name} takes one picture at a time: the converter fixed the number inside. `predict` of bopkit-runtime "
            "runs one after the other by itself; do not resize another interpreter."
        )
    return notes


def _on_mediapipe(flatbuffer: ArtifactReport, reference: Reference, options: ExportOptions) -> list[str]:
    """That MediaPipe refuses it for the normalisation in its metadata alone, as it could run it."""
    named = reference.card.preprocessing if reference.card is not None and reference.signature.takes_picture else ""
    is_runnable = not any(layer.packed for layer in flatbuffer.layers)
    if not named or options.input_type != "float32" or not is_runnable:
        return []
    shape: Any = reference.signature.inputs[0].shape
    mean, std = normalisation(get_preprocessing(named, shape))
    if len(set(mean)) == len(set(std)) == 1:
        return []
    return [
        f"{Path(flatbuffer.path).name}: MediaPipe refuses it, as {named} has a mean and a deviation for each channel. "
        "For MediaPipe type --input uint8."
    ]
