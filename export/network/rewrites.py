"""The rewrite that both formats share: a clone of the network whose binary kernels come from functions.

Needs a loaded model, and therefore TensorFlow; imports it inside the functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bopkit.export.network.layers import LayerFacts, is_replaceable, materialised_weights, pad_values
from bopkit.export.spec import ExportFormat
from bopkit.keras2 import import_tensorflow
from bopkit.unfused_norms import unfuse_norm_of_rows

KERNEL_SETTINGS = {
    f"{kernel}_{setting}"
    for kernel in ("kernel", "depthwise", "pointwise")
    for setting in ("quantizer", "initializer", "regularizer", "constraint")
}
"""Settings of a layer that concern its kernels while they are trained."""

Model = Any  # TensorFlow is imported inside the functions
Layer = Any

KernelSource = Callable[[str, np.ndarray], Callable[[], Any]]
"""Takes the name of a layer and its kernel; returns the function that reads the kernel in a graph."""


def to_float32(model: Model) -> Model:
    """Return `model`, or a clone with the same weights that computes in float32 if some layer does not."""
    layers = model._flatten_layers(include_self=False)
    if all(layer.compute_dtype in (None, "float32") for layer in layers):
        return model
    return clone(model, lambda layer: (_copy(layer), layer.get_weights()))


def rewrite(model: Model, layers: list[LayerFacts], export_format: ExportFormat, kernel_source: KernelSource) -> Model:
    """Clone `model` for inference: quantized weights as constants, binary kernels from `kernel_source`.

    Args:
        model: A functional or sequential Keras model that computes in float32.
        layers: `inspect_layers(model)`.
        export_format: The format that the clone is made for.
        kernel_source: Is asked once for each packed layer.

    Returns:
        A Keras model with the same outputs; the kernels of packed layers are no variables of it.
    """
    facts_of = {id(each.layer): each for each in layers}

    def replace(layer: Layer) -> tuple[Layer, list[np.ndarray]]:
        facts = facts_of.get(id(layer))
        if facts is not None and is_packed(facts, export_format):
            return _with_kernel_from(facts, export_format, kernel_source), _weights_without_kernel(layer)
        return _copy_materialised(layer), materialised_weights(layer)

    return clone(model, replace)


def is_packed(facts: LayerFacts, export_format: ExportFormat) -> bool:
    """Whether a layer takes one bit a weight in that format."""
    if export_format.packs_real_input:
        return facts.kernel_bits == 1 and is_replaceable(facts.layer)
    return facts.packable


def clone(model: Model, replace: Callable[[Layer], tuple[Layer, list[np.ndarray]]]) -> Model:
    """Clone a model, networks inside it included; `replace` gives the new layer and its weights."""
    tf = import_tensorflow()
    made: dict[int, tuple[Layer, list[np.ndarray]]] = {}

    def clone_layer(layer: Layer) -> Layer:
        if id(layer) not in made:  # a layer that is used in two places stays one layer
            made[id(layer)] = (cloned(layer), []) if isinstance(layer, tf.keras.Model) else replace(layer)
        return made[id(layer)][0]

    def cloned(network: Model) -> Model:
        return tf.keras.models.clone_model(network, clone_function=clone_layer)

    clone_of_model = cloned(model)
    for layer, weights in made.values():
        if weights:
            layer.set_weights(weights)
    return clone_of_model


def _copy(layer: Layer) -> Layer:
    """A new layer of the same class that computes in float32."""
    return unfuse_norm_of_rows(type(layer).from_config(_float32_config(layer)))


def _copy_materialised(layer: Layer) -> Layer:
    """A new layer of the same class that takes its kernels as they are, without a quantizer."""
    config = _float32_config(layer)
    for key in KERNEL_SETTINGS & config.keys():
        del config[key]
    return unfuse_norm_of_rows(type(layer).from_config(config))


def _with_kernel_from(facts: LayerFacts, export_format: ExportFormat, kernel_source: KernelSource) -> Layer:
    """A layer with the arithmetic of `facts.layer` whose kernel `kernel_source` provides."""
    from bopkit.export.network import inference_layers

    config = _float32_config(facts.layer)
    for key in KERNEL_SETTINGS & config.keys():
        del config[key]
    if facts.input_is_binarized:  # LCE packs a layer only if it can see the sign; taking it twice changes nothing
        config["input_quantizer"] = "ste_sign"
    kernel = facts.kernel()
    kind: type[Layer]
    if kernel.ndim == 4 and export_format.has_wrong_zero_padding and _pads_with_zeros(facts.layer):
        kind = inference_layers.InferenceZeroPaddedConv2D
        config["values"] = kernel
    elif kernel.ndim == 4:
        kind = inference_layers.InferenceConv2D
    elif export_format.dense_as_convolution and facts.input_is_binarized:
        kind = inference_layers.InferenceDenseConvolution
        kernel = kernel[np.newaxis, np.newaxis]
    else:
        kind = inference_layers.InferenceDense
    return kind(read_kernel=kernel_source(facts.name, kernel), **config)


def _pads_with_zeros(layer: Layer) -> bool:
    return bool(layer.padding == "same" and pad_values(layer) == 0.0)


def _float32_config(layer: Layer) -> dict[str, Any]:
    config: dict[str, Any] = _in_float32(layer.get_config())
    return config


def _in_float32(config: Any) -> Any:
    """A layer's configuration with float32 in place of its policy, and of those of the layers and quantizers inside."""
    if isinstance(config, dict):
        return {key: "float32" if key == "dtype" else _in_float32(value) for key, value in config.items()}
    return list(map(_in_float32, config)) if isinstance(config, list) else config


def _weights_without_kernel(layer: Layer) -> list[np.ndarray]:
    return [layer.bias.numpy()] if layer.use_bias else []
