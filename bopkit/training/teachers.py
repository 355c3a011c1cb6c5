"""Teachers: trained networks whose answers a run learns, in place of the labels or beside them.

A teacher sees the pictures that the network sees, augmented, mixed and erased, but through its own preprocessing: they
are brought to its size and scaled as its model card says. It computes in float32 and never changes; no checkpoint holds
it. The run's config has its SHA-256, so that a run goes on with the same teachers only.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bopkit.artifacts import artifact, checksum
from bopkit.artifacts.card import ModelCard
from bopkit.artifacts.keras_file import open_model
from bopkit.artifacts.saved_model_check import SIGNATURE, check_saved_model
from bopkit.data import Dataset, get_preprocessing
from bopkit.data.scaling import EXAMPLES
from bopkit.errors import BopkitError, UsageError, first_line
from bopkit.keras2 import import_tensorflow
from bopkit.metrics import are_probabilities
from bopkit.runs.directory import ENVIRONMENT_FILE, has_progress, read_config
from bopkit.text import count_text

Tensor = Any  # TensorFlow is imported inside the functions

PROBED_PICTURES = 8
"""Random pictures by whose scores probabilities and logits are told apart."""


@dataclasses.dataclass(frozen=True)
class TeacherFile:
    """A teacher that is not loaded yet.

    Attributes:
        name: Its path, as it was typed.
        path: The file, or the version directory of a SavedModel.
        sha256: Of its content, 64 hexadecimal digits.
        preprocessing: Name of the preprocessing whose scaling makes its input.
        has_class_names: Whether its card names its classes, so that they were compared with the dataset's.
    """

    name: str
    path: Path
    sha256: str
    preprocessing: str
    has_class_names: bool

    def config(self) -> dict[str, str]:
        """What of it decides the run's outcome."""
        return {"sha256": self.sha256, "preprocessing": self.preprocessing}


def find_teachers(names: Sequence[str | Path], preprocess_fn: str | None, data: Dataset) -> tuple[TeacherFile, ...]:
    """Find teachers, and check as much of them as needs no loading.

    Args:
        names: Model files, runs, or SavedModels.
        preprocess_fn: The preprocessing of those without a card.
        data: What they are to know the classes of.

    Raises:
        UsageError: One is no Keras file or SavedModel, has other classes, or nobody names its preprocessing.
        BopkitError: One is missing or damaged.
    """
    found = tuple(_find(Path(name), preprocess_fn, data) for name in names)
    if preprocess_fn and found and all(artifact.read_card(teacher.path) for teacher in found):
        raise UsageError(
            "--teacher-preprocess-fn is for teachers without a model card, and every teacher has one.", "Leave it out."
        )
    return found


def _find(name: Path, preprocess_fn: str | None, data: Dataset) -> TeacherFile:
    path = artifact.resolve(name)
    if artifact.kind(path) == "tflite":
        raise UsageError(f"A flatbuffer, as {name}, cannot be a teacher.", "Give the .h5 file that it was made from.")
    card = artifact.read_card(path)
    preprocessing = card.preprocessing if card else preprocess_fn
    if not preprocessing:
        raise UsageError(
            f"Teacher {name} carries no model card that says what it wants to see of a picture.",
            f"Name it with --teacher-preprocess-fn, for instance {EXAMPLES}.",
        )
    get_preprocessing(preprocessing, (224, 224, 3) if card is None else card.input_shape)  # of the name
    return TeacherFile(
        name=str(name),
        path=path,
        sha256=checksum.source_checksum(path),
        preprocessing=preprocessing,
        has_class_names=card is not None and _has_same_classes(card, name, data),
    )


def _has_same_classes(card: ModelCard, name: Path, data: Dataset) -> bool:
    """Whether the names of a teacher's classes say that they are the dataset's; False where they say nothing.

    Raises:
        UsageError: It is untrained, or its classes are others, or stand in another order.
    """
    if not card.trained:
        raise UsageError(f"Teacher {name} is untrained: it has nothing to teach.", "Name a trained network.")
    own, theirs = ([each.casefold() for each in names] for names in (card.class_names, data.class_names))
    if not own:
        return False
    if own == theirs:
        return True
    if len(own) != len(theirs):
        what = f"has {len(own)} classes, and dataset {data.name} has {len(theirs)}"
    elif sorted(own) == sorted(theirs):
        what = f"has the classes of dataset {data.name} in another order"
    else:
        place = next(place for place, pair in enumerate(zip(own, theirs, strict=True)) if pair[0] != pair[1])
        what = (
            f"has other classes than dataset {data.name}: class {place} is {card.class_names[place]!r} there and "
            f"{data.class_names[place]!r} here"
        )
    raise UsageError(f"Teacher {name} {what}.", "Name a teacher that was trained on the same classes.")


def check_same_teachers(run: Path, teachers: Sequence[TeacherFile]) -> None:
    """Refuse to go on with a run without its teachers, or with others.

    Args:
        run: The run directory.
        teachers: Those that were named now.

    Raises:
        UsageError: They are not those that it began with.
    """
    before = read_config(run).get("teachers", [])
    now = [teacher.config() for teacher in teachers]
    if before == now or not has_progress(run):
        return
    names = _names_of(run, len(before))
    repeat = " ".join(f"--teacher {shlex.quote(name)}" for name in names)
    if not before:
        raise UsageError(f"{run} was begun without a teacher.", "Leave out --teacher, or name another --output-dir.")
    if not now:
        raise UsageError(f"{run} learns from {' and '.join(names)}, which is not named now.", f"Add {repeat}.")
    if len(before) == len(now):
        for teacher, name, theirs, ours in zip(teachers, names, before, now, strict=True):
            if theirs != ours:
                key = "sha256" if theirs["sha256"] != ours["sha256"] else "preprocessing"
                raise UsageError(
                    f"Teacher {teacher.name} is not the one that {run} was begun with ({name}): its {key} is "
                    f"{theirs[key]!r} there and {ours[key]!r} here.",
                    "Give the same file and options again, or name another --output-dir.",
                )
    raise UsageError(
        f"{run} was begun with {count_text(len(before), 'teacher')}, and {len(now)} are named now.", f"Type {repeat}."
    )


def _names_of(run: Path, count: int) -> list[str]:
    """The teachers' paths when the run was started last; placeholders where that is not known."""
    try:
        names = json.loads((run / ENVIRONMENT_FILE).read_text())["teachers"]
        if len(names) == count and all(isinstance(name, str) for name in names):
            return names
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return ["MODEL"] * count


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
    check_saved_model(file.path)
    try:
        loaded = tf.saved_model.load(str(file.path))
    except MemoryError:
        raise
    except Exception as error:  # a damaged graph makes TensorFlow and protobuf raise anything
        raise BopkitError(
            f"{file.path} is not a complete SavedModel: {first_line(error)}.", "Copy it again, or save it again."
        ) from error
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
