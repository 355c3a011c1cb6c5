"""What the export has to know of each layer: its materialised kernel, its bits, and whether LCE can pack it.

Needs a loaded model, and therefore TensorFlow; imports it inside the functions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from bopkit.counting import holds_signs, is_binary
from bopkit.export.network.packing import LCE_WORD_BITS
from bopkit.keras2 import import_tensorflow

Model = Any  # TensorFlow is imported inside the functions
Layer = Any
KerasTensor = Any

REAL_BITS = 32

# Parts of the class names of larq's layers that neither format packs; the first that fits names the layer.
_KINDS = {
    "Depthwise": "depthwise: ",
    "Separable": "separable: ",
    "LocallyConnected": "locally connected: ",
    "Transpose": "transposed: ",
    "1D": "1-D: ",
    "3D": "3-D: ",
}

# What quantizers that are no plain signs make of a value.
_VALUES = {
    "SteTern": "ternary, ",
    "SteHeaviside": "0 or 1, ",
    "MagnitudeAwareSign": "scaled by the mean over the batch, ",
}


@dataclasses.dataclass(frozen=True)
class LayerFacts:
    """One layer with weights.

    Attributes:
        layer: The Keras layer.
        name: Its name below the outermost model, e.g. `backbone/conv_1`.
        input_bits: Bits of a value that meets the kernel.
        kernel_bits: Bits of a kernel value.
        input_is_binarized: Whether the values that meet the kernel are -1 or +1, whatever the picture.
        weights: Number of weights, all of them.
        float_reason: Why LCE cannot pack the layer; empty if it can.
    """

    layer: Layer
    name: str
    input_bits: int
    kernel_bits: int
    input_is_binarized: bool
    weights: int
    float_reason: str

    @property
    def type(self) -> str:
        """Keras class of the layer."""
        return type(self.layer).__name__

    @property
    def kernel_shape(self) -> tuple[int, ...]:
        """Shape of the kernel; empty for a layer without one."""
        kernel = getattr(self.layer, "kernel", None)
        return () if kernel is None else tuple(int(size) for size in kernel.shape)

    @property
    def packable(self) -> bool:
        """Whether LCE can pack the layer."""
        return not self.float_reason

    def kernel(self) -> np.ndarray:
        """The kernel after its quantizer, float32; computed anew at each call, as kernels can be large."""
        return materialised_kernel(self.layer)


def inspect_layers(model: Model) -> list[LayerFacts]:
    """Facts of every layer of `model` that has weights, nested networks included, each layer once."""
    layers: list[LayerFacts] = []
    for name, layer in named_leaves(model):
        layers += getattr(layer, "frozen_operations", [])  # of a frozen graph that stands for many layers
        layers += [_layer_facts(layer, name)] if layer.weights else []
    return layers


def named_leaves(model: Model) -> Iterator[tuple[str, Layer]]:
    """Each layer that is not itself a network, with the names of the networks around it, once."""
    seen: set[int] = set()

    def walk(network: Model, prefix: str) -> Iterator[tuple[str, Layer]]:
        tf = import_tensorflow()
        for layer in network.layers:
            if id(layer) in seen:
                continue
            seen.add(id(layer))
            if isinstance(layer, tf.keras.Model):
                yield from walk(layer, f"{prefix}{layer.name}/")
            else:
                yield f"{prefix}{layer.name}", layer

    return walk(model, "")


def is_replaceable(layer: Layer) -> bool:
    """Whether the export can put a layer with packed bits in its place: a 2-D convolution or a dense layer.

    A class of the user's own that does anything else than its base class is none.
    """
    keras = import_tensorflow().keras.layers
    import larq

    return behaves_as(layer, larq.layers.QuantConv2D, larq.layers.QuantDense, keras.Conv2D, keras.Dense)


def behaves_as(layer: Layer, *kinds: type) -> bool:
    """Whether a layer does what one of these classes does: it is of the class, or of one that changes nothing of it."""
    base = next((each for each in type(layer).__mro__ if each in kinds), None)
    return base is not None and not _overridden(type(layer), base)


def _overridden(kind: type, base: type) -> set[str]:
    """What a class, or those between it and `base`, do in another way than `base`, beside taking other arguments."""
    between = kind.__mro__[: kind.__mro__.index(base)]
    names = {name for each in between for name, value in vars(each).items() if callable(value) or name == "kernel"}
    return {name for name in names if hasattr(base, name)} - {"__init__", "get_config", "from_config"}


def materialised_kernel(layer: Layer) -> np.ndarray:
    """The kernel of a layer after its quantizer, float32."""
    import larq

    tf = import_tensorflow()
    with larq.context.quantized_scope(True):
        return tf.convert_to_tensor(layer.kernel).numpy().astype(np.float32)


def materialised_weights(layer: Layer) -> list[np.ndarray]:
    """All weights of a layer after their quantizers, in the order of `layer.weights`."""
    import larq

    with larq.context.quantized_scope(True):
        return layer.get_weights()


def _layer_facts(layer: Layer, name: str) -> LayerFacts:
    kernels = _quantized_kernels(layer)
    binary = bool(kernels) and all(is_binary(kernel) for kernel, _ in kernels)
    input_is_binarized = is_replaceable(layer) and _has_binarized_input(layer)
    return LayerFacts(
        layer=layer,
        name=name,
        input_bits=1 if input_is_binarized else _input_bits(layer),
        kernel_bits=1 if binary else _declared_bits(kernels),
        input_is_binarized=input_is_binarized,
        weights=layer.count_params(),
        float_reason=_float_reason(layer, bool(kernels), binary, input_is_binarized),
    )


def _quantized_kernels(layer: Layer) -> list[tuple[np.ndarray, int]]:
    """Values after quantization, and declared bits, of the variables of `layer` that have a quantizer.

    A kernel that holds -1 and +1 alone counts as one, as an optimizer leaves it in a layer without a quantizer.
    """
    from larq.quantized_variable import QuantizedVariable

    values = zip(layer.weights, materialised_weights(layer), strict=True)
    kernels = [
        (value.astype(np.float32), variable.precision or REAL_BITS)
        for variable, value in values
        if isinstance(variable, QuantizedVariable)
    ]
    if not kernels and holds_signs(layer):
        kernels = [(materialised_kernel(layer), 1)]
    return kernels


def _declared_bits(kernels: list[tuple[np.ndarray, int]]) -> int:
    """Most bits that a quantizer declares; a declared bit that the values do not keep counts as a float."""
    declared = max((bits for _, bits in kernels), default=REAL_BITS)
    return REAL_BITS if declared == 1 else declared


def _input_bits(layer: Layer) -> int:
    """Bits that the layer's own input quantizer declares, for an input that is no sign."""
    declared = getattr(getattr(layer, "input_quantizer", None), "precision", None)
    return declared if declared and declared > 1 else REAL_BITS


def _float_reason(layer: Layer, has_quantizer: bool, binary: bool, input_is_binarized: bool) -> str:
    """Why LCE cannot pack the layer; empty if it can."""
    if not has_quantizer:
        return "real weights"
    if not is_replaceable(layer):
        return _unsupported_kind(layer)
    if not binary:
        return f"kernel is not binary{_named(layer.kernel_quantizer)}"
    if not input_is_binarized:
        quantizer = input_quantizer(layer)
        return f"input is not a plain sign{_named(quantizer)}" if quantizer else "real input"
    return unsupported_convolution(layer) if layer.kernel.shape.rank == 4 else ""


def _named(quantizer: Any) -> str:
    """What a quantizer makes of a value, for the reason why that is no sign; empty if it promises a sign."""
    name = type(quantizer).__name__
    if name == "DoReFa":
        return f": DoReFa of {quantizer.precision} bits"
    return "" if name == "NoOp" else f": {_VALUES.get(name, '')}{name}"


def _unsupported_kind(layer: Layer) -> str:
    """Why neither format packs such a layer."""
    import larq

    wrapped = getattr(layer, "layer", None)
    if wrapped is None:
        kind = next((text for part, text in _KINDS.items() if part in type(layer).__name__), "")
        if not kind and isinstance(layer, (larq.layers.QuantConv2D, larq.layers.QuantDense)):
            return f"{type(layer).__name__} is a class of its own, with other arithmetic than larq's"
        return f"{kind}only 2-D convolutions and dense layers are packed"
    reason = f"a layer inside {type(layer).__name__} is not packed"
    if isinstance(wrapped, larq.layers.QuantDense):
        reason += "; QuantDense takes [n, t, c] without it"
    return reason


def unsupported_convolution(layer: Layer) -> str:
    """What LCE lacks for a binary convolution with binarized input; empty if nothing."""
    if layer.data_format != "channels_last":
        return "LCE takes channels-last pictures only"
    if layer.padding == "same" and pad_values(layer) not in (0.0, 1.0):
        return "LCE pads with 0 or 1 only"
    if layer.groups > 1 and layer.kernel.shape[2] % LCE_WORD_BITS:
        return f"LCE packs groups of a multiple of {LCE_WORD_BITS} channels only"
    return ""


def input_quantizer(layer: Layer) -> Any:
    """What a layer makes of its input before it meets the kernel; None for nothing, as in layers of Keras."""
    return getattr(layer, "input_quantizer", None)


def pad_values(layer: Layer) -> float:
    """What a convolution with "same" padding pads with; 0 in layers of Keras."""
    return float(getattr(layer, "pad_values", 0.0))


def _has_binarized_input(layer: Layer) -> bool:
    """Whether the values that meet the kernel of a layer are -1 or +1, whatever the picture."""
    if input_quantizer(layer) is not None:
        return is_sign(input_quantizer(layer))
    sources = [tensor for node in layer.inbound_nodes for tensor in node.keras_inputs]
    return bool(sources) and all(_is_binarized(tensor) for tensor in sources)


def is_sign(function: Any) -> bool:
    """Whether a quantizer, layer or activation maps x to +1 where x >= 0 and to -1 elsewhere."""
    from larq.quantizers import ApproxSign, SteSign, SwishSign

    return behaves_as(function, SteSign, ApproxSign, SwishSign)


def _ends_in_activation(layer: Layer) -> bool:
    """Whether a layer answers with what its activation makes, as no recurrent layer and few of a user's own do."""
    import larq

    keras = import_tensorflow().keras.layers
    names = ("Conv1D", "Conv2D", "Conv2DTranspose", "Dense", "DepthwiseConv2D", "SeparableConv2D")
    kinds = [getattr(keras, name) for name in names] + [getattr(larq.layers, f"Quant{name}") for name in names]
    return behaves_as(layer, keras.Activation, *kinds)


def _is_binarized(tensor: KerasTensor) -> bool:
    """Whether a tensor of a Keras graph holds -1 and +1 only; False where that cannot be told."""
    producer = tensor._keras_history.layer
    if is_sign(producer) or _ends_in_activation(producer) and is_sign(producer.activation):
        return True
    if not keeps_values(producer):
        return False
    return all(_is_binarized(source) for node in producer.inbound_nodes for source in node.keras_inputs)


def keeps_values(layer: Layer) -> bool:
    """Whether a layer moves, selects or repeats values without changing them."""
    keras = import_tensorflow().keras.layers
    moves = (keras.Flatten, keras.Reshape, keras.Permute, keras.Cropping1D, keras.Cropping2D, keras.RepeatVector)
    selects = (keras.MaxPooling1D, keras.MaxPooling2D, keras.GlobalMaxPooling1D, keras.GlobalMaxPooling2D)
    repeats = behaves_as(layer, keras.UpSampling2D) and layer.interpolation == "nearest"
    return repeats or behaves_as(layer, *moves, *selects, keras.Concatenate)
