"""The TensorFlow Serving directory: bit-packed, stock operations only, unpacked once when it is loaded.

Needs TensorFlow; imports it inside the functions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bopkit import artifact
from bopkit.benchmark.metrics import TOP_K
from bopkit.card import ModelCard
from bopkit.data import get_preprocessing
from bopkit.export.layers import LayerFacts
from bopkit.export.packing import pack
from bopkit.export.rewrites import rewrite
from bopkit.export.spec import SAVED_MODEL
from bopkit.keras2 import import_tensorflow

Model = Any  # TensorFlow is imported inside the functions
Tensor = Any

LABELS = "assets.extra/labels.txt"
"""File with one class name a line, inside the version directory."""


def write_saved_model(
    model: Model, facts: list[LayerFacts], card: ModelCard | None, output_name: str, path: Path
) -> None:
    """Write one version directory.

    Signatures: `serving_default` maps `images`, float32 [N, H, W, C], to `output_name`, float32 [N, classes].
    With a card that names the preprocessing there is also `predict_bytes`: `image_bytes`, string [N] of JPEG
    or PNG, to the same, and to the best `classes`, string [N, k], with their `scores`, float32 [N, k].

    Args:
        model: A Keras model that computes in float32.
        facts: `inspect_layers(model)`.
        card: Names the preprocessing and the classes.
        output_name: Key of the scores in the answers, e.g. `probabilities`.
        path: The version directory, which must not exist yet.
    """
    from bopkit.export import unpacked_kernel

    tf = import_tensorflow()
    kernels: dict[str, unpacked_kernel.UnpackedKernel] = {}

    def kernel_source(name: str, kernel: np.ndarray) -> Any:
        kernels[name] = unpacked_kernel.UnpackedKernel(name, pack(kernel))
        return kernels[name].read

    network = rewrite(model, facts, SAVED_MODEL, kernel_source)
    module = tf.Module()
    # The Keras model itself is not tracked: a client gets its functions, and needs no larq to load them.
    module.float_weights = network.variables
    module.kernels = [kernels[each.name] for each in facts if each.name in kernels]
    module.packed_bits = tf.function(lambda: [kernel.bits for kernel in module.kernels], input_signature=[])
    images = tf.TensorSpec([SAVED_MODEL.batch_size, *network.input_shape[1:]], tf.float32, name="images")
    # One function behind all signatures: the network is stored once.
    module.predict = tf.function(lambda images: network(images, training=False), input_signature=[images])
    signatures = {"serving_default": _predict_images(module.predict, output_name)}
    if card is not None and card.preprocessing:
        signatures["predict_bytes"] = _predict_bytes(module.predict, output_name, card)
    tf.saved_model.save(module, str(path), signatures=signatures)
    _write_extras(path, card)


def packed_layers(loaded: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """Read back what a loaded version directory holds for its packed layers.

    Returns:
        A pair a layer, in the order of the network: the packed bits, uint8, and the kernel that TensorFlow
        unpacks from them, float32.
    """
    tf = import_tensorflow()
    bits = [tensor.numpy() for tensor in loaded.packed_bits()]
    kernels = [
        tf.raw_ops.ReadVariableOp(resource=kernel.resource_handle, dtype=tf.float32).numpy()
        for kernel in loaded.kernels
    ]
    return list(zip(bits, kernels, strict=True))


def predict(loaded: Any, pictures: np.ndarray, batch_size: int) -> np.ndarray:
    """Scores of a loaded version directory through `serving_default`.

    Args:
        loaded: What `tf.saved_model.load` returns.
        pictures: float32 [n, H, W, C].
        batch_size: Pictures in a request.

    Returns:
        float32 [n, classes].
    """
    tf = import_tensorflow()
    serve = loaded.signatures["serving_default"]
    batches = [pictures[start : start + batch_size] for start in range(0, len(pictures), batch_size)]
    answers = [next(iter(serve(images=tf.constant(batch)).values())).numpy() for batch in batches]
    return np.concatenate(answers)


def _predict_images(predict_scores: Any, output_name: str) -> Any:
    tf = import_tensorflow()

    @tf.function(input_signature=predict_scores.input_signature)
    def serving_default(images: Tensor) -> dict[str, Tensor]:
        return {output_name: predict_scores(images)}

    return serving_default


def _predict_bytes(predict_scores: Any, output_name: str, card: ModelCard) -> Any:
    tf = import_tensorflow()
    (pictures,) = predict_scores.input_signature
    preprocessing = get_preprocessing(card.preprocessing, tuple(pictures.shape[1:]))
    picture = tf.TensorSpec(pictures.shape[1:], tf.float32)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def predict_bytes(image_bytes: Tensor) -> dict[str, Tensor]:
        images = tf.map_fn(preprocessing.evaluate, image_bytes, fn_output_signature=picture)
        outputs = predict_scores(images)
        scores, indices = tf.math.top_k(outputs, min(TOP_K, outputs.shape[-1]))
        classes = tf.gather(card.class_names, indices) if card.class_names else tf.strings.as_string(indices)
        return {output_name: outputs, "classes": classes, "scores": scores}

    return predict_bytes


def _write_extras(path: Path, card: ModelCard | None) -> None:
    """Card and labels go where TensorFlow Serving leaves files alone."""
    if card is None:
        return
    (path / artifact.SAVED_MODEL_CARD).parent.mkdir()
    (path / artifact.SAVED_MODEL_CARD).write_text(card.to_json())
    if card.class_names:
        (path / LABELS).write_text("\n".join(card.class_names) + "\n")
