"""Whether a training step can fit into memory, checked before the operating system kills the process."""

from __future__ import annotations

import math
from typing import Any

import psutil

from bopkit.errors import BopkitError
from bopkit.keras2 import import_tensorflow

_WEIGHT_BYTES = 3 * 4
"""Each weight has a gradient and at least one average; all three are float32 in every precision."""


def check_memory(network: Any, batch_size: int, accumulate: int = 1, replicas: int = 1, workers: int = 1) -> None:
    """Compare the least that a step needs on this machine with the memory that is available.

    A step keeps every layer's output, and the signs of binarized inputs, until the backward pass; each replica has its
    own weights. On a GPU, TensorFlow itself says when memory runs out.

    Args:
        network: A built `tf.keras.Model`.
        batch_size: Pictures of a step, over all replicas.
        accumulate: Parts that each replica's share is split into, one after the other.
        replicas: Replicas of all workers.
        workers: Processes, each on a machine of its own.

    Raises:
        BopkitError: The step cannot fit.
    """
    if import_tensorflow().config.get_visible_devices("GPU"):
        return
    available_bytes = psutil.virtual_memory().available
    replicas_here = replicas // workers
    weights_bytes = _WEIGHT_BYTES * network.count_params() * replicas_here
    if weights_bytes > available_bytes:
        raise BopkitError(
            f"The network's weights, gradients and averages need at least {_gb(weights_bytes)} of memory, and "
            f"{_gb(available_bytes)} are available.",
            "Use a smaller network, fewer replicas on this machine, or a larger machine.",
        )
    picture_bytes = _bytes_a_picture(network)
    needed_bytes = weights_bytes + picture_bytes * (batch_size // workers // accumulate)
    if needed_bytes <= available_bytes:
        return
    # Half of what the weights leave: this is the least that a step needs, and other things need memory too.
    of_replica = (available_bytes - weights_bytes) // 2 // picture_bytes // replicas_here
    in_parts = f" in {accumulate} parts" if accumulate > 1 else ""
    raise BopkitError(
        f"A batch of {batch_size}{in_parts} needs at least {_gb(needed_bytes)} of memory, and "
        f"{_gb(available_bytes)} are available.",
        f"Add --accumulate {_parts(batch_size // replicas, of_replica)}, or "
        f"--hparams batch_size={of_replica * accumulate * replicas}."
        if of_replica
        else "Use smaller pictures, fewer replicas on this machine, or a larger machine.",
    )


def _bytes_a_picture(network: Any) -> int:
    """What one picture leaves in memory until the backward pass, in the precision of each layer."""
    tf = import_tensorflow()
    kept = []
    for layer in network.layers:
        kept += tf.nest.flatten(layer.output)
        if getattr(layer, "input_quantizer", None) is not None:
            kept += tf.nest.flatten(layer.input)
    return sum(math.prod(tensor.shape[1:]) * tensor.dtype.size for tensor in kept)


def _parts(pictures: int, fitting: int) -> int:
    """The smallest number of equal parts of so many pictures that fit."""
    return next(parts for parts in range(1, pictures + 1) if pictures % parts == 0 and pictures // parts <= fitting)


def _gb(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB"
