"""Why a flatbuffer and Keras name different classes: the first layer whose input signs differ, and how near to zero.

Needs TensorFlow; imports it inside the functions.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from bopkit.export.checks.bits import MatchedConvolution
from bopkit.export.network.signature import call
from bopkit.export.report import Agreement, Disagreement
from bopkit.export.spec import NEAR_TIE, TRACED_PICTURES
from bopkit.export.tflite import schema
from bopkit.export.tflite.build import Inputs, predict_flatbuffer

Model = Any  # TensorFlow is imported inside the functions
Feed = Callable[[Inputs], Inputs]
"""Turns the network's inputs into what the flatbuffer takes."""


def trace_disagreements(
    agreement: Agreement,
    inputs: Inputs,
    model: Model,
    flatbuffer: bytes,
    matches: list[MatchedConvolution],
    feed: Feed = lambda inputs: inputs,
    most: int = TRACED_PICTURES,
) -> Agreement:
    """Show for each disagreement in which layer the first signs differ, and how near to zero Keras has them.

    The flatbuffer runs once more with the packed inputs of its binary convolutions as outputs, and Keras with
    a record of what enters those layers. Up to the first layer whose signs differ both compute the same,
    except for rounding; what follows is a consequence.

    Args:
        agreement: Of `flatbuffer` with `model` on `inputs`.
        inputs: float32 [n, ...], one an input.
        model: The Keras model.
        flatbuffer: The written file.
        matches: Its binary convolutions.
        feed: Turns `inputs` into what the flatbuffer takes.
        most: Number of disagreements to trace.

    Returns:
        `agreement` with the first `most` disagreements traced.
    """
    binarizing = [match for match in matches if match.facts.layer.input_quantizer is not None]
    if not agreement.disagreements or not binarizing:
        return agreement
    tapped = schema.with_outputs(schema.parse(flatbuffer), [match.convolution.input_tensor for match in binarizing])
    traced = [
        _trace(each, tuple(values[[each.picture]] for values in inputs), model, tapped, binarizing, feed)
        for each in agreement.disagreements[:most]
    ]
    rest = agreement.disagreements[most:]
    return dataclasses.replace(agreement, disagreements=(*traced, *rest))


def _trace(
    disagreement: Disagreement,
    inputs: Inputs,
    model: Model,
    tapped: bytes,
    matches: list[MatchedConvolution],
    feed: Feed,
) -> Disagreement:
    with _recorded_inputs([match.facts.layer for match in matches]) as recorded:
        call(model, inputs)
    calls = {layer: iter(inputs) for layer, inputs in recorded.items()}
    for match, words in zip(matches, predict_flatbuffer(tapped, feed(inputs)), strict=True):
        activations = next(calls[id(match.facts.layer)])
        activations = activations.reshape(-1, activations.shape[-1])
        changed = _negative(words, activations.shape[-1]) != (activations < 0)
        if changed.any():
            scale = float(np.sqrt(np.mean(np.square(activations, dtype=np.float64))))
            magnitude = float(np.abs(activations[changed]).max()) / scale if scale else 0.0
            return dataclasses.replace(
                disagreement,
                traced=True,
                first_layer=match.facts.name,
                signs_changed=int(changed.sum()),
                signs=activations.size,
                largest_relative_magnitude=magnitude,
                near_tie=magnitude <= NEAR_TIE,
            )
    return dataclasses.replace(disagreement, traced=True, near_tie=disagreement.near_tie is True)


def _negative(words: np.ndarray, channels: int) -> np.ndarray:
    """Packed signs, int32 [..., words], as bool [n, channels]: True where the value is negative."""
    octets = np.ascontiguousarray(words).view(np.uint8).reshape(-1, 4 * words.shape[-1])
    return np.unpackbits(octets, axis=-1, count=channels, bitorder="little").astype(bool)


@contextlib.contextmanager
def _recorded_inputs(layers: list[Any]) -> Iterator[dict[int, list[np.ndarray]]]:
    """Yield lists that fill with what enters each layer while a model is called, by identity of the layer."""
    recorded: dict[int, list[np.ndarray]] = defaultdict(list)
    distinct = {id(layer): layer for layer in layers}

    def recording(key: int, call: Any) -> Any:
        def record_and_call(inputs: Any) -> Any:
            recorded[key].append(inputs.numpy())
            return call(inputs)

        return record_and_call

    for key, layer in distinct.items():
        layer.call = recording(key, layer.call)
    try:
        yield recorded
    finally:
        for layer in distinct.values():
            del layer.call
