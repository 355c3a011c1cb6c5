"""Checks of the files that an export has written: structure, then bits, then scores.

Each check returns the sentences of its failures, so that all of them are shown together.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bopkit.artifacts.tflite_file import TfliteFile
from bopkit.export.inspection.contents import BinaryKernel, different_weights
from bopkit.export.inspection.lce import PackedConvolution, binary_convolutions
from bopkit.export.network.layers import LayerFacts
from bopkit.export.network.packing import pack
from bopkit.export.network.rewrites import is_packed
from bopkit.export.network.signature import Ports, call
from bopkit.export.pictures import Pictures
from bopkit.export.report import Accuracy, Agreement, Disagreement
from bopkit.export.serving import saved_model
from bopkit.export.spec import (
    MEAN_DIFFERENCE,
    NEAR_TIE,
    SAVED_MODEL,
    TFLITE,
    TOLERANCE,
    TOP1_AGREEMENT,
    TRACED_PICTURES,
)
from bopkit.export.tflite import schema as fb
from bopkit.export.tflite.build import Inputs, predict_flatbuffer

Model = Any  # TensorFlow is imported inside the functions
Feed = Callable[[Inputs], Inputs]

TYPES = {"float32": 0, "uint8": 3}
"""Codes of the types in the TensorFlow Lite schema."""


@dataclasses.dataclass(frozen=True)
class MatchedConvolution:
    """A binary convolution of a flatbuffer and the Keras layer whose bits it holds."""

    facts: LayerFacts
    convolution: PackedConvolution


def flatbuffer_structure(parsed: Any, ports: Ports, input_type: str = "float32") -> list[str]:
    """Check that a flatbuffer has these ports, in this order and with these names, for one example at a time."""
    if len(parsed.subgraphs) != 1:
        return [f"the flatbuffer has {len(parsed.subgraphs)} graphs instead of one"]
    (graph,) = parsed.subgraphs
    failures = []
    for kind, indices, named, dtype, expected in zip(
        ("inputs", "outputs"),
        (graph.inputs, graph.outputs),
        fb.signature_tensors(parsed),
        (input_type, "float32"),
        (ports.inputs, ports.outputs),
        strict=True,
    ):
        tensors = [graph.tensors[index] for index in indices]
        found = [(tuple(int(size) for size in tensor.shape), tensor.type) for tensor in tensors]
        if found != [((1, *port.shape), TYPES[dtype]) for port in expected]:
            shapes = [(1, *port.shape) for port in expected]
            failures.append(f"the flatbuffer's {kind} are {found} instead of {dtype} {shapes}")
        if named != {port.name: int(index) for port, index in zip(expected, indices, strict=False)}:
            failures.append(f"the flatbuffer's signature has {kind} {named} instead of those of the graph")
    return failures


def flatbuffer_bits(
    flatbuffer: bytes, facts: list[LayerFacts], may_stay_float: bool = False
) -> tuple[list[MatchedConvolution], list[str]]:
    """Find the Keras layer of each binary convolution by its bits, and what did not match.

    Args:
        flatbuffer: The written file.
        facts: Layers of the Keras model.
        may_stay_float: Whether the target's converter may leave layers float that LCE can pack elsewhere.

    Returns:
        The matches in the order in which they run, and one sentence for each binary convolution whose bits
        are those of no layer and for each layer that could be packed and was not.
    """
    binary = [each for each in facts if is_packed(each, SAVED_MODEL)]
    kernels = {id(each): BinaryKernel.of_values(each.name, each.kernel()) for each in binary}
    missing = [each for each in binary if is_packed(each, TFLITE)]
    # The converter can see a sign that the layers do not show, e.g. one before a nested network.
    found = [each for each in binary if not is_packed(each, TFLITE)]
    matches, failures = [], []
    (graph,) = TfliteFile(flatbuffer, Path("the flatbuffer")).graphs
    for convolution in binary_convolutions(graph):
        # A layer that was found before is asked last: it runs twice if the network calls it twice.
        candidates = [
            (each, different_weights(convolution.kernel, kernels[id(each)]))
            for each in missing + found
            if (1, 1, *each.kernel_shape)[-4:] == convolution.shape
        ]
        if not candidates:
            failures.append(f"a packed kernel of shape {convolution.shape} belongs to no layer of the Keras model")
            continue
        closest, bits = min(candidates, key=lambda candidate: candidate[1])
        if bits:
            of_bits = f"{bits} of {convolution.kernel.size} packed bits"
            failures.append(f"{closest.name}: {of_bits} differ from Keras in the flatbuffer")
        matches.append(MatchedConvolution(closest, convolution))
        if closest in missing:
            missing.remove(closest)
            found.append(closest)
    if may_stay_float:
        return matches, failures
    failures += [f"{each.name}: stayed float, though its kernel is binary and its input binarized" for each in missing]
    return matches, failures


def saved_model_structure(loaded: Any, ports: Ports) -> list[str]:
    """Check that `serving_default` has these ports, for any number of examples."""
    signature = loaded.signatures["serving_default"]
    inputs = {name: tuple(spec.shape) for name, spec in signature.structured_input_signature[1].items()}
    outputs = {name: tuple(spec.shape) for name, spec in signature.structured_outputs.items()}
    failures = []
    if inputs != {port.name: (None, *port.shape) for port in ports.inputs}:
        failures.append(f"serving_default takes {inputs}")
    if outputs != {port.name: (None, *port.shape) for port in ports.outputs}:
        failures.append(f"serving_default answers {outputs}")
    return failures


def saved_model_bits(loaded: Any, facts: list[LayerFacts]) -> list[str]:
    """Check the packed bits, and the kernels that TensorFlow unpacks from them, against Keras bit for bit."""
    expected = [each for each in facts if is_packed(each, SAVED_MODEL)]
    stored = saved_model.stored_kernels(loaded)
    if len(stored) != len(expected):
        return [f"the SavedModel holds {len(stored)} binary kernels instead of {len(expected)}"]
    failures = []
    for each, (bits, values) in zip(expected, stored, strict=True):
        kernel = each.kernel()
        if bits is not None and not np.array_equal(bits, pack(kernel).bits):
            failures.append(f"{each.name}: packed bits differ from Keras in the SavedModel")
        elif not np.array_equal(values, kernel):
            failures.append(f"{each.name}: the kernel that the SavedModel computes with differs from Keras")
    return failures


def compare_outputs(
    ports: Ports, pictures: Pictures, reference: list[np.ndarray], outputs: list[np.ndarray]
) -> list[Agreement]:
    """Compare all outputs of an artifact with those of Keras.

    Args:
        ports: Of both.
        pictures: What was shown to both.
        reference: float32 [n, ...] of Keras, one an output.
        outputs: float32 [n, ...] of the artifact, one an output.
    """
    agreements = [
        compare(pictures, expected, values, ports.names_class(port))
        for port, expected, values in zip(ports.outputs, reference, outputs, strict=True)
    ]
    if len(agreements) == 1:
        return agreements
    return [dataclasses.replace(each, output=port.name) for port, each in zip(ports.outputs, agreements, strict=True)]


def compare(pictures: Pictures, reference: np.ndarray, scores: np.ndarray, names_class: bool = True) -> Agreement:
    """Compare one output of an artifact with that of Keras.

    Args:
        pictures: What was shown to both.
        reference: float32 [n, classes] of Keras; [n, ...] where they name no class.
        scores: The same of the artifact.
        names_class: Whether the largest value names a class.
    """
    difference = np.abs(scores.astype(np.float64) - reference)
    magnitudes = np.abs(reference)
    tolerance = TOLERANCE * max(1.0, float(magnitudes.max()))
    top1, disagreements = _compare_classes(reference, scores, tolerance) if names_class else (None, ())
    return Agreement(
        source=pictures.source,
        real=pictures.real,
        pictures=len(reference),
        top1=top1,
        within_tolerance=float(np.mean(difference.reshape(len(difference), -1).max(axis=1) <= tolerance)),
        tolerance=tolerance,
        largest_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
        mean_magnitude=float(magnitudes.mean(dtype=np.float64)),
        disagreements=disagreements,
    )


def _compare_classes(
    reference: np.ndarray, scores: np.ndarray, tolerance: float
) -> tuple[float, tuple[Disagreement, ...]]:
    """The share of pictures with the same class in both, and the others."""
    keras_classes, classes = reference.argmax(axis=1), scores.argmax(axis=1)
    disagreements = tuple(
        _disagreement(int(index), reference[index], scores[index], tolerance)
        for index in np.flatnonzero(keras_classes != classes)
    )
    return float(np.mean(keras_classes == classes)), disagreements


def _disagreement(picture: int, reference: np.ndarray, scores: np.ndarray, tolerance: float) -> Disagreement:
    """What the scores alone, float32 [classes] of Keras and of the artifact, tell of a picture."""
    keras_class, artifact_class = int(reference.argmax()), int(scores.argmax())
    leads = reference[keras_class] - reference[artifact_class], scores[artifact_class] - scores[keras_class]
    margin = float(max(leads))
    near_tie = True if margin <= 2 * tolerance else None  # each of the two may have moved by the tolerance
    return Disagreement(picture, keras_class, artifact_class, margin, near_tie=near_tie)


def agreement_failures(agreement: Agreement, trained: bool | None, reference: str = "Keras") -> list[str]:
    """Check that a network, `reference`, and its artifact agree on enough real pictures.

    Args:
        agreement: Of both.
        trained: None where that is not known: near-ties then do not count, as they are frequent before training.
            An untrained network has no limit.
        reference: What to call the network.
    """
    if trained is False or not agreement.real:
        return []
    where = f"{agreement.output}: " if agreement.output else ""
    on_pictures = f"on {agreement.pictures} pictures ({agreement.source})"
    if agreement.top1 is None:
        if agreement.mean_difference <= MEAN_DIFFERENCE * agreement.mean_magnitude:
            return []
        return [
            f"{where}the mean difference from {reference} is {agreement.mean_difference:.2e} {on_pictures}; at most "
            f"{MEAN_DIFFERENCE:.0%} of the mean magnitude, {agreement.mean_magnitude:.2e}, is allowed"
        ]
    near = sum(each.near_tie is True for each in agreement.disagreements)
    excused = near if trained is None else 0
    if (round(agreement.top1 * agreement.pictures) + excused) / agreement.pictures >= TOP1_AGREEMENT:
        return []
    return [
        f"{where}top-1 agreement with {reference} is {agreement.top1:.2%} {on_pictures}; at least "
        f"{TOP1_AGREEMENT:.1%} is needed ({near} of "
        f"{len(agreement.disagreements)} disagreements are near-ties)"
    ]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of float32 [n, classes] logits."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def measure_accuracy(pictures: Pictures, reference: np.ndarray, scores: np.ndarray) -> Accuracy | None:
    """Top-1 accuracy of Keras' scores and of an artifact's, float32 [n, classes]; None without labels."""
    if pictures.labels is None:
        return None
    before, after = (float(np.mean(each.argmax(axis=1) == pictures.labels)) for each in (reference, scores))
    return Accuracy(pictures.source, len(scores), before, after)


def accuracy_failures(accuracy: Accuracy | None, max_drop: float) -> list[str]:
    """Check that an artifact loses at most `max_drop` points of accuracy."""
    # Shares are multiples of 1/n: the difference of two may miss a limit by rounding alone.
    if accuracy is None or accuracy.drop_points <= max_drop + 1e-9:
        return []
    return [
        f"top-1 accuracy falls from {accuracy.before:.2%} to {accuracy.after:.2%} on {accuracy.pictures} pictures "
        f"({accuracy.source}), {accuracy.drop_points:.2f} points; --max-drop allows {max_drop:g}"
    ]


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
    own_sign = [match for match in matches if match.facts.layer.input_quantizer is not None]
    if not agreement.disagreements or not own_sign:
        return agreement
    tapped = fb.with_outputs(fb.parse(flatbuffer), [match.convolution.input_tensor for match in own_sign])
    traced = [
        _trace(each, tuple(values[[each.picture]] for values in inputs), model, tapped, own_sign, feed)
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
