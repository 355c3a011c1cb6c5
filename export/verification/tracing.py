"""The process that traces where a Keras file and a flatbuffer disagree, for `bopkit verify`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bopkit import host
from bopkit.artifacts import artifact
from bopkit.benchmark.runtimes.tensorflow_setup import start_tensorflow
from bopkit.data import get_preprocessing
from bopkit.export.checks.bits import flatbuffer_bits
from bopkit.export.checks.tracing import trace_disagreements
from bopkit.export.network.layers import inspect_layers
from bopkit.export.network.rewrites import to_float32
from bopkit.export.report import Agreement, Disagreement
from bopkit.export.sources.source import load_file, use_custom_code
from bopkit.export.tflite.build import Inputs
from bopkit.export.verification.worker import BATCH_SIZE, load_arrays
from bopkit.isolation import Child


@dataclasses.dataclass(frozen=True)
class TraceRequest:
    """What to trace.

    Attributes:
        keras_file: The Keras file.
        flatbuffer: The flatbuffer, whose only input is that of the Keras file.
        pixel_preprocessing: The preprocessing inside the flatbuffer; None where it takes floats.
        custom: Modules of the user's own, whose classes and functions the file may name.
        inputs: Folder and name of what both were shown, as `load_arrays` takes them.
        answers: Folder and name of what Keras answered.
        agreements: Of every output, as dictionaries.
    """

    keras_file: str
    flatbuffer: str
    pixel_preprocessing: str | None
    custom: tuple[str, ...]
    inputs: tuple[str, str]
    answers: tuple[str, str]
    agreements: tuple[dict[str, Any], ...]


def trace_in_child(request: TraceRequest, timeout_s: float) -> tuple[Agreement, ...]:
    """Trace the disagreements of two artifacts in a process of its own.

    Raises:
        BopkitError: The process ended or took longer.
    """
    with Child() as process:
        values = process.call(
            f"{__name__}:trace", dataclasses.asdict(request), subject=request.flatbuffer, timeout_s=timeout_s
        )
    return tuple(map(_agreement_from_dict, values))


def trace(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Trace the disagreements of two artifacts.

    Args:
        values: The fields of a `TraceRequest`.

    Returns:
        The agreements as dictionaries, with their disagreements traced.
    """
    request = TraceRequest(**values)
    start_tensorflow(host.logical_cores())  # as it ran when it gave the answers
    with use_custom_code(request.custom) as custom_code:
        model = to_float32(load_file(artifact.resolve(request.keras_file), custom_code).model)
    content = Path(request.flatbuffer).read_bytes()
    matches, _ = flatbuffer_bits(content, inspect_layers(model), may_stay_float=True)
    inputs = tuple(load_arrays(Path(request.inputs[0]), request.inputs[1]))
    answers = load_arrays(Path(request.answers[0]), request.answers[1])

    def feed(shown: Inputs) -> Inputs:
        if request.pixel_preprocessing is None:
            return shown
        shape: Any = shown[0].shape[1:]
        return tuple(map(get_preprocessing(request.pixel_preprocessing, shape).to_pixels, shown))

    traced = [
        trace_disagreements(each, inputs, answers, model, content, matches, feed, batch_size=BATCH_SIZE)
        for each in map(_agreement_from_dict, request.agreements)
    ]
    return [dataclasses.asdict(each) for each in traced]


def _agreement_from_dict(values: Mapping[str, Any]) -> Agreement:
    """The agreement from its fields as JSON gives them back."""
    return Agreement(**{**values, "disagreements": tuple(Disagreement(**each) for each in values["disagreements"])})
