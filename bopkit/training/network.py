"""The network that is trained: the architecture's own, in the precision and with the batch norm of the run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bopkit.architecture import Architecture
from bopkit.errors import UsageError
from bopkit.hparams import HParams
from bopkit.keras2 import import_tensorflow
from bopkit.metrics import are_probabilities
from bopkit.training.plan import TrainingPlan
from bopkit.training.transfer import freeze, frozen_layers, start_from
from bopkit.unfused_norms import unfuse_norm_of_rows, unfuse_norms_of_rows


def build_training_network(
    architecture: Architecture,
    hparams: HParams,
    input_shape: tuple[int, int, int],
    classes: int,
    *,
    precision: str = "float32",
    sync_batch_norm: bool = False,
) -> Any:
    """Build a network for training: `training_copy` of what `build_plain_network` builds; arguments as of these."""
    network = build_plain_network(architecture, hparams, input_shape, classes)
    return training_copy(network, precision, sync_batch_norm)


def build_planned_network(plan: TrainingPlan, frozen: Sequence[int] = ()) -> Any:
    """The network of a run, in float32: `build_plain_network`, with some layers frozen as `transfer.freeze` does."""
    network = build_plain_network(plan.architecture, plan.hparams, plan.preprocessing.input_shape, plan.classes)
    freeze(network, frozen)
    return network


def build_first_network(plan: TrainingPlan) -> tuple[Any, tuple[int, ...], list[str]]:
    """The network of a run as it begins: with weights of another one, where it starts from that.

    Returns:
        The network; the layers that are frozen in it, as `build_planned_network` takes them; what to say of both.

    Raises:
        UsageError: Nothing of the other one fits, or a layer cannot be frozen.
    """
    network = build_planned_network(plan)
    started = start_from(network, plan.start, plan.hparams) if plan.start else None
    frozen = frozen_layers(network, plan.options.freeze or (), plan.options.freeze_batch_norm, started)
    freeze(network, frozen.layers)
    lines = [*(started.lines if started else ()), *frozen.lines]
    if started and not frozen.layers and plan.hparams.optimizer != "latent":
        lines.append(_LINE_ON_EMPTY_AVERAGES)
    return network, frozen.layers, lines


_LINE_ON_EMPTY_AVERAGES = (
    "the optimizer's averages are empty at first: if many weights flip in the first steps, little of that is left; "
    "--freeze PATTERN keeps layers, and a higher threshold flips less"
)


def build_plain_network(
    architecture: Architecture, hparams: HParams, input_shape: tuple[int, int, int], classes: int
) -> Any:
    """Build a network as its architecture says, in float32.

    Args:
        architecture: The network.
        hparams: A set of it.
        input_shape: Height, width, channels.
        classes: Number of outputs.

    Returns:
        A built `tf.keras.Model`: float32 [n, *input_shape] to float32 [n, classes].

    Raises:
        UsageError: It does not answer with the probabilities of so many classes, so that it cannot learn.
    """
    network = unfuse_norms_of_rows(architecture.build_network(hparams, input_shape, classes))
    _require_probabilities(network, classes)
    return network


def training_copy(network: Any, precision: str, sync_batch_norm: bool) -> Any:
    """The network itself, or a copy with its weights that is trained in its place.

    Args:
        network: Of `build_plain_network`.
        precision: `float32`, or `bfloat16` for layers that compute in bfloat16 with float32 variables. -1 and +1
            are exact in bfloat16. Batch norm's statistics, probabilities and loss stay float32.
        sync_batch_norm: Batch norm over the global batch, not over each replica's part.
    """
    if precision == "float32" and not sync_batch_norm:
        return network
    copy = _copy(network, precision, sync_batch_norm)
    copy.set_weights(network.get_weights())
    return copy


def _require_probabilities(network: Any, classes: int) -> None:
    """Raise unless a picture's answer is one row of `classes` probabilities."""
    shapes = [tuple(tensor.shape[1:]) for tensor in import_tensorflow().nest.flatten(network.outputs)]
    if shapes != [(classes,)]:
        found = " and ".join("x".join(map(str, shape)) for shape in shapes)
        raise UsageError(
            f"The network answers a picture with {found} value(s), and the dataset has {classes} classes.",
            "Let it end in one output for each class: build(hparams, input_shape, classes) gets the number.",
        )
    pictures = np.random.default_rng(0).uniform(-1, 1, (2, *network.input_shape[1:])).astype(np.float32)
    scores = network(pictures, training=False).numpy()
    if np.isfinite(scores).all() and not are_probabilities(scores):
        raise UsageError(
            "The network's scores are no probabilities: they do not sum to 1 for a picture, and training takes "
            "their logarithm.",
            "Let it end in a softmax: tf.keras.layers.Softmax(), or activation='softmax' in the last layer.",
        )


def _copy(network: Any, precision: str, sync_batch_norm: bool) -> Any:
    """The same layers with another precision and batch norm; weights are drawn anew."""
    tf = import_tensorflow()
    policy = "mixed_bfloat16" if precision == "bfloat16" else "float32"
    outputs = {tensor.node.layer for tensor in tf.nest.flatten(network.outputs)}

    def remake(layer: Any) -> Any:
        config = _without_dtypes(layer.get_config())
        if layer in outputs:
            config["dtype"] = "float32"
        if sync_batch_norm and isinstance(layer, tf.keras.layers.BatchNormalization):
            config["synchronized"] = True
        return unfuse_norm_of_rows(type(layer).from_config(config))

    # Quantizers are layers too, inside of layers: only the global policy reaches them.
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy(policy)
    try:
        return tf.keras.models.clone_model(network, clone_function=remake)
    finally:
        tf.keras.mixed_precision.set_global_policy(before)


def _without_dtypes(config: Any) -> Any:
    """A layer's config without the dtypes of the layer and of its quantizers."""
    if isinstance(config, dict):
        return {key: _without_dtypes(value) for key, value in config.items() if key != "dtype"}
    return config
