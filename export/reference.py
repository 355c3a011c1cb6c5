"""The Keras side of an export: the loaded model, its layers, and its scores on the pictures of the checks.

Needs TensorFlow; imports it inside the functions.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from bopkit.architecture import floor_bytes
from bopkit.card import ModelCard
from bopkit.counting import count_weights
from bopkit.data import Preprocessing, get_preprocessing
from bopkit.errors import BopkitError, UsageError
from bopkit.export.layers import LayerFacts, inspect_layers
from bopkit.export.options import ExportOptions
from bopkit.export.pictures import Pictures, on_pixel_grid, random_pictures, real_pictures
from bopkit.export.rewrites import to_float32
from bopkit.export.sources import load_source
from bopkit.export.spec import RANDOM_PICTURES
from bopkit.keras2 import import_tensorflow
from bopkit.model_config import NOTHING, Vouched
from bopkit.progress import Progress

Model = Any  # TensorFlow is imported inside the functions

BATCH_SIZE = 32
"""Pictures at a time while checking: the activations of 32 pictures of 224 px fit into 2 GB."""


@dataclasses.dataclass(frozen=True)
class Reference:
    """A network, and the pictures with Keras' scores that its artifacts are checked on.

    Attributes:
        model: The Keras model, in float32.
        card: Its card, if it has one.
        facts: Its layers.
        comparisons: Pictures with Keras' scores, float32 [n, classes]: real ones, then noise.
        output_name: Name of the scores in the artifacts.
        floor_bytes: One bit a binary weight and 32 bits any other.
        pixel_preprocessing: Turns the pixels that the flatbuffer takes into the network's input; None where the
            flatbuffer takes that input itself.
    """

    model: Model
    card: ModelCard | None
    facts: list[LayerFacts]
    comparisons: list[tuple[Pictures, np.ndarray]]
    output_name: str
    floor_bytes: int
    pixel_preprocessing: Preprocessing | None = None

    @property
    def trained(self) -> bool:
        """Whether the card says that the network is trained."""
        return self.card is not None and self.card.trained


def compute_reference(
    model_path: Path, options: ExportOptions, progress: Progress, vouched: Vouched = NOTHING
) -> tuple[Reference, list[str]]:
    """Load the model and compute what its artifacts are checked against; notes for the report beside it."""
    progress(f"Loading {model_path}")
    loaded = load_source(model_path, options, vouched)
    card = loaded.card
    _require_exportable(loaded.model, card, model_path)
    model = to_float32(loaded.model)
    facts = inspect_layers(model)
    input_shape = model.input_shape[1:]
    progress("Computing the scores of Keras")
    real = real_pictures(input_shape, card, options.dataset, options.data_dir, options.pictures)
    noise = random_pictures(input_shape, card, RANDOM_PICTURES)
    preprocessing = _pixel_preprocessing(card, input_shape) if options.input_type == "uint8" else None
    if preprocessing is not None:
        real, noise = on_pixel_grid(real, preprocessing), on_pixel_grid(noise, preprocessing)
    comparisons = [(pictures, predict_keras(model, pictures.images, BATCH_SIZE)) for pictures in (real, noise)]
    scores = np.concatenate([scores for _, scores in comparisons])
    output_name = "probabilities" if _are_probabilities(scores) else "outputs"
    floor = floor_bytes(*count_weights(model))
    reference = Reference(model, card, facts, comparisons, output_name, floor, preprocessing)
    return reference, [*loaded.notes, *_notes(reference, retyped=model is not loaded.model)]


def predict_keras(model: Model, images: np.ndarray, batch_size: int) -> np.ndarray:
    """Scores of the Keras model.

    Args:
        model: One picture in, one row of scores out.
        images: float32 [n, H, W, C].
        batch_size: Pictures at a time.

    Returns:
        float32 [n, classes].
    """
    tf = import_tensorflow()
    signature = [tf.TensorSpec([None, *images.shape[1:]], tf.float32)]
    scores = tf.function(lambda batch: model(batch, training=False), input_signature=signature)
    batches = [images[start : start + batch_size] for start in range(0, len(images), batch_size)]
    return np.concatenate([scores(batch).numpy() for batch in batches])


def _pixel_preprocessing(card: ModelCard | None, input_shape: tuple[int, int, int]) -> Preprocessing:
    """The preprocessing that a flatbuffer with uint8 input has inside.

    Raises:
        UsageError: The model does not name one.
    """
    if card is None or not card.preprocessing:
        raise UsageError(
            "--input uint8 needs the preprocessing that the model's card names, and there is none.",
            "Leave out --input.",
        )
    return get_preprocessing(card.preprocessing, input_shape)


def _notes(reference: Reference, retyped: bool) -> list[str]:
    """What the reader of the report should know."""
    real = reference.comparisons[0][0]
    notes = [f"Checked on {len(real.images)} real pictures: {real.source}."]
    if real.note:
        notes.append(real.note)
    if reference.card is None:
        notes.append(
            "The model has no card: photographs and noise were scaled to -1 to 1, predict_bytes is left out, "
            "and agreement is reported without a limit."
        )
    elif not reference.card.preprocessing:
        notes.append("The model's card names no preprocessing: predict_bytes is left out.")
    if reference.card is not None and not reference.trained:
        notes.append("The network is untrained: near-ties are frequent, so agreement has no limit.")
    if retyped:
        notes.append("The network was trained in mixed precision; it is exported and compared in float32.")
    if reference.output_name != "probabilities":
        notes.append("The network's outputs are no probabilities, so its signatures call them `outputs`.")
    unbinarized = [each.name for each in reference.facts if each.kernel_bits != 1 and _declared_binary(each)]
    if unbinarized:
        notes.append(f"Kernels declared binary hold other values than +-scale: {', '.join(unbinarized)}.")
    return notes


def _declared_binary(facts: LayerFacts) -> bool:
    return getattr(getattr(facts.layer, "kernel_quantizer", None), "precision", None) == 1


def _require_exportable(model: Model, card: ModelCard | None, path: Path) -> None:
    """Raise unless the model is a graph of layers with one picture in and one row of scores out."""
    if not getattr(model, "_is_graph_network", False):
        raise BopkitError(
            f"{path} is no functional or sequential model with a known input shape.",
            "Build it with tf.keras.Input and save it again.",
        )
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise BopkitError(
            f"{path} has {len(model.inputs)} inputs and {len(model.outputs)} outputs; only one each can be exported.",
            "Save the part of the network that maps one picture to its scores.",
        )
    if len(model.input_shape) != 4 or None in model.input_shape[1:]:
        raise BopkitError(
            f"{path} takes inputs of shape {model.input_shape}; an export needs pictures of one size, "
            "(None, height, width, channels).",
            "Build it again with that input shape, load its weights, and save it.",
        )
    if len(model.output_shape) != 2:
        raise BopkitError(
            f"{path} answers with shape {model.output_shape}; an export needs one row of scores a picture.",
            "Save the part of the network that maps one picture to its scores.",
        )
    if card is not None and card.class_names and len(card.class_names) != model.output_shape[1]:
        raise BopkitError(
            f"The card of {path} names {len(card.class_names)} classes, but the network has "
            f"{model.output_shape[1]} outputs.",
            "Save the network again with the card that belongs to it.",
        )


def _are_probabilities(scores: np.ndarray) -> bool:
    """Whether every row of float32 [n, classes] sums to 1 and holds nothing below 0."""
    return bool(np.all(scores >= 0) and np.allclose(scores.sum(axis=1), 1.0, atol=1e-3))
