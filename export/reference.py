"""The reference of an export: the Keras network, its layers, and its answers to the pictures of the checks.

Needs TensorFlow; imports it inside the functions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bopkit.architecture import floor_bytes
from bopkit.artifacts.card import ModelCard
from bopkit.artifacts.custom_code import NO_CUSTOM_CODE, CustomCode
from bopkit.counting import count_weights
from bopkit.data import Preprocessing, get_preprocessing
from bopkit.data.scaling import unknown_preprocessing
from bopkit.errors import BopkitError, UsageError
from bopkit.export.network.layers import LayerFacts, inspect_layers
from bopkit.export.network.rewrites import to_float32
from bopkit.export.network.signature import Signature, SignatureTensor, call
from bopkit.export.options import ExportOptions
from bopkit.export.pictures import Pictures, batches, pictures_for, round_to_pixels, source_of, with_preprocessing
from bopkit.export.sources.source import load_source
from bopkit.export.spec import TOLERANCE
from bopkit.keras2 import import_tensorflow
from bopkit.progress import Progress
from bopkit.text import percent_text

Model = Any  # TensorFlow is imported inside the functions
Predict = Callable[..., list[Any]]
"""A network as a function of TensorFlow: one tensor an input, one an output."""

_NAME_IT = " Name its preprocessing with --preprocess-fn."

BATCH_SIZE = 32
"""Pictures at a time while checking: the activations of 32 pictures of 224 px fit into 2 GB."""


@dataclasses.dataclass(frozen=True)
class Reference:
    """The network to export, and the pictures with Keras' answers that its artifacts are checked against.

    Attributes:
        model: The Keras model, in float32.
        card: Its card, if it has one.
        layers: Its layers with weights.
        comparisons: Pictures with what Keras answers, float32 [n, ...] an output: real ones, unless the network takes
            no pictures, then noise.
        signature: Its inputs and outputs, as they are called in the artifacts.
        floor_bytes: One bit a binary weight and 32 bits any other.
        batch_size: Pictures at a time in Keras: 1 where its answer to a picture depends on the others of the batch.
        has_own_card: Whether the file brought a card; else `card` says what the user did, if anything.
        pixel_preprocessing: Turns the pixels that the flatbuffer takes into the network's input; None where the
            flatbuffer takes that input itself.
    """

    model: Model
    card: ModelCard | None
    layers: list[LayerFacts]
    comparisons: list[tuple[Pictures, list[np.ndarray]]]
    signature: Signature
    floor_bytes: int
    batch_size: int = BATCH_SIZE
    pixel_preprocessing: Preprocessing | None = None
    has_own_card: bool = True

    @property
    def trained(self) -> bool | None:
        """Whether the card says that the network is trained; None without a card."""
        return self.card.trained if self.card is not None and self.has_own_card else None


def compute_reference(
    model_path: Path, options: ExportOptions, progress: Progress, custom_code: CustomCode = NO_CUSTOM_CODE
) -> tuple[Reference, list[str]]:
    """Load the model and compute what its artifacts are checked against; notes for the report beside it."""
    progress(f"Loading {model_path}")
    loaded = load_source(model_path, options, custom_code)
    _require_exportable(loaded.model, model_path)
    signature = Signature.of_model(loaded.model)
    card = _card_with_preprocessing(loaded.card, signature, options.preprocess_fn)
    _require_card_of_network(card, signature, model_path)
    _require_options_for(signature, options)
    if options.calibrate is not None and not (card is not None and card.preprocessing):
        raise unknown_preprocessing("--calibrate")
    model = to_float32(loaded.model)
    layers = inspect_layers(model)
    progress("Computing the scores of Keras")
    shown = _check_pictures(signature, card, options, model_path)
    preprocessing = _pixel_preprocessing(card, signature.inputs[0]) if options.input_type == "uint8" else None
    if preprocessing is not None:
        shown = [round_to_pixels(pictures, preprocessing) for pictures in shown]
    predict = _in_a_graph(model, shown[0].inputs)
    batch_size = 1 if _depends_on_batch(predict, shown[0].inputs) else BATCH_SIZE
    comparisons = [(pictures, _answers(predict, pictures.inputs, batch_size)) for pictures in shown]
    _require_finite(model, comparisons, model_path)
    signature = _with_probabilities(
        signature, [np.concatenate(each) for each in zip(*(answers for _, answers in comparisons), strict=True)]
    ).with_classes(_known_classes(card, signature, shown))
    floor = floor_bytes(*count_weights(model))
    reference = Reference(
        *(model, card, layers, comparisons, signature, floor),
        batch_size=batch_size,
        pixel_preprocessing=preprocessing,
        has_own_card=loaded.card is not None,
    )
    return reference, [*loaded.notes, *_notes(reference, retyped=model is not loaded.model)]


def predict_keras(model: Model, inputs: tuple[np.ndarray, ...], batch_size: int) -> list[np.ndarray]:
    """What the Keras model answers.

    Args:
        model: A graph of layers.
        inputs: float32 [n, ...], one an input.
        batch_size: Examples at a time.

    Returns:
        float32 [n, ...], one an output.
    """
    return _answers(_in_a_graph(model, inputs), inputs, batch_size)


def _in_a_graph(model: Model, inputs: tuple[np.ndarray, ...]) -> Predict:
    """The network as a function of batches like `inputs`, any number of examples each."""
    tf = import_tensorflow()
    signature = [tf.TensorSpec([None, *each.shape[1:]], tf.float32) for each in inputs]
    compiled: Predict = tf.function(lambda *batch: call(model, batch), input_signature=signature, autograph=False)
    return compiled


def _answers(predict: Predict, inputs: tuple[np.ndarray, ...], batch_size: int) -> list[np.ndarray]:
    """What `_in_a_graph` answers, float32 [n, ...], one an output, computed so many examples at a time."""
    answers = [predict(*batch) for batch in batches(inputs, batch_size)]
    return [np.concatenate([each.numpy() for each in output]) for output in zip(*answers, strict=True)]


def _card_with_preprocessing(card: ModelCard | None, signature: Signature, name: str | None) -> ModelCard | None:
    """The card with the preprocessing that the user names; a new one for a network of one picture without a card."""
    if name is None:
        return card
    if not signature.takes_picture:
        raise UsageError("--preprocess-fn is for networks of one picture.", "Leave out --preprocess-fn.")
    return with_preprocessing(card, name, signature.inputs[0])


def _check_pictures(
    signature: Signature, card: ModelCard | None, options: ExportOptions, model_path: Path
) -> list[Pictures]:
    """What Keras and the artifacts are shown: real pictures, unless the network takes none, then noise decides."""
    real, noise = pictures_for(signature, card, options.dataset, options.data_dir, options.pictures, model_path)
    names_classes = card is not None and bool(card.class_names)
    if options.dataset is not None and real is not None and real.labels is None and names_classes:
        raise UsageError(real.note, "Name the dataset of the network, or leave out --dataset.")
    return [dataclasses.replace(noise, real=True)] if real is None else [real, noise]


def _pixel_preprocessing(card: ModelCard | None, picture: SignatureTensor) -> Preprocessing:
    """The preprocessing that a flatbuffer with uint8 input has inside.

    Raises:
        UsageError: The model does not name one.
    """
    if card is None or not card.preprocessing:
        raise UsageError(
            "--input uint8 needs a preprocessing, and the model has no card that names one.",
            "Leave out --input.",
        )
    return get_preprocessing(card.preprocessing, picture.shape)  # type: ignore[arg-type]


def _notes(reference: Reference, retyped: bool) -> list[str]:
    """What the reader of the report should know."""
    shown = reference.comparisons[0][0]
    takes_indices = all(each.indices is not None for each in reference.signature.inputs)
    notes = [f"Checked on {shown.source} only: the network takes no pictures."]
    if any(each.is_picture for each in reference.signature.inputs):
        notes = [f"Checked on {len(shown.inputs[0])} real pictures: {shown.source}."]
    notes += [note for note in (shown.note, _accuracy_of_card(reference.card, shown)) if note]
    notes += [f"{line[0].upper()}{line[1:]}." for line in shown.fit]
    if not reference.has_own_card:
        notes.append("The model has no card: near-ties have no limit, as it may be untrained.")
    if reference.card is None and not takes_indices:
        of_pictures = f"photographs and noise were scaled to -1 to 1, and a SavedModel gets no predict_bytes.{_NAME_IT}"
        shown_values = of_pictures if reference.signature.takes_picture else "it was shown values from -1 to 1."
        notes.append(f"Nobody said what range of values the network wants: {shown_values}")
    elif reference.card is not None and not reference.card.preprocessing:
        notes.append(f"The model's card names no preprocessing: a SavedModel gets no predict_bytes.{_NAME_IT}")
    elif not (reference.signature.takes_picture and reference.signature.answers_scores):
        notes.append("The network does not map one picture to one row of scores: it gets only serving_default.")
    if reference.card is not None and reference.card.preprocessing and reference.signature.takes_picture:
        notes.append(f"Preprocessing: {reference.card.preprocessing}.")
    answers = zip(*(answers for _, answers in reference.comparisons), strict=True)
    if any(all((each == each[:1]).all() for each in of_output) for of_output in answers):
        notes.append("Keras answers everything that it was shown alike, so that the agreement proves nothing.")
    if reference.trained is False:
        notes.append("The network is untrained: near-ties are frequent, so no minimum agreement is required.")
    if reference.batch_size == 1:
        notes.append(
            "What Keras answers to a picture depends on the others of its batch, as with MagnitudeAwareSign at an "
            "input: it was compared one picture at a time."
        )
    if retyped:
        notes.append("The network was trained in mixed precision; it is exported and compared in float32.")
    if len(reference.signature.outputs) == 1 and not reference.signature.outputs[0].is_probabilities:
        notes.append("The network's outputs are not probabilities, so its signatures call them `outputs`.")
    unbinarized = [each.name for each in reference.layers if each.kernel_bits != 1 and _declared_binary(each)]
    if unbinarized:
        notes.append(f"Kernels declared binary hold other values than +-scale: {', '.join(unbinarized)}.")
    return notes


def _accuracy_of_card(card: ModelCard | None, shown: Pictures) -> str:
    """The card's top-1, where that was measured on more pictures of the same split; else empty."""
    top1 = card.accuracy.get("val_top1") if card is not None else None
    if card is None or top1 is None or shown.labels is None or card.evaluated_pictures <= len(shown.labels):
        return ""
    if shown.source != source_of(card.dataset, card.evaluated_on):
        return ""
    return (
        f"The card's top-1 is {percent_text(top1)}, on {card.evaluated_pictures:,} pictures of that split: "
        f"--pictures {card.evaluated_pictures} checks with as many."
    )


def _depends_on_batch(predict: Predict, inputs: tuple[np.ndarray, ...]) -> bool:
    """Whether Keras answers the first example otherwise where another one is beside it, as with means over a batch."""
    once, twice = (predict(*(each[rows] for each in inputs)) for rows in ([0, -1], [0, 0]))
    is_close = partial(np.allclose, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
    return not all(is_close(one[0], two[0]) for one, two in zip(once, twice, strict=True))


def _declared_binary(facts: LayerFacts) -> bool:
    return getattr(getattr(facts.layer, "kernel_quantizer", None), "precision", None) == 1


def _require_exportable(model: Model, path: Path) -> None:
    """Raise unless the model is a graph of layers that maps batches of floats of one size to others."""
    if not getattr(model, "_is_graph_network", False):
        raise BopkitError(
            f"{path} is not a functional or sequential model with a known input shape.",
            "Build it with tf.keras.Input and save it again.",
        )
    for verb, tensors in (("takes inputs", model.inputs), ("gives outputs", model.outputs)):
        for tensor in tensors:
            shape = tuple(tensor.shape)
            if not shape or shape[0] is not None or None in shape[1:]:
                raise BopkitError(
                    f"{path} {verb} of shape {shape}; an export needs pictures of one size, (None, height, width, "
                    "channels), or other batches of one size.",
                    "Build it again with such an input shape, load its weights, and save it.",
                )
            if not tensor.dtype.is_floating:
                raise BopkitError(
                    f"{path} {verb} of type {tensor.dtype.name}; an export needs floats.",
                    "Save the part of the network that maps floats to floats.",
                )


def _require_finite(model: Model, comparisons: list[tuple[Pictures, list[np.ndarray]]], path: Path) -> None:
    """Raise if a weight is NaN, or Keras answers with NaN or an infinite number, with which nothing can be compared."""
    broken = [each.name for each in model.weights if np.isnan(each.numpy()).any()]
    if broken:
        more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
        raise BopkitError(
            f"{path} holds weights that are NaN: {broken[0]}{more}.",
            "Export a network that was saved before its training diverged.",
        )
    for pictures, answers in comparisons:
        if not all(np.isfinite(each).all() for each in answers):
            raise BopkitError(
                f"Keras answers with NaN or infinite numbers when {path} is shown {pictures.source}.",
                "Divisions, logarithms and roots in the network need a small constant beside what they take.",
            )


def _require_card_of_network(card: ModelCard | None, signature: Signature, path: Path) -> None:
    """Raise if the card names another number of classes than the network gives scores."""
    if card is None or not card.class_names or not signature.answers_scores:
        return
    (classes,) = signature.outputs[0].shape
    if len(card.class_names) != classes:
        raise BopkitError(
            f"The card of {path} names {len(card.class_names)} classes, but the network has {classes} outputs.",
            "Save the network again with the card that belongs to it.",
        )


def _require_options_for(signature: Signature, options: ExportOptions) -> None:
    """Raise if an option is given that the network has no use for."""
    for option, given, possible, needed in (
        ("--dataset", options.dataset is not None, signature.takes_picture, "takes one picture"),
        ("--calibrate", options.calibrate is not None, signature.takes_picture, "takes one picture"),
        ("--input uint8", options.input_type == "uint8", signature.takes_picture, "takes one picture"),
        ("--output logits", options.output == "logits", signature.answers_scores, "returns one row of scores"),
    ):
        if given and not possible:
            inputs, outputs = (", ".join(each.name for each in kind) for kind in (signature.inputs, signature.outputs))
            raise UsageError(
                f"{option} is for a network that {needed} and nothing else; this one maps {inputs} to {outputs}.",
                f"Leave out {option}.",
            )


def _known_classes(card: ModelCard | None, signature: Signature, shown: list[Pictures]) -> int:
    """The number of classes that the card names or the labels of the user's dataset are about; 0 for neither."""
    if card is not None and card.class_names:
        return len(card.class_names)
    has_labels = any(pictures.labels is not None for pictures in shown)
    return signature.outputs[0].shape[0] if has_labels and signature.answers_scores else 0


def _with_probabilities(signature: Signature, values: list[np.ndarray]) -> Signature:
    """The signature that says which outputs are probabilities; an only row of them gets that name."""
    marked = signature.with_probabilities(values)
    if marked.answers_scores and marked.outputs[0].is_probabilities:
        return marked.with_scores("probabilities", True)
    return marked
