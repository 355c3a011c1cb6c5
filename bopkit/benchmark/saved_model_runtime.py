"""SavedModel directories, called as TensorFlow Serving calls them, on TensorFlow's CPU kernels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bopkit.benchmark.runtime import Runtime, picture_shape
from bopkit.benchmark.tensorflow_setup import start_tensorflow
from bopkit.errors import BopkitError, first_line
from bopkit.graph_check import SIGNATURE, check_graph


class SavedModelRuntime(Runtime):
    """The signature `serving_default` of a version directory."""

    name = "TensorFlow"

    def __init__(self, threads: int):
        super().__init__(threads)
        self._tf = start_tensorflow(threads)

    def load(self, path: Path) -> None:
        """Load a version directory, after `check_graph` has found that it does nothing but compute."""
        check_graph(path)
        try:
            loaded = self._tf.saved_model.load(str(path))
        except MemoryError:
            raise
        except Exception as error:  # a damaged graph makes TensorFlow and protobuf raise anything
            raise BopkitError(
                f"{path} is no whole SavedModel: {first_line(error)}.", "Copy it again, or export it again."
            ) from error
        self._loaded = loaded  # the signature alone does not keep the variables alive
        self._signature = loaded.signatures[SIGNATURE]
        self._input_name, spec = self._only_input(path)
        self._output_name = self._only_output(path)
        self.input_shape = picture_shape(tuple(spec.shape), path)
        self._takes_batches = spec.shape[0] is None
        self.settings["signature"] = SIGNATURE

    def predict(self, pictures: np.ndarray) -> np.ndarray:
        """Scores of float32 [n, H, W, C]: float32 [n, classes]."""
        if self._takes_batches:
            return self._call(pictures)
        return np.concatenate([self._call(picture[None]) for picture in pictures])

    def _call(self, pictures: np.ndarray) -> np.ndarray:
        answer = self._signature(**{self._input_name: self._tf.constant(pictures)})
        return answer[self._output_name].numpy()

    def _only_input(self, path: Path) -> tuple[str, Any]:
        inputs = self._signature.structured_input_signature[1]
        name, spec = next(iter(inputs.items()))
        if len(inputs) != 1 or spec.dtype != self._tf.float32 or spec.shape.rank is None:
            described = ", ".join(f"{each.dtype.name} {key}" for key, each in inputs.items())
            raise BopkitError(
                f"{SIGNATURE} of {path} takes {described}, not pictures, float32 [n, H, W, C].",
                "Export it with pictures as the only input of serving_default.",
            )
        return name, spec

    def _only_output(self, path: Path) -> str:
        outputs = self._signature.structured_outputs
        if len(outputs) != 1:
            raise BopkitError(
                f"{SIGNATURE} of {path} answers {', '.join(sorted(outputs))}, not one vector of scores.",
                "Export it with the scores as the only output of serving_default.",
            )
        return next(iter(outputs))
