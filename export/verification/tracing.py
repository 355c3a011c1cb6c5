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
from bopkit.export.reference import BATCH_SIZE
from bopkit.export.report import Agreement, Disagreement
from bopkit.export.sources.source import load_file, use_custom_code
from bopkit.export.tflite.run import Inputs
from bopkit.export.verification.worker import load_arrays
from bopkit.isolation import Child


@dataclasses.dataclass(frozen=True)
class TraceRequest:
    """What to trace.

    Attributes:
        keras_file: The Keras file.
        flatbuffer: The flatbuffer, whose only input is that of the Keras file.
        pixel_preprocessing: The preprocessing inside the flatbuffer; None where it takes floats.
        custom: Modules of the user's own, whose classes and functions the file may name.
        inputs_folder: Where `inputs` are.
        inputs: Names of what both were shown, as `load_arrays` takes them.
        answers_folder: Where `answers` are.
        answers: Names of what Keras answered to each of them.
        compared: For each of them the agreement of every output, as dictionaries.
    """

    keras_file: str
    flatbuffer: str
    pixel_preprocessing: str | None
    custom: tuple[str, ...]
    inputs_folder: str
    inputs: tuple[str, ...]
    answers_folder: str
    answers: tuple[str, ...]
    compared: tuple[tuple[dict[str, Any], ...], ...]


def trace_in_child(request: TraceRequest, timeout_s: float) -> list[tuple[Agreement, ...]]:
    """Trace the disagreements of two artifacts in a process of its own.

    Raises:
        BopkitError: The process ended or took longer.
    """
    with Child() as process:
        values = process.call(
            f"{__name__}:trace", dataclasses.asdict(request), subject=request.flatbuffer, timeout_s=timeout_s
        )
    return [tuple(map(_agreement_from_dict, agreements)) for agreements in values]


def trace(values: Mapping[str, Any]) -> list[list[dict[str, Any]]]:
    """Trace the disagreements of two artifacts.

    Args:
        values: The fields of a `TraceRequest`.

    Returns:
        The agreements as dictionaries in the order of `compared`, with their disagreements traced.
    """
    request = TraceRequest(**values)
    start_tensorflow(host.logical_cores())  # as it ran when it gave the answers
    with use_custom_code(request.custom) as custom_code:
        model = to_float32(load_file(artifact.resolve(request.keras_file), custom_code).model)
    content = Path(request.flatbuffer).read_bytes()
    matches, _ = flatbuffer_bits(content, inspect_layers(model), may_stay_float=True)

    def feed(shown: Inputs) -> Inputs:
        if request.pixel_preprocessing is None:
            return shown
        shape: Any = shown[0].shape[1:]
        return tuple(map(get_preprocessing(request.pixel_preprocessing, shape).to_pixels, shown))

    traced = []
    for shown, answered, agreements in zip(request.inputs, request.answers, request.compared, strict=True):
        inputs = tuple(load_arrays(Path(request.inputs_folder), shown))
        answers = load_arrays(Path(request.answers_folder), answered)
        found = [
            trace_disagreements(each, inputs, answers, model, content, matches, feed, batch_size=BATCH_SIZE)
            for each in map(_agreement_from_dict, agreements)
        ]
        traced.append(list(map(dataclasses.asdict, found)))
    return traced


def _agreement_from_dict(values: Mapping[str, Any]) -> Agreement:
    """The agreement from its fields as JSON gives them back."""
    return Agreement(**{**values, "disagreements": tuple(Disagreement(**each) for each in values["disagreements"])})
