"""larq's ternary quantizer in words that LCE does not mistake for a sign.

larq computes `sign(sign(x + t) + sign(x - t))`. LCE's converter (0.16) takes the sign of any sum with a sign in it for
a binarisation, packs the layer behind it, and the zeros are lost without a word.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from bopkit.keras2 import import_tensorflow

Tensor = Any  # TensorFlow is imported inside the functions


@contextlib.contextmanager
def spelled_out_ternary() -> Iterator[None]:
    """While this lasts, what is traced computes the ternary quantizer by comparisons, with the same results."""
    import_tensorflow()
    import larq

    original = larq.quantizers.ste_tern
    larq.quantizers.ste_tern = ternary
    try:
        yield
    finally:
        larq.quantizers.ste_tern = original


def ternary(
    x: Tensor, threshold_value: float = 0.05, ternary_weight_networks: bool = False, clip_value: float | None = 1.0
) -> Tensor:
    """`larq.quantizers.ste_tern` without its gradient: float32 to -1, 0 and 1 of the same shape."""
    tf = import_tensorflow()
    threshold = threshold_value
    if ternary_weight_networks:
        threshold = 0.7 * tf.reduce_sum(tf.abs(x)) / tf.cast(tf.size(x), x.dtype)
    return tf.cast(x - threshold >= 0, x.dtype) - tf.cast(x + threshold <= 0, x.dtype)
