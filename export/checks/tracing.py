"""Why a flatbuffer and Keras name different classes: the first layer whose input signs differ, and how near to zero.

Needs TensorFlow; imports it inside the functions.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from bopkit.export.checks.bits import MatchedConvolution
from bopkit.export.network.layers import input_quantizer
from bopkit.export.network.signature import call
from bopkit.export.reference import BATCH_SIZE
from bopkit.export.report import Agreement, Disagreement
from bopkit.export.spec import NEAR_TIE, TRACED_PICTURES
from bopkit.export.tflite import schema
from bopkit.export.tflite.run import Inputs, predict_flatbuffer
from bopkit.keras2 import import_tensorflow

Model = Any  # TensorFlow is imported inside the functions
Feed = Callable[[Inputs], Inputs]
"""Turns the network's inputs into what the flatbuffer takes."""


def trace_disagreements(
    agreement: Agreement,
    inputs: Inputs,
    expected: Sequence[np.ndarray],
    model: Model,
    flatbuffer: bytes,
    matches: list[MatchedConvolution],
    feed: Feed = lambda inputs: inputs,
    most: int = TRACED_PICTURES,
    batch_size: int = BATCH_SIZE,
    predict: Callable[[bytes, Inputs], list[np.ndarray]] = predict_flatbuffer,
) -> Agreement:
    """Show for each disagreement in which layer the first signs differ, and how near to zero Keras has them.

    The flatbuffer runs once more with the packed inputs of its binary convolutions as outputs, and Keras with what
    enters those layers as outputs. Up to the first layer whose signs differ both compute the same, except for
    rounding; what follows is a consequence. Keras runs as it did for `expected`, in a graph and in the same batches:
    where it does not answer the same, bit for bit, the picture is not traced.

    Args:
        agreement: Of `flatbuffer` with `model` on `inputs`.
        inputs: float32 [n, ...], one an input.
        expected: float32 [n, ...], what `predict_keras` made of them, one an output.
        model: The Keras model.
        flatbuffer: The written file.
        matches: Its binary convolutions.
        feed: Turns `inputs` into what the flatbuffer takes.
        most: Number of disagreements to trace.
        batch_size: Of `expected`.
        predict: What runs the flatbuffer.

    Returns:
        `agreement` with the first `most` disagreements traced.
    """
    binarizing = [match for match in matches if input_quantizer(match.facts.layer) is not None]
    chosen = agreement.disagreements[:most]
    if not chosen or not binarizing:
        return agreement
    tapped = schema.with_outputs(schema.parse(flatbuffer), [match.convolution.input_tensor for match in binarizing])
    rows = [each.picture for each in chosen]
    words = predict(tapped, feed(tuple(values[rows] for values in inputs)))
    entering = _entering(model, [match.facts.layer for match in binarizing], inputs, expected, rows, batch_size)
    traced = []
    for place, each in enumerate(chosen):
        activations = entering[each.picture]
        if activations is not None:
            each = _trace(each, activations, [packed[place : place + 1] for packed in words], binarizing)
        traced.append(each)
    return dataclasses.replace(agreement, disagreements=(*traced, *agreement.disagreements[most:]))


def _trace(
    disagreement: Disagreement,
    entering: list[np.ndarray],
    words: list[np.ndarray],
    matches: list[MatchedConvolution],
) -> Disagreement:
    """Compare the signs of what enters each convolution: float32 [1, ...] in Keras, int32 words in the flatbuffer."""
    for match, activations, packed in zip(matches, entering, words, strict=True):
        activations = activations.reshape(-1, activations.shape[-1])
        changed = _negative(packed, activations.shape[-1]) != (activations < 0)
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


def _entering(
    model: Model, layers: list[Any], inputs: Inputs, expected: Sequence[np.ndarray], rows: list[int], batch_size: int
) -> dict[int, list[np.ndarray] | None]:
    """What enters each layer, float32 [1, ...], for each of the pictures; None where Keras answers otherwise now.

    A layer that is named twice is called twice; its inputs come in the order of the calls.
    """
    tf = import_tensorflow()
    signature = [tf.TensorSpec([None, *each.shape[1:]], tf.float32) for each in inputs]

    @tf.function(input_signature=signature, autograph=False)
    def predict(*batch: Any) -> tuple[list[Any], list[Any]]:
        with _recorded_inputs(layers) as recorded:
            outputs = call(model, batch)
        calls = {layer: iter(tensors) for layer, tensors in recorded.items()}
        return outputs, [next(calls[id(layer)]) for layer in layers]

    entering: dict[int, list[np.ndarray] | None] = {}
    for first in sorted({row - row % batch_size for row in rows}):
        batch = slice(first, first + batch_size)
        outputs, recorded = predict(*(values[batch] for values in inputs))
        for row in rows:
            if first <= row < first + batch_size:
                same = all(
                    np.array_equal(output[row - first], values[row])
                    for output, values in zip(outputs, expected, strict=True)
                )
                entering[row] = [each[row - first : row - first + 1].numpy() for each in recorded] if same else None
    return entering


@contextlib.contextmanager
def _recorded_inputs(layers: list[Any]) -> Iterator[dict[int, list[Any]]]:
    """Yield lists that fill with what enters each layer while a model is called, by identity of the layer."""
    recorded: dict[int, list[Any]] = defaultdict(list)
    distinct = {id(layer): layer for layer in layers}

    def recording(key: int, call: Any) -> Any:
        def record_and_call(inputs: Any) -> Any:
            recorded[key].append(inputs)
            return call(inputs)

        return record_and_call

    for key, layer in distinct.items():
        layer.call = recording(key, layer.call)
    try:
        yield recorded
    finally:
        for layer in distinct.values():
            del layer.call
