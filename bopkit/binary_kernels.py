"""Binary kernels: how an architecture marks them, and how they start."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bopkit.keras2 import import_tensorflow


def binary_kernel(optimizer: str, clip_value: float = 1.0) -> dict[str, Any]:
    """Keyword arguments that make the kernel of a larq layer binary.

    Args:
        optimizer: `latent` for a real kernel whose sign the layer uses; any other for a kernel that holds -1 and +1 and
            is flipped (marked for it by `NoOp(precision=1)`).
        clip_value: A real kernel is clipped to this range around 0, and has no gradient beyond it.
    """
    import_tensorflow()
    import larq as lq

    if optimizer == "latent":
        return {
            "kernel_quantizer": lq.quantizers.SteSign(clip_value=clip_value),
            "kernel_constraint": lq.constraints.WeightClip(clip_value=clip_value),
        }
    return {"kernel_quantizer": lq.quantizers.NoOp(precision=1)}


def is_marked(variable: Any) -> bool:
    """Whether a variable is the kernel of a layer that is marked by `NoOp(precision=1)`."""
    return getattr(variable, "precision", 32) == 1


def binary_layers(model: Any) -> Iterator[Any]:
    """The layers of a built Keras model whose kernel is binary, nested models included, in order."""
    for layer in model._flatten_layers(include_self=False, recursive=True):
        quantizer = getattr(layer, "kernel_quantizer", None)
        if quantizer is not None and getattr(quantizer, "precision", None) == 1:
            yield layer


def set_binary_kernels_to_signs(model: Any) -> None:
    """Replace each kernel that is flipped by its signs, -1 or +1 (0 counts as +1)."""
    tf = import_tensorflow()
    import larq as lq

    for layer in binary_layers(model):
        if isinstance(layer.kernel_quantizer, lq.quantizers.NoOp):
            layer.kernel.assign(tf.where(layer.kernel >= 0, 1.0, -1.0))
