"""Pictures and weights that golden values are made with: drawn anew wherever they are needed."""

import numpy as np


def golden_pictures():
    """Two pictures of noise, float32 [2, 224, 224, 3]."""
    return np.random.RandomState(1234).uniform(-1, 1, (2, 224, 224, 3)).astype(np.float32)


def golden_weight(index, kind, shape):
    """Weight array number `index` of a network, float32.

    Args:
        index: From 0, in the order of `model.weights`.
        kind: The last part of its name: `kernel`, `gamma`, ...
        shape: Its own.
    """
    draw = np.random.RandomState(index)
    if kind in ("moving_variance", "gamma"):
        values = draw.uniform(0.5, 1.5, shape)
    elif kind in ("beta", "moving_mean", "bias"):
        values = 0.1 * draw.standard_normal(shape)
    elif kind == "alpha":
        values = draw.uniform(0.1, 0.4, shape)
    else:
        values = draw.standard_normal(shape) * np.sqrt(2 / np.prod(shape[:-1]))
    return values.astype(np.float32)
