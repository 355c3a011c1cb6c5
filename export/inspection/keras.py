"""Keras files: every weight takes 32 bits, whatever it holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bopkit.artifacts.custom_code import CustomCode
from bopkit.export.inspection.contents import BinaryKernel, Contents, StoredLayer, tensor_text
from bopkit.export.network.layers import LayerFacts, inspect_layers
from bopkit.export.network.rewrites import to_float32
from bopkit.export.sources.source import load_file


def read(path: Path, custom_code: CustomCode) -> Contents:
    """Read a `.h5` or `.keras` file."""
    return describe(load_file(path, custom_code).model)


def describe(model: Any) -> Contents:
    """What a Keras model holds."""
    layers = inspect_layers(to_float32(model))  # quantizers of mixed precision work inside their layers only
    binary = [each for each in layers if each.kernel_bits == 1 and each.kernel_shape]
    kernels = tuple(BinaryKernel.of_values(each.name, each.kernel()) for each in binary)
    return Contents(
        kind="keras",
        inputs=_texts(model.inputs),
        outputs=_texts(model.outputs),
        layers=tuple(map(_stored_layer, layers)),
        kernels=kernels,
        others={
            f"{each.name}/{_own_name(variable)}": variable.numpy()
            for each in layers
            for variable in each.layer.weights
            if not (each in binary and _own_name(variable) == "kernel")
        },
    )


def _stored_layer(facts: LayerFacts) -> StoredLayer:
    largest = max((tuple(variable.shape) for variable in facts.layer.weights), key=lambda shape: (len(shape), shape))
    shape = facts.kernel_shape or tuple(int(size) for size in largest)
    binary = facts.kernel_bits == 1
    others = 0 if not binary or not getattr(facts.layer, "use_bias", False) else facts.layer.bias.shape[0]
    reason = "Keras stores 32 bits a weight"
    if not facts.packable:
        reason = facts.float_reason
    elif binary:
        reason += "; an export packs it"
    return StoredLayer(
        name=facts.name,
        type=facts.type,
        shape=shape,
        input_bits=facts.input_bits,
        value_bits=facts.kernel_bits,
        stored_bits=32,
        weights=facts.weights,
        binary_weights=facts.weights - others if binary else 0,
        size_bytes=sum(variable.dtype.size * variable.shape.num_elements() for variable in facts.layer.weights),
        packed=False,
        reason=reason,
    )


def _own_name(variable: Any) -> str:
    """`kernel` of `conv_1/kernel:0`."""
    return variable.name.rpartition("/")[2].partition(":")[0]


def _texts(tensors: list[Any] | None) -> tuple[str, ...]:
    """Inputs or outputs for a person; a subclassed model has none that are known."""
    return tuple(tensor_text(each.name, each.dtype.name, tuple(each.shape)) for each in tensors or ())
