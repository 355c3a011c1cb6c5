"""`Interpreter`: a model file in, arrays in, arrays out."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Union

import numpy as np

from bopkit_runtime import forks
from bopkit_runtime.errors import BopkitRuntimeError, UsageError, first_line
from bopkit_runtime.library import checked_threads, describe
from bopkit_runtime.model_file import check_model_file, identity_of
from bopkit_runtime.replica import Replica, shapes_of
from bopkit_runtime.replicas import Replicas

Arrays = Union[np.ndarray, Sequence[np.ndarray], Mapping[str, np.ndarray]]
Answers = Union[np.ndarray, list[np.ndarray], dict[str, np.ndarray]]


class TensorInfo(NamedTuple):
    """An input or output of a model.

    Attributes:
        name: Its name in the file's signature, which is that of the network's layer; the tensor's where there is none.
        shape: Its shape; None where the file leaves a size open. The first is the number of images.
        dtype: float32, uint8, int8, bool or another that LiteRT knows.
        scale: A quantized value q stands for (q - zero_point) * scale; 0 where it is not quantized.
        zero_point: See `scale`.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]
    scale: float
    zero_point: int


class Interpreter:
    """A model, ready to run. Several threads may use it, one after the other: each waits for its turn.

    A process that is forked off may use it with one thread; with more, it makes one of its own.

    Args:
        path: A .tflite file of LCE's converter, or any other that LiteRT runs.
        num_threads: Threads for one run, 1 to 256, of our operators and of LiteRT's, or for as many images at a time;
            None for one.
        isa: Instruction set, one of `bopkit_runtime.isas()`; `auto` for the fastest.
        claim: `all`, or `binary` to leave every float operator to LiteRT.
        profile: Measure each step for `describe`.

    Attributes:
        inputs: What `predict` takes.
        outputs: What it returns.
        litert: LiteRT's own interpreter, tensors allocated.

    Raises:
        UsageError: An argument is out of its range.
        BopkitRuntimeError: The file cannot be read or run, or LiteRT is not there.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        num_threads: int | None = None,
        isa: str = "auto",
        claim: str = "all",
        profile: bool = False,
    ) -> None:
        self._path = check_model_file(path)
        self._threads = 1 if num_threads is None else checked_threads(num_threads)
        self._identity = identity_of(self._path)
        options = {"isa": isa, "claim": claim}
        self._replica = Replica(self._path, self._threads, profile=profile, **options)
        self._replicas: Replicas | None = None  # made for the first large batch
        self._make_replica = functools.partial(Replica, self._path, 1, **options)
        self._runs_together = self._threads > 1 and not profile  # what is to be measured runs in one place
        self.litert = self._replica.litert
        self._lock = threading.RLock()
        self._is_lost_in_fork = False
        forks.notify(self)
        inputs, outputs = self.litert.get_input_details(), self.litert.get_output_details()
        input_names, output_names = _signature_names(self.litert, inputs, outputs)
        self.inputs = _tensors(inputs, input_names)
        self.outputs = _tensors(outputs, output_names)
        self._tensor_names = [[each["name"] for each in details] for details in (inputs, outputs)]
        self._own_shapes = shapes_of(inputs)

    def predict(self, images: Arrays) -> Answers:
        """Run the model on any number of images.

        It runs in the batch that the file states, which is one image for nearly all files, as often as it takes: many
        files, when they are resized to a larger batch, answer for its first image only, or mix the images.

        Several threads share the work of one image. Of many images each thread takes one, which is faster, if there are
        twice as many batches as threads: for that the first such call makes a replica of the model for each thread.

        Args:
            images: An array [n, ...] with the dtype and, but for n, the shape of the only input; for several
                inputs a list in their order, or a dict by their names. An input of one dimension has no batch: its
                array is taken whole.

        Returns:
            As `images` was given: an array [n, ...] (a list, if the model has several outputs), a list or a dict by
            names.

        Raises:
            UsageError: The arrays do not fit the model's inputs.
            BopkitRuntimeError: LiteRT failed, the model does not answer once an image and got more than one batch, or
                the interpreter was made before a fork.
        """
        arrays, names = self._in_order(images)
        for info, array in zip(self.inputs, arrays):
            _check_fit(info, array)
        with self._turn():
            answers = self._answers(arrays)
        if isinstance(images, Mapping):
            return dict(zip(names, answers))
        if _is_array(images) and len(answers) == 1:
            return answers[0]
        return answers

    def __reduce__(self) -> Any:
        raise UsageError("An interpreter cannot be copied or pickled.", "Make another of the same file.")

    def describe(self) -> dict[str, Any]:
        """What the delegate runs, and for how long; see `bopkit_runtime.describe`.

        Raises:
            BopkitRuntimeError: The interpreter was made before a fork.
        """
        with self._turn():
            return describe(self._replica.delegate)

    def after_fork(self) -> None:
        """In a child: see whether the interpreter can still be used."""
        is_idle = self._lock.acquire(blocking=False)  # else a thread that the child has not got was in its middle
        self._is_lost_in_fork = self._is_lost_in_fork or not is_idle or self._threads > 1
        self._lock = threading.RLock()

    def _turn(self) -> threading.RLock:
        if self._is_lost_in_fork:
            raise BopkitRuntimeError(
                "The interpreter was made before a fork, and its threads are not in this process.",
                "Make an Interpreter in each process after the fork, or use num_threads=1.",
            )
        return self._lock

    def _in_order(self, images: Arrays) -> tuple[list[np.ndarray], list[str]]:
        """The arrays in the order of the inputs, and the names of the outputs in the terms of those of `images`."""
        names, output_names = [info.name for info in self.inputs], [info.name for info in self.outputs]
        if _is_array(images):
            given: list[Any] = [images]
        elif isinstance(images, Mapping):
            of_tensors, of_outputs = self._tensor_names
            if set(images) == set(of_tensors) != set(names):
                names, output_names = of_tensors, of_outputs
            if set(images) != set(names):
                raise UsageError(
                    f"Inputs are named {_quoted(images) or 'nothing'}.", f"The model's are {_quoted(names)}."
                )
            given = [images[name] for name in names]
        elif isinstance(images, Iterable) and not isinstance(images, (str, bytes)):
            given = list(images)
        else:
            raise UsageError(f"`predict` takes arrays, not {_type(images)}.", f"Give {self._wanted()}.")
        if len(given) != len(names):
            raise UsageError(
                f"The model has {len(names)} input(s), but {len(given)} were given.", f"Give {self._wanted()}."
            )
        return [_as_array(each, info) for each, info in zip(given, self.inputs)], output_names

    def _wanted(self) -> str:
        if len(self.inputs) == 1:
            return f"one array of shape {_shape_text(self.inputs[0])}; np.stack(images) joins a list of images"
        return f"{len(self.inputs)} arrays, as a list or as a dict by name: {_quoted(i.name for i in self.inputs)}"

    def _answers(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        """The outputs for any number of images."""
        if any(len(shape) < 2 for shape in self._own_shapes):
            return self._replica.run([array.shape for array in arrays], arrays)
        batches = {shape[0] for shape in self._own_shapes}
        shapes = [(own[0], *array.shape[1:]) for own, array in zip(self._own_shapes, arrays)]
        if all(array.shape == shape for array, shape in zip(arrays, shapes)):
            return self._replica.run(shapes, arrays)
        counts = {len(array) for array in arrays}
        if len(counts) > 1:
            raise UsageError(
                f"The inputs hold {' and '.join(str(len(array)) for array in arrays)} images.",
                "Give as many for each input.",
            )
        (count,) = counts
        if len(batches) > 1:
            raise self._not_a_batch(count)
        (batch,) = batches

        def run_part(number: int, replica: Replica) -> list[np.ndarray]:
            start, end = number * batch, (number + 1) * batch
            # Too few images at the end are filled up with the last, whose other answers are dropped.
            rows = slice(start, end) if end <= count else np.minimum(np.arange(start, end), count - 1)
            answers = replica.run(shapes, [array[rows] for array in arrays])
            if any(answer.ndim == 0 or len(answer) != batch for answer in answers):
                raise self._not_a_batch(count)
            return answers

        number = -(-count // batch)
        replicas = self._replicas_for(number)
        first_alone = number - number % self._threads if replicas else 0  # a round for some threads only
        parts = replicas.run(run_part, first_alone) if replicas else []
        parts += [run_part(each, self._replica) for each in range(first_alone, number)]
        try:
            return [np.concatenate(answers)[:count] for answers in zip(*parts)]
        except ValueError as error:  # each answer has a size of its own
            raise self._not_a_batch(count) from error

    def _replicas_for(self, batches: int) -> Replicas | None:
        """What runs so many batches at the same time; None where one interpreter should.

        Replicas of a file that was replaced meanwhile would be another model.
        """
        if not self._runs_together or batches < 2 * self._threads:
            return None
        if self._replicas is None and identity_of(self._path) == self._identity:
            try:
                replicas = Replicas(self._make_replica, self._threads)
            except BopkitRuntimeError:
                if identity_of(self._path) == self._identity:
                    raise
                return None
            if identity_of(self._path) == self._identity:
                self._replicas = replicas
        return self._replicas

    def _not_a_batch(self, count: int) -> BopkitRuntimeError:
        own = " and ".join(str(list(shape)) for shape in self._own_shapes)
        return BopkitRuntimeError(
            f"{self._path} does not give one answer an image, so that answers for {count} cannot be joined.",
            f"Give it arrays of shape {own}, one after the other.",
        )


def _signature_names(litert: Any, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> list[list[str]]:
    """Names of inputs and outputs: those of the signature that has all of them, else those of the tensors."""
    details = (inputs, outputs)
    for key in litert.get_signature_list():
        try:
            runner = litert.get_signature_runner(key)
            named = (runner.get_input_details(), runner.get_output_details())
        except (ValueError, RuntimeError, IndexError):  # a file may name what it has not got
            continue
        names = [{int(each["index"]): str(name) for name, each in of.items()} for of in named]
        if all({int(each["index"]) for each in tensors} == set(of) for tensors, of in zip(details, names)):
            return [[of[int(each["index"])] for each in tensors] for tensors, of in zip(details, names)]
    return [[each["name"] for each in tensors] for tensors in details]


def _tensors(details: list[dict[str, Any]], names: list[str]) -> tuple[TensorInfo, ...]:
    infos = []
    for each, name in zip(details, names):
        scale, zero_point = each["quantization"]
        signature = each["shape_signature"]
        sizes = signature if len(signature) == len(each["shape"]) else each["shape"]
        shape = tuple(None if size < 0 else int(size) for size in sizes)
        infos.append(TensorInfo(name, shape, np.dtype(each["dtype"]), float(scale), int(zero_point)))
    return tuple(infos)


def _is_array(images: Any) -> bool:
    """Whether it is one array: of NumPy, or of a library that gives its values to NumPy."""
    return hasattr(images, "__array__")


def _as_array(given: Any, info: TensorInfo) -> np.ndarray:
    """An array of numbers.

    Raises:
        UsageError: It is none.
    """
    hint = f"Give an array of {info.dtype} of shape {_shape_text(info)}."
    try:
        array = np.asarray(given)
    except (ValueError, TypeError) as error:  # lists of several lengths, values on another device
        raise UsageError(f"Input {info.name!r} got no array: {first_line(error)}.", hint) from error
    if array.dtype.kind not in "biufc":
        raise UsageError(f"Input {info.name!r} takes numbers, not {_type(given)} of {array.dtype}.", hint)
    return array


def _type(given: Any) -> str:
    return "None" if given is None else type(given).__name__


def _shape_text(info: TensorInfo) -> str:
    return f"[{', '.join(['n', *('any' if size is None else str(size) for size in info.shape[1:])])}]"


def _check_fit(info: TensorInfo, array: np.ndarray) -> None:
    """Refuse an array that is not a batch for an input.

    Raises:
        UsageError: Its dtype, its number of dimensions or one of its sizes is another, or it is empty.
    """
    wanted = _shape_text(info)
    if array.dtype != info.dtype:
        raise UsageError(f"Input {info.name!r} takes {info.dtype}, not {array.dtype}.", _dtype_hint(info, array))
    if array.ndim != len(info.shape):
        is_one = array.shape == info.shape[1:]
        hint = "Add the batch: images[None]." if is_one else f"Give an array of shape {wanted}."
        raise UsageError(f"Input {info.name!r} takes shape {wanted}, not {list(array.shape)}.", hint)
    if any(size is not None and size != got for size, got in zip(info.shape[1:], array.shape[1:])):
        raise UsageError(
            f"Input {info.name!r} takes shape {wanted}, not {list(array.shape)}.", "Scale or crop the images first."
        )
    if array.size == 0:
        raise UsageError(
            f"The array for input {info.name!r} is empty: {list(array.shape)}.", "Give at least one image."
        )


def _dtype_hint(info: TensorInfo, array: np.ndarray) -> str:
    if array.dtype.kind == "f" and info.dtype == np.float32:
        return "Type images.astype('float32')."
    if info.dtype == np.float32:
        return "Scale the values as the model was trained, for instance images.astype('float32') / 127.5 - 1."
    if info.scale:
        return f"Quantize: round(x / {info.scale:g}) + {info.zero_point}, as {info.dtype}."
    return f"Give an array of {info.dtype}."


def _quoted(names: Any) -> str:
    return ", ".join(repr(name) for name in names)
