"""Batch-norm statistics estimated anew, for the weights as they are.

Where weights flip at each step, the moving averages of training describe networks that are gone. Here a network runs
over some training pictures with its weights held fixed. Each batch norm normalises by the statistics of the batch, as
in training, and its moving mean and variance become those of all the batches together. All else, dropout for instance,
runs as in evaluation.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from bopkit.keras2 import import_tensorflow

Layer = Any  # TensorFlow is imported inside the functions
Tensor = Any
Array = Any

DEFAULT_PICTURES = 1000
"""Thirty times as many gave the same accuracy on Fashion-MNIST, to a tenth of a point."""

BATCH_SIZE = 100
"""Pictures that are normalised together, whatever the batches of training are."""


def default_pictures(optimizer: str) -> int:
    """Pictures where nobody named a number: those of the default where weights flip, as moving averages lag behind."""
    return DEFAULT_PICTURES if optimizer != "latent" else 0


def has_trainable_norms(network: Any) -> bool:
    """Whether a network has a batch norm that is not frozen."""
    return bool(_trainable_norms(network))


class BatchNormEstimator:
    """Estimates the statistics of a network's batch norms, in place.

    Those that training leaves alone are left alone: frozen ones, and ones that are called with `training=False`.

    Args:
        network: A built `tf.keras.Model` with one input, whose weights may change between two estimates.
        strategy: Of the scope that it was built in. Every replica sees all pictures, so that all come to the same.
        finish: Makes a batch of pictures the network's input; None where they are that already.
    """

    def __init__(self, network: Any, strategy: Any, finish: Callable[[Tensor], Tensor] | None = None):
        tf = import_tensorflow()
        self._network = network
        self._strategy = strategy
        self._finish = finish or (lambda pictures: pictures)
        self._norms = self._find_trained_norms()
        self._moments_of_batch = tf.function(self._moments_of_replica, autograph=False, reduce_retracing=True)

    def estimate(self, batches: Iterable[Tensor]) -> None:
        """Set mean and variance of each batch norm to those of all pixels of all batches.

        Args:
            batches: Pictures [n, H, W, C], float32 or what `finish` makes that; at least one batch.
        """
        of_batches = [self._moments_of_batch(pictures) for pictures in batches]
        for norm, *of_norm in zip(self._norms, *of_batches, strict=True):
            calls = [np.asarray(moments, np.float64) for of_batch in of_norm for moments in of_batch]
            if calls:  # else it takes part in training only
                mean, variance = _pooled(calls)
                norm.moving_mean.assign(mean)
                norm.moving_variance.assign(variance)

    def _find_trained_norms(self) -> list[Layer]:
        """The batch norms that training normalises by the batch, as seen where the network is traced."""
        tf = import_tensorflow()
        norms = _trainable_norms(self._network)
        trained: list[Layer] = []

        def look(norm: Layer, call: Callable[..., Tensor], inputs: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            if norm._get_training_value(kwargs.get("training", args[0] if args else None)):
                trained.append(norm)
            return call(inputs, *args, **kwargs)

        def trace(pictures: Tensor) -> None:
            self._strategy.run(lambda: self._network(pictures, training=True))

        spec = tf.TensorSpec((BATCH_SIZE, *self._network.input_shape[1:]), self._network.input.dtype)
        with _calls_through(norms, look):
            tf.function(trace, autograph=False).get_concrete_function(spec)
        return [norm for norm in norms if norm in trained]

    def _moments_of_replica(self, pictures: Tensor) -> list[list[Tensor]]:
        """For each batch norm, and each of its calls: count, mean and variance, float32 [3, ...]."""
        tf = import_tensorflow()
        moments: list[list[Tensor]] = [[] for _ in self._norms]

        def record(norm: Layer, call: Callable[..., Tensor], inputs: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            moments[self._norms.index(norm)].append(_moments(norm, inputs))
            return call(inputs, *args[1:], **{**kwargs, "training": True})

        def run() -> list[list[Tensor]]:
            with _calls_through(self._norms, record):
                self._network(self._finish(pictures), training=False)
            return moments

        results = self._strategy.run(run)
        return tf.nest.map_structure(lambda values: self._strategy.experimental_local_results(values)[0], results)


def is_batch_norm(layer: Layer) -> bool:
    """Whether a layer is a batch norm, synchronized ones among them."""
    norm = import_tensorflow().keras.layers.BatchNormalization.__base__  # SyncBatchNormalization's too, as in larq zoo
    return isinstance(layer, norm)


def _trainable_norms(network: Any) -> list[Layer]:
    return [layer for layer in network._flatten_layers(include_self=False) if is_batch_norm(layer) and layer.trainable]


@contextlib.contextmanager
def _calls_through(layers: list[Layer], function: Callable[..., Tensor]) -> Iterator[None]:
    """Let each layer's `call` be `function(layer, call, inputs, ...)`, in whatever way a network calls its layers."""
    for layer in layers:
        layer.call = functools.partial(function, layer, layer.call)
    try:
        yield
    finally:
        for layer in layers:
            del layer.call


def _moments(norm: Layer, inputs: Tensor) -> Tensor:
    """Count, mean and variance of what a batch norm sees: float32 [3, ...] of the shape of its statistics."""
    tf = import_tensorflow()
    inputs = tf.cast(inputs, tf.float32)
    axes = [axis for axis in range(inputs.shape.rank) if axis not in norm.axis]
    mean, variance = tf.nn.moments(inputs, axes, keepdims=len(norm.axis) > 1)
    count = tf.size(inputs, tf.int64) // tf.size(mean, tf.int64)
    return tf.stack([tf.fill(tf.shape(mean), tf.cast(count, tf.float32)), mean, variance])


def _pooled(calls: list[Array]) -> tuple[Array, Array]:
    """Mean and variance of all values together: the mean of the squares less the squared mean.

    Args:
        calls: Of each call count, mean and variance, float64 [3, ...].

    Returns:
        Two arrays, float32 [...].
    """
    counts, means, variances = np.stack(calls, axis=1)
    shares = counts / counts.sum(axis=0)
    mean = (shares * means).sum(axis=0)
    mean_of_squares = (shares * (variances + means**2)).sum(axis=0)
    return mean.astype(np.float32), np.maximum(mean_of_squares - mean**2, 0).astype(np.float32)
