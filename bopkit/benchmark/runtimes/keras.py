"""Keras files (.h5, .keras): the model as one graph function, on TensorFlow's CPU kernels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bopkit.architecture import floor_bytes
from bopkit.artifacts.keras_file import load_model
from bopkit.benchmark.layer_bytes import keras_layers
from bopkit.benchmark.results import LayerBytes
from bopkit.benchmark.runtimes.runtime import Runtime, example_shape
from bopkit.benchmark.runtimes.tensorflow_setup import start_tensorflow
from bopkit.counting import count_weights
from bopkit.errors import BopkitError
from bopkit.keras2 import import_tensorflow


class KerasRuntime(Runtime):
    """`tf.function` of the model in inference mode.

    Args:
        threads: Threads for one picture; None leaves TensorFlow as this process has set it up.
    """

    name = "Keras"

    def __init__(self, threads: int | None):
        super().__init__(threads or 0)
        self._tf = import_tensorflow() if threads is None else start_tensorflow(threads)

    def open(self, path: Path) -> None:
        """Load and check the file; it is refused if it could run code."""
        self.use(load_model(path), path)

    def use(self, model: Any, path: Path) -> None:
        """Make a model ready that has been loaded from `path`.

        Raises:
            BopkitError: Its inputs are not known, or of no fixed size.
        """
        if not model.inputs:
            raise BopkitError(
                f"{path} is not a functional or sequential model with a known input shape.",
                "Build it with tf.keras.Input and save it again.",
            )
        tf = self._tf
        shapes = [example_shape(tuple(each.shape), path) for each in model.inputs]
        self.inputs = tuple(zip(model.input_names, shapes, strict=True))
        self.outputs = tuple(model.output_names)
        self._model, self._path = model, path
        self.settings["compute_dtype"] = " and ".join(sorted({layer.compute_dtype for layer in model.layers}))

        def call(*inputs: Any) -> list[Any]:
            outputs = model(tf.nest.pack_sequence_as(model.input, list(inputs)), training=False)
            return [tf.cast(each, tf.float32) for each in tf.nest.flatten(outputs)]

        specs = [tf.TensorSpec([None, *shape], tf.float32) for shape in shapes]
        self._call = tf.function(call, input_signature=specs, autograph=False)

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """All outputs for float32 [n, ...] an input."""
        return [each.numpy() for each in self._call(*inputs)]

    def floor_bytes(self) -> int:
        """One bit a binary weight and four bytes any other."""
        return floor_bytes(*count_weights(self._model))

    def layers(self) -> list[LayerBytes]:
        """Bytes of each layer's weights."""
        return keras_layers(self._model, self._path)
