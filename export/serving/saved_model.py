"""The TensorFlow Serving directory: bit-packed, stock operations only, unpacked once when it is loaded.

Needs TensorFlow; imports it inside the functions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bopkit.artifacts import artifact
from bopkit.artifacts.card import ModelCard
from bopkit.export.labels import LABELS_FILE, labels_text
from bopkit.export.network.layers import LayerFacts
from bopkit.export.network.packing import pack
from bopkit.export.network.rewrites import rewrite
from bopkit.export.network.signature import Signature, call
from bopkit.export.pictures import batches
from bopkit.export.serving.graph_def import tidy_graph_def
from bopkit.export.serving.signatures import make_signatures
from bopkit.export.serving.warmup import write_warmup_requests
from bopkit.export.spec import SAVED_MODEL
from bopkit.keras2 import import_tensorflow

Model = Any  # TensorFlow is imported inside the functions

EXTRA_FOLDER = "assets.extra"
"""Folder of the version directory whose files TensorFlow Serving leaves alone."""


def write_saved_model(
    model: Model,
    layers: list[LayerFacts],
    card: ModelCard | None,
    signature: Signature,
    path: Path,
    packed: bool = True,
) -> None:
    """Write one version directory with the signatures of `make_signatures`.

    Args:
        model: A Keras model that computes in float32.
        layers: `inspect_layers(model)`.
        card: Names the preprocessing and the classes.
        signature: Inputs and outputs of the model, by the names that they get.
        path: The version directory, which must not exist yet.
        packed: Store binary kernels as bits instead of float32; the answers are the same.
    """
    from bopkit.export.serving import unpacked_kernel

    tf = import_tensorflow()
    kernels: dict[str, Any] = {}

    def kernel_source(name: str, kernel: np.ndarray) -> Any:
        if packed:
            kernels[name] = unpacked_kernel.UnpackedKernel(name, pack(kernel))
            return kernels[name].read
        kernels[name] = tf.Variable(kernel, trainable=False, name=name)
        return kernels[name].read_value

    network = rewrite(model, layers, SAVED_MODEL, kernel_source)
    module = tf.Module()
    # The Keras model itself is not tracked: a client gets its functions, and needs no larq to load them.
    module.float_weights = network.variables
    module.kernels = [kernels[each.name] for each in layers if each.name in kernels]
    if packed:
        module.packed_bits = tf.function(
            lambda: [kernel.bits for kernel in module.kernels], input_signature=[], autograph=False
        )
    # One function behind all signatures: the network is stored once.
    module.predict = tf.function(
        lambda *inputs: call(network, inputs),
        input_signature=signature.input_specs(SAVED_MODEL.batch_size),
        autograph=False,
    )
    signatures = make_signatures(module.predict, signature, card)
    # Without the gradients of custom functions: nobody trains what is served.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(module, str(path), signatures, options)
    tidy_graph_def(path)
    (path / EXTRA_FOLDER).mkdir()
    write_warmup_requests(path, list(signatures), signature.inputs)
    _write_card(path, card)


def stored_kernels(loaded: Any) -> list[tuple[np.ndarray | None, np.ndarray]]:
    """Read back what a loaded version directory holds for its binary layers.

    Returns:
        A pair a layer, in the order of the network: the packed bits, uint8, or None where it is not packed; and the
        kernel that TensorFlow computes with, float32.
    """
    tf = import_tensorflow()

    def read(kernel: Any) -> np.ndarray:
        handle = kernel.resource_handle if packed else kernel.handle
        return tf.raw_ops.ReadVariableOp(resource=handle, dtype=tf.float32).numpy()

    packed = hasattr(loaded, "packed_bits")
    bits = [tensor.numpy() for tensor in loaded.packed_bits()] if packed else [None] * len(loaded.kernels)
    return list(zip(bits, map(read, loaded.kernels), strict=True))


def predict(loaded: Any, inputs: dict[str, np.ndarray], batch_size: int) -> dict[str, np.ndarray]:
    """What a loaded version directory answers through `serving_default`.

    Args:
        loaded: What `tf.saved_model.load` returns.
        inputs: float32 [n, ...] by name.
        batch_size: Examples in a request.

    Returns:
        float32 [n, ...] by name.
    """
    tf = import_tensorflow()
    serve = loaded.signatures["serving_default"]
    answers = [
        serve(**dict(zip(inputs, map(tf.constant, batch), strict=True)))
        for batch in batches(tuple(inputs.values()), batch_size)
    ]
    return {name: np.concatenate([each[name].numpy() for each in answers]) for name in answers[0]}


def _write_card(path: Path, card: ModelCard | None) -> None:
    """Write the card, and the labels where the card has them."""
    if card is None:
        return
    (path / artifact.SAVED_MODEL_CARD).write_text(card.to_json())
    if card.class_names:
        (path / EXTRA_FOLDER / LABELS_FILE).write_bytes(labels_text(card.class_names))
