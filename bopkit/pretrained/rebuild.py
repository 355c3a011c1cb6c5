"""From packed bits and floats to the Keras network that they are the weights of."""

from __future__ import annotations

from typing import Any

from bopkit.architecture import Architecture
from bopkit.artifacts.card import ModelCard
from bopkit.artifacts.keras_file import save_model
from bopkit.errors import BopkitError
from bopkit.hparams import default_values, override
from bopkit.pretrained.shipped import ShippedModel, read_shipped
from bopkit.registry import MODELS
from bopkit.unfused_norms import unfuse_norms_of_rows


def rebuild(shipped: ShippedModel) -> Any:
    """Build a shipped network as its card describes it, and give it its weights, bit for bit.

    Returns:
        The `tf.keras.Model`, float32 [n, H, W, C] to probabilities, float32 [n, classes]; not compiled.

    Raises:
        BopkitError: The weights are those of another network than its architecture builds today.
    """
    network = build(shipped.card)
    built = [(weight.name, tuple(weight.shape)) for weight in network.weights]
    stored = [(weight.name, weight.shape) for weight in shipped.facts.weights]
    if built != stored:
        different = next((pair for pair in zip(built, stored, strict=False) if pair[0] != pair[1]), None)
        counts = f"there are {len(built)} weights, not {len(stored)}"
        what = f"{different[0]} stands for {different[1]}" if different else counts
        raise BopkitError(
            f"{shipped.card.architecture} is built otherwise than when {shipped.facts.name} was trained: {what}.",
            "This looks like a bug: report it.",
        )
    network.set_weights(shipped.unpacked_weights())
    return network


def build_shipped(name: str, model_file: str) -> None:
    """Build a shipped network, and save it with its model card: in a process of its own, always the same bytes.

    Args:
        name: Name of the network.
        model_file: The `.h5` file to write.

    Raises:
        BopkitError: A file of bopkit is damaged, or is of another network.
    """
    shipped = read_shipped(name)
    save_model(rebuild(shipped), shipped.card, model_file)


def build(card: ModelCard) -> Any:
    """Build the network that a card describes, with weights of no meaning."""
    architecture: Architecture = MODELS.load(card.architecture)
    base = architecture.hparams(card.hparams_set)
    hparams = override(base, {**default_values(type(base)), **card.hparams})  # what the card lacks is none
    network = architecture.build_network(hparams, card.input_shape, len(card.class_names))
    return unfuse_norms_of_rows(network)
