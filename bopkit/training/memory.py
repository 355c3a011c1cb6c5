"""Whether a training step can fit into memory, told before the operating system ends the process without a word."""

from __future__ import annotations

import math
from typing import Any

import psutil

from bopkit.errors import BopkitError
from bopkit.keras2 import import_tensorflow

_BYTES = 4  # float32


def check_memory(network: Any, batch_size: int, accumulate: int = 1) -> None:
    """Compare the least that a step needs with the memory that is available.

    A step keeps every layer's output, and the signs of binarized inputs, until the backward pass; and each weight
    has a gradient and at least one average. On a GPU, TensorFlow itself says when memory runs out.

    Args:
        network: A built `tf.keras.Model`.
        batch_size: Pictures that this machine computes in one step.
        accumulate: Parts that they are split into, one after the other.

    Raises:
        BopkitError: The step cannot fit.
    """
    tf = import_tensorflow()
    if tf.config.get_visible_devices("GPU"):
        return
    values = 0
    for layer in network.layers:
        kept = tf.nest.flatten(layer.output)
        if getattr(layer, "input_quantizer", None) is not None:
            kept += tf.nest.flatten(layer.input)
        values += sum(math.prod(tensor.shape[1:]) for tensor in kept)
    weights_bytes = 3 * _BYTES * network.count_params()
    available_bytes = psutil.virtual_memory().available
    together = batch_size // accumulate
    needed_bytes = weights_bytes + _BYTES * values * together
    if needed_bytes > available_bytes:
        fitting = max(1, int((available_bytes / 2 - weights_bytes) / (_BYTES * values)))
        raise BopkitError(
            f"A batch of {together} needs at least {needed_bytes / 1e9:.1f} GB of memory, and "
            f"{available_bytes / 1e9:.1f} GB are available.",
            f"Add --accumulate {_parts(batch_size, fitting)}, or "
            f"--hparams batch_size={min(fitting, together - 1) or 1}.",
        )


def _parts(batch_size: int, fitting: int) -> int:
    """The smallest number of equal parts of a batch that fit."""
    divisors = (parts for parts in range(1, batch_size + 1) if batch_size % parts == 0)
    return next(parts for parts in divisors if batch_size // parts <= fitting)
