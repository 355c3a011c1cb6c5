"""The process that runs an artifact on pictures: reads, prepares and predicts them, several at a time, in order."""

from __future__ import annotations

import collections
import concurrent.futures
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bopkit.benchmark.accuracy import count_classes
from bopkit.benchmark.runtimes.parallel import one_a_core, predicted
from bopkit.benchmark.runtimes.runtime import Runtime, make_runtime, runs_on_one_core
from bopkit.benchmark.runtimes.saved_model import EncodedPicturesRuntime
from bopkit.data import Preprocessing, get_preprocessing
from bopkit.data.picture_files import picture_files, read_picture
from bopkit.data.picture_formats import JPEG_START, PNG_START
from bopkit.data.scaling import unknown_preprocessing
from bopkit.errors import BopkitError
from bopkit.host import usable_cores
from bopkit.keras2 import import_tensorflow
from bopkit.metrics import are_probabilities
from bopkit.picture_meter import PictureMeter
from bopkit.progress import Progress

ONE_BY_ONE = 8
"""Pictures that a runtime takes at a time that computes one after the other: small, so that all cores get some."""

Prepared = tuple[str, Any]
"""Path of a picture, and what the runtime takes of it, or as a text why there is nothing."""


def predict_files(job: Mapping[str, Any], progress: Progress, on_event: Callable[[Any], None]) -> None:
    """Predict pictures.

    Args:
        job: `kind` and `path` of the artifact, the `pictures` (files and folders) and their `count`, the name of the
            `preprocessing` (None for that inside of a SavedModel), `top` and `batch_size`.
        progress: Called with one line now and then.
        on_event: Called once with `runtime` and the number of `classes`, then with the `rows` of each batch: path, best
            classes as [index, score], whether all scores are probabilities, error or None.

    Raises:
        UsageError: No preprocessing is known.
        BopkitError: The artifact does not load, is no classifier of pictures, or a score is no finite number.
    """
    cores, path = usable_cores(), Path(job["path"])
    prepare: Callable[[bytes], Any] = _checked
    collate: Callable[[Any], np.ndarray] = _as_objects
    if job["preprocessing"] is None:
        runtime: Runtime = _of_encoded_pictures(path, cores)
        black: Any = _as_objects([import_tensorflow().io.encode_png(np.zeros((32, 32, 3), np.uint8)).numpy()])
    else:
        runtime = make_runtime(job["kind"], 1 if runs_on_one_core(job["kind"]) else cores)
        runtime.load(path)
        black = np.zeros((1, *runtime.input_shape), np.float32)
        prepare, collate = _compiled(get_preprocessing(job["preprocessing"], runtime.input_shape)), np.stack
    on_event({"runtime": runtime.name, "classes": count_classes(runtime.predict(black), path)})
    meter = PictureMeter(job["count"], job["count"], progress)
    batches = _Batches(
        _prepared(picture_files(job["pictures"]), prepare, cores),
        job["batch_size"] if runtime.is_batched else ONE_BY_ONE,
        collate,
    )
    with one_a_core(runtime, job["kind"], None, path, cores if job["count"] > 1 else 1) as predictors:
        meter.begin()
        for scores, pictures in predicted(predictors, batches):
            on_event({"rows": _rows(scores, pictures, job["top"])})
            meter.count(len(pictures))
    if batches.rest:
        on_event({"rows": [_unreadable(picture, error) for picture, error in batches.rest]})


def _of_encoded_pictures(path: Path, cores: int) -> EncodedPicturesRuntime:
    """A SavedModel that prepares pictures itself.

    Raises:
        UsageError: It does not.
    """
    runtime = EncodedPicturesRuntime(cores)
    if not runtime.finds_signature(path):
        raise unknown_preprocessing("A prediction")
    return runtime


def _compiled(transform: Preprocessing) -> Callable[[bytes], np.ndarray]:
    """The function from an encoded picture to the network's input, float32 [H, W, C]."""
    tf = import_tensorflow()
    signature = [tf.TensorSpec([], tf.string)]
    evaluate = tf.function(transform.evaluate, input_signature=signature, autograph=False).get_concrete_function()
    return lambda encoded: evaluate(tf.constant(encoded)).numpy()


def _checked(encoded: bytes) -> bytes:
    """An encoded picture that a SavedModel decodes: one that it does not would fail its whole batch.

    Raises:
        ValueError: It is of a format that servers do not take.
    """
    if not encoded.startswith((JPEG_START, PNG_START)):
        raise ValueError("is neither JPEG nor PNG, and a SavedModel that prepares pictures itself takes no other.")
    import_tensorflow().io.decode_image(encoded, expand_animations=False)
    return encoded


def _as_objects(pictures: Sequence[bytes]) -> np.ndarray:
    return np.array(pictures, object)


class _Batches:
    """Batches of pictures that could be prepared, each with the pictures that it is about.

    Args:
        prepared: All pictures.
        size: Of a batch.
        collate: Makes an array of what was prepared.

    Attributes:
        rest: At the end, unreadable pictures behind the last batch.
    """

    def __init__(self, prepared: Iterable[Prepared], size: int, collate: Callable[[Any], np.ndarray]):
        self._prepared, self._size, self._collate = prepared, size, collate
        self.rest: list[tuple[str, str | None]] = []

    def __iter__(self) -> Iterator[tuple[np.ndarray, list[tuple[str, str | None]]]]:
        """Yield what a runtime takes, and paths with the error of those that are not among them, in order."""
        inputs: list[Any] = []
        for picture, result in self._prepared:
            if isinstance(result, str):
                self.rest.append((picture, result))
                continue
            self.rest.append((picture, None))
            inputs.append(result)
            if len(inputs) == self._size:
                yield self._collate(inputs), self._taken()
                inputs = []
        if inputs:
            yield self._collate(inputs), self._taken()

    def _taken(self) -> list[tuple[str, str | None]]:
        taken, self.rest = self.rest, []
        return taken


def _prepared(pictures: Iterable[str], prepare: Callable[[bytes], Any], cores: int) -> Iterator[Prepared]:
    """Read and prepare pictures on all cores, a few ahead of the caller."""
    tf = import_tensorflow()

    def prepared(picture: str) -> Prepared:
        try:
            return picture, prepare(read_picture(picture))
        except BopkitError as error:
            return picture, str(error)
        except ValueError as error:
            return picture, f"{picture} {error}"
        except tf.errors.InvalidArgumentError:
            return picture, f"{picture} is damaged."

    pending: collections.deque[concurrent.futures.Future[Prepared]] = collections.deque()
    with concurrent.futures.ThreadPoolExecutor(cores) as pool:
        for picture in pictures:
            pending.append(pool.submit(prepared, picture))
            if len(pending) > 4 * cores:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _rows(scores: np.ndarray, pictures: list[tuple[str, str | None]], top: int) -> list[list[Any]]:
    """What the parent gets of a batch.

    Raises:
        BopkitError: A score is no finite number.
    """
    readable = iter(scores)
    return [
        _unreadable(picture, error) if error else [picture, *_best(next(readable), picture, top), None]
        for picture, error in pictures
    ]


def _unreadable(picture: str, error: str | None) -> list[Any]:
    return [picture, [], False, error]


def _best(scores: np.ndarray, picture: str, top: int) -> tuple[list[list[Any]], bool]:
    """The best classes as [index, score], and whether all scores, float32 [classes], are probabilities."""
    if not np.isfinite(scores).all():
        raise BopkitError(
            f"A score of {picture} is not a finite number.",
            "The weights are damaged, or the training diverged: export or train it again.",
        )
    order = np.argsort(-scores, kind="stable")[:top]  # of equal scores the first class, as everywhere in bopkit
    return [[int(index), float(scores[index])] for index in order], are_probabilities(scores[None])
