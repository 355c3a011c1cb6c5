"""`Interpreter`: a model file in, arrays in, arrays out."""

from __future__ import annotations

import os
import re
import traceback
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Union

import numpy as np

from bopkit_runtime.errors import BopkitRuntimeError, UsageError
from bopkit_runtime.library import checked_threads, describe, load_delegate
from bopkit_runtime.litert import import_litert
from bopkit_runtime.model_file import check_model_file, damaged

Arrays = Union[np.ndarray, Sequence[np.ndarray], Mapping[str, np.ndarray]]
Answers = Union[np.ndarray, list[np.ndarray], dict[str, np.ndarray]]


class TensorInfo(NamedTuple):
    """An input or output of a model.

    Attributes:
        name: Its name in the file.
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
    """A model, ready to run. One thread at a time may use it; make one for each thread.

    Args:
        path: A .tflite file of LCE's converter, or any other that LiteRT runs.
        num_threads: Threads for one run, 1 to 256, of our operators and of LiteRT's; None for one.
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
        threads = 1 if num_threads is None else checked_threads(num_threads)
        self._delegate = load_delegate(threads, isa=isa, claim=claim, profile=profile)
        try:
            self.litert = import_litert().module.Interpreter(
                model_path=str(self._path), num_threads=threads, experimental_delegates=[self._delegate]
            )
            _keep_until_gone(self.litert, self._delegate)
            self.litert.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            traceback.clear_frames(error.__traceback__)  # ends LiteRT's half-made interpreter, before its delegate
            raise _translated(error, self._path) from error
        self._input_indices, self.inputs = _tensors(self.litert.get_input_details())
        self._output_indices, self.outputs = _tensors(self.litert.get_output_details())

    def predict(self, images: Arrays) -> Answers:
        """Run the model once on a batch.

        Args:
            images: An array [n, ...] with the dtype and, but for n, the shape of the only input; for several
                inputs a list in their order, or a dict by their names.

        Returns:
            As `images` was given: an array (a list, if the model has several outputs), a list or a dict by names.

        Raises:
            UsageError: The arrays do not fit the model's inputs.
            BopkitRuntimeError: LiteRT failed, for instance because the file fixes the number of images.
        """
        arrays = self._in_order(images)
        for info, array in zip(self.inputs, arrays):
            _check_fit(info, array)
        self._resize([array.shape for array in arrays])
        try:
            for index, array in zip(self._input_indices, arrays):
                self.litert.set_tensor(index, array)
            self.litert.invoke()
            answers = [self.litert.get_tensor(index) for index in self._output_indices]
        except (ValueError, RuntimeError) as error:
            raise _translated(error, self._path) from error
        if isinstance(images, Mapping):
            return {info.name: answer for info, answer in zip(self.outputs, answers)}
        if isinstance(images, np.ndarray) and len(answers) == 1:
            return answers[0]
        return answers

    def describe(self) -> dict[str, Any]:
        """What the delegate runs, and for how long; see `bopkit_runtime.describe`."""
        return describe(self._delegate)

    def _in_order(self, images: Arrays) -> list[np.ndarray]:
        names = [info.name for info in self.inputs]
        if isinstance(images, np.ndarray):
            arrays = [images]
        elif isinstance(images, Mapping):
            if set(images) != set(names):
                raise UsageError(f"Inputs are named {_quoted(images)}.", f"The model's are {_quoted(names)}.")
            arrays = [np.asarray(images[name]) for name in names]
        else:
            arrays = [np.asarray(each) for each in images]
        if len(arrays) != len(names):
            hint = f"Give {len(names)}, as a list or as a dict by name: {_quoted(names)}."
            raise UsageError(f"The model has {len(names)} input(s), but {len(arrays)} were given.", hint)
        return arrays

    def _resize(self, shapes: list[tuple[int, ...]]) -> None:
        """Bring the inputs into these shapes; where that fails, back into the ones they had."""
        before = [tuple(int(size) for size in each["shape"]) for each in self.litert.get_input_details()]
        if shapes == before:
            return
        try:
            self._resize_now(shapes)
        except (ValueError, RuntimeError) as error:
            self._resize_now(before)
            given, taken = (" and ".join(str(list(shape)) for shape in each) for each in (shapes, before))
            raise BopkitRuntimeError(
                f"{self._path} cannot run on {given}: {_reason(error)}.",
                f"Give it arrays of shape {taken}, one after the other.",
            ) from error

    def _resize_now(self, shapes: list[tuple[int, ...]]) -> None:
        for index, shape in zip(self._input_indices, shapes):
            self.litert.resize_tensor_input(index, shape)
        self.litert.allocate_tensors()


def _keep_until_gone(litert: Any, delegate: Any) -> None:
    """Let a delegate outlive LiteRT's interpreter, which uses it to the end.

    LiteRT counts on the order in which counted references end; the garbage collector, which takes whole cycles such
    as that of a caught error and its traceback, keeps to none.
    """
    weakref.finalize(litert, lambda kept: None, delegate).atexit = False


def _tensors(details: list[dict[str, Any]]) -> tuple[list[int], tuple[TensorInfo, ...]]:
    infos = []
    for each in details:
        scale, zero_point = each["quantization"]
        signature = each["shape_signature"]
        sizes = signature if len(signature) == len(each["shape"]) else each["shape"]
        shape = tuple(None if size < 0 else int(size) for size in sizes)
        infos.append(TensorInfo(each["name"], shape, np.dtype(each["dtype"]), float(scale), int(zero_point)))
    return [int(each["index"]) for each in details], tuple(infos)


def _check_fit(info: TensorInfo, array: np.ndarray) -> None:
    """Refuse an array that is not a batch for an input.

    Raises:
        UsageError: Its dtype, its number of dimensions or one of its sizes is another, or it is empty.
    """
    wanted = f"[{', '.join(['n', *('any' if size is None else str(size) for size in info.shape[1:])])}]"
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


def _translated(error: Exception, path: Path) -> BopkitRuntimeError:
    """LiteRT's error in one line."""
    text = str(error)
    if _OUR_MARK in text:
        return BopkitRuntimeError(f"{path} cannot be run: {_reason(error)}.")
    if any(sign in text for sign in _SIGNS_OF_DAMAGE):
        return damaged(path)
    if "Didn't find op for builtin opcode" in text:
        litert = import_litert()
        hint = f"Type `pip install --upgrade {litert.name}`."
        return BopkitRuntimeError(f"{path} needs a newer LiteRT than {litert.name} {litert.version}.", hint)
    unknown = _UNKNOWN_OPERATOR.search(text)
    if unknown:
        hint = "The runtime knows those of Larq Compute Engine and LiteRT's own."
        return BopkitRuntimeError(f"{path} has an operator {unknown[1]} that nothing here runs.", hint)
    return BopkitRuntimeError(f"LiteRT cannot run {path}: {_reason(error)}.", "Export the model again.")


def _reason(error: Exception) -> str:
    """What the delegate said, else what LiteRT did, without what LiteRT adds: which node, and what follows from it."""
    text = str(error).rpartition(_OUR_MARK)[2].strip()
    return _LITERTS_ADDITION.split(text)[0].strip().rstrip(".") or type(error).__name__


_OUR_MARK = "bopkit-runtime: "
_LITERTS_ADDITION = re.compile(r"Node number|Encountered unresolved|[\r\n]")  # comes with no line between
_UNKNOWN_OPERATOR = re.compile(r"unresolved custom op: (\w+)")
_SIGNS_OF_DAMAGE = ("not a valid Flatbuffer", "model allocation is null", "Could not open")


def _quoted(names: Any) -> str:
    return ", ".join(repr(name) for name in names)
