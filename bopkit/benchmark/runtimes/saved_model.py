"""SavedModel directories, called as TensorFlow Serving calls them, on TensorFlow's CPU kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bopkit.artifacts.saved_model_check import PREDICT_BYTES, SIGNATURE, load_saved_model
from bopkit.benchmark.runtimes.runtime import Runtime, example_shape
from bopkit.benchmark.runtimes.tensorflow_setup import start_tensorflow
from bopkit.errors import BopkitError


class SavedModelRuntime(Runtime):
    """The signature `serving_default` of a version directory."""

    name = "TensorFlow"

    def __init__(self, threads: int):
        super().__init__(threads)
        self._tf = start_tensorflow(threads)

    def open(self, path: Path) -> None:
        """Load a version directory, after `check_saved_model` has found that it does nothing but compute."""
        self._signature = self._signatures(path)[SIGNATURE]
        specs = self._signature.structured_input_signature[1]
        if not specs or any(spec.dtype != self._tf.float32 or spec.shape.rank is None for spec in specs.values()):
            described = ", ".join(f"{each.dtype.name} {key}" for key, each in specs.items())
            raise BopkitError(
                f"{SIGNATURE} of {path} takes {described or 'nothing'}, not batches of float32, [n, ...].",
                "Save it again with such inputs of serving_default.",
            )
        self.inputs = tuple((name, example_shape(tuple(spec.shape), path)) for name, spec in specs.items())
        answers = self._signature.structured_outputs
        if not answers or not all(spec.dtype.is_floating for spec in answers.values()):
            described = ", ".join(f"{each.dtype.name} {key}" for key, each in answers.items())
            raise BopkitError(
                f"{SIGNATURE} of {path} returns {described or 'nothing'}, not floats.",
                "Save it again with scores or other floats as the outputs of serving_default.",
            )
        self.outputs = tuple(answers)
        self._takes_batches = all(spec.shape[0] is None for spec in specs.values())
        self.settings["signature"] = SIGNATURE

    def _signatures(self, path: Path, decodes: bool = False) -> Mapping[str, Any]:
        """Load a version directory; arguments and errors as of `load_saved_model`."""
        self._loaded = load_saved_model(path, decodes)  # the signature alone does not keep the variables alive
        signatures: Mapping[str, Any] = self._loaded.signatures
        return signatures

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """All outputs for float32 [n, ...] an input."""
        if self._takes_batches:
            return self._call(inputs)
        answers = [self._call([each[index : index + 1] for each in inputs]) for index in range(len(inputs[0]))]
        return [np.concatenate(output) for output in zip(*answers, strict=True)]

    def _call(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        named = zip(self.inputs, inputs, strict=True)
        answer = self._signature(**{name: self._tf.constant(each) for (name, _), each in named})
        return [answer[name].numpy() for name in self.outputs]


class EncodedPicturesRuntime(SavedModelRuntime):
    """A signature that takes encoded pictures, string [n], and prepares them itself.

    That is bopkit's `predict_bytes`, or `serving_default` of a SavedModel that was made to be served so.
    """

    def finds_signature(self, path: Path) -> bool:
        """Load a version directory; whether it has such a signature, so that `predict` works."""
        signatures = self._signatures(path, decodes=True)
        for name in (PREDICT_BYTES, SIGNATURE):
            if name in signatures and self._use(name, signatures[name]):
                return True
        return False

    def predict(self, pictures: np.ndarray) -> np.ndarray:
        """float32 [n, classes] of encoded pictures, objects [n] of bytes."""
        scores: np.ndarray = self._signature(**{self._input: self._tf.constant(pictures)})[self._output].numpy()
        return scores

    def _use(self, name: str, signature: Any) -> bool:
        """Take a signature, if it has one input of encoded pictures and answers scores."""
        specs, answers = signature.structured_input_signature[1], signature.structured_outputs
        strings = [key for key, spec in specs.items() if spec.dtype == self._tf.string and spec.shape.rank == 1]
        scores = {
            key: spec.shape[1] or 0
            for key, spec in answers.items()
            if spec.dtype == self._tf.float32 and spec.shape.rank == 2
        }
        if len(strings) != 1 or len(specs) != 1 or not scores:
            return False
        self._signature, self._input = signature, strings[0]
        self._output = max(scores, key=lambda key: scores[key])  # beside all scores there may be those of the best
        self.settings["signature"] = name
        return True
