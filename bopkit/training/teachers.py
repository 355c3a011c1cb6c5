"""Teachers: trained networks whose answers a run learns, in place of the labels or beside them.

A teacher sees the pictures that the network sees, augmented, mixed and erased, but through its own preprocessing: they
are brought to its size and scaled as its model card says. It computes in float32 and never changes; no checkpoint holds
it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bopkit.artifacts.keras_file import open_model
from bopkit.artifacts.saved_model_check import SIGNATURE, load_saved_model
from bopkit.data import get_preprocessing
from bopkit.errors import BopkitError, UsageError
from bopkit.keras2 import import_tensorflow
from bopkit.metrics import are_probabilities
from bopkit.text import count_text
from bopkit.training.teacher_files import TeacherFile

Tensor = Any  # TensorFlow is imported inside the functions

PROBED_PICTURES = 8
"""Random pictures by whose scores probabilities and logits are told apart."""


class Teachers:
    """Loaded teachers: the mean of what they answer.

    Args:
        files: What to load.
        input_shape: Height, width, channels of the pictures that they are shown.
        classes: Number of classes.
        temperature: Divides their logits before the softmax.
        strategy: The run's, outside of whose scope this is made.

    Attributes:
        lines: What a user should know of each.

    Raises:
        UsageError: One has another number of classes, or answers neither probabilities nor logits.
        BopkitError: One does not load, or is no classifier of pictures.
    """

    def __init__(
        self,
        files: Sequence[TeacherFile],
        input_shape: tuple[int, int, int],
        classes: int,
        temperature: float,
        strategy: Any,
    ):
        self._teachers = [_Teacher(file, input_shape, classes, strategy) for file in files]
        self._temperature = temperature
        self.lines = [teacher.line for teacher in self._teachers]

    def __call__(self, pixels: Tensor) -> Tensor:
        """What the teachers say.

        Args:
            pixels: uint8 or float32 [n, H, W, C], 0 to 255.

        Returns:
            float32 [n, classes]: the mean of their softmax of logits / temperature.
        """
        tf = import_tensorflow()
        answers = [tf.nn.softmax(teacher.logits(pixels) / self._temperature) for teacher in self._teachers]
        return tf.stop_gradient(tf.add_n(answers) / len(answers))


class _Teacher:
    """One teacher."""

    def __init__(self, file: TeacherFile, input_shape: tuple[int, int, int], classes: int, strategy: Any):
        # A SavedModel that was loaded in a strategy's scope cannot be called in a replica: it stays on one device.
        self._call, shape = _load_saved_model(file) if file.path.is_dir() else _load_keras(file, strategy)
        height, width, channels = (own or size for own, size in zip(shape, input_shape, strict=True))
        self._shape = (height, width, channels)
        if channels not in (1, 3):
            raise BopkitError(
                f"Teacher {file.name} takes pictures of {channels} channels.", "Name one that takes 1 or 3."
            )
        self._finish = get_preprocessing(file.preprocessing, self._shape).finish
        pixels = np.random.default_rng(0).integers(0, 256, (PROBED_PICTURES, *input_shape), dtype=np.uint8)
        scores = np.asarray(self._scores(pixels))
        self._answers_probabilities = _are_probabilities(scores, file, classes)
        compared = "classes by name" if file.has_class_names else "classes by their number: they have no names"
        self.line = (
            f"teacher {file.name}, preprocessing {file.preprocessing}, input {' x '.join(map(str, self._shape))}, "
            f"answers {'probabilities' if self._answers_probabilities else 'logits'}; {compared}; "
            f"SHA-256 {file.sha256[:12]}..."
        )

    def logits(self, pixels: Tensor) -> Tensor:
        """Logits, but for a constant a picture: float32 [n, classes] of uint8 or float32 [n, H, W, C], 0 to 255."""
        tf = import_tensorflow()
        scores = self._scores(pixels)
        return tf.math.log(tf.maximum(scores, np.finfo(np.float32).tiny)) if self._answers_probabilities else scores

    def _scores(self, pixels: Tensor) -> Tensor:
        tf = import_tensorflow()
        height, width, channels = self._shape
        pixels = tf.convert_to_tensor(pixels)
        if pixels.shape[-1] != channels:
            convert = tf.image.grayscale_to_rgb if channels == 3 else tf.image.rgb_to_grayscale
            pixels = convert(pixels)
        if tuple(pixels.shape[1:3]) != (height, width):
            pixels = tf.image.resize(pixels, [height, width])
        return tf.cast(self._call(self._finish(pixels)), tf.float32)


def _are_probabilities(scores: np.ndarray, file: TeacherFile, classes: int) -> bool:
    """Whether a teacher answers probabilities, not logits, by its scores of some pictures.

    Raises:
        UsageError: It answers neither, or has another number of classes.
    """
    if scores.shape != (PROBED_PICTURES, classes):
        raise UsageError(
            f"Teacher {file.name} answers a picture with an array of shape {list(scores.shape[1:])}, not with "
            f"{count_text(classes, 'score')}, one for each class.",
            "Name a teacher that was trained on the same classes.",
        )
    if not np.isfinite(scores).all():
        raise UsageError(f"Teacher {file.name} answers with numbers that are not finite.", "Name another teacher.")
    if are_probabilities(scores):
        return True
    if scores.min() >= 0 and scores.max() <= 1:
        raise UsageError(
            f"Teacher {file.name} answers with numbers from 0 to 1 that do not add up to 1: neither probabilities of "
            "classes nor logits.",
            "Name a classifier that ends in a softmax, or without an activation.",
        )
    return False


def _load_keras(file: TeacherFile, strategy: Any) -> tuple[Callable[[Tensor], Tensor], tuple[int | None, ...]]:
    """A function from float32 [n, H, W, C] to scores, and H, W, C, None where they are open.

    Raises:
        BopkitError: It does not load, or does not map pictures to scores.
    """
    with strategy.scope():
        model = open_model(file.path).model
    model.trainable = False
    if len(model.inputs or ()) != 1 or len(model.outputs or ()) != 1:
        raise _no_classifier(file)
    return lambda inputs: model(inputs, training=False), _picture_shape(file, tuple(model.inputs[0].shape))


def _load_saved_model(file: TeacherFile) -> tuple[Callable[[Tensor], Tensor], tuple[int | None, ...]]:
    """As `_load_keras`."""
    tf = import_tensorflow()
    loaded = load_saved_model(file.path)
    signature = loaded.signatures[SIGNATURE]
    inputs, outputs = signature.structured_input_signature[1], signature.structured_outputs
    if len(inputs) != 1 or len(outputs) != 1:
        raise _no_classifier(file)
    ((name, spec),) = inputs.items()
    if spec.dtype != tf.float32 or spec.shape.rank is None:
        raise _no_classifier(file)

    def call(pictures: Tensor, keeps_variables: Any = loaded) -> Tensor:
        (scores,) = signature(**{name: pictures}).values()
        return scores

    return call, _picture_shape(file, tuple(spec.shape))


def _picture_shape(file: TeacherFile, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
    if len(shape) != 4 or shape[0] is not None:
        raise _no_classifier(file)
    return shape[1:]


def _no_classifier(file: TeacherFile) -> BopkitError:
    return BopkitError(
        f"Teacher {file.name} does not map batches of pictures, float32 [n, H, W, C], to one array of scores.",
        "Give a classifier of pictures with one input and one output.",
    )
