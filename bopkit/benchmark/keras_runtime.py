"""Keras files (.h5, .keras): the model as one graph function, on TensorFlow's CPU kernels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bopkit.architecture import floor_bytes
from bopkit.benchmark.runtime import Runtime, picture_shape
from bopkit.benchmark.tensorflow_setup import start_tensorflow
from bopkit.counting import count_weights
from bopkit.errors import BopkitError
from bopkit.keras2 import import_tensorflow
from bopkit.model_file import load_model


class KerasRuntime(Runtime):
    """`tf.function` of the model in inference mode.

    Args:
        threads: Threads for one picture; None leaves TensorFlow as this process has set it up.
    """

    name = "Keras"

    def __init__(self, threads: int | None):
        super().__init__(threads or 0)
        self._tf = import_tensorflow() if threads is None else start_tensorflow(threads)

    def load(self, path: Path) -> None:
        """Load and check the file; it is refused if it could run code."""
        model, _ = load_model(path)
        if len(model.inputs) != 1 or len(model.outputs) != 1:
            raise BopkitError(
                f"{path} has {len(model.inputs)} inputs and {len(model.outputs)} outputs, not one of each.",
                "Save the classifier alone: one picture in, one vector of scores out.",
            )
        self.input_shape = picture_shape(tuple(model.input_shape), path)
        self._model = model
        self.settings["compute_dtype"] = " and ".join(sorted({layer.compute_dtype for layer in model.layers}))
        self._predict = self._tf.function(
            lambda pictures: self._tf.cast(model(pictures, training=False), self._tf.float32),
            input_signature=[self._tf.TensorSpec([None, *self.input_shape], self._tf.float32)],
            autograph=False,
        )

    def predict(self, pictures: np.ndarray) -> np.ndarray:
        """Scores of float32 [n, H, W, C]: float32 [n, classes]."""
        return self._predict(pictures).numpy()

    def floor_bytes(self) -> int:
        """One bit a binary weight and four bytes any other."""
        return floor_bytes(*count_weights(self._model))
