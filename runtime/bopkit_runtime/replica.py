"""`Replica`: one of LiteRT's interpreters with our delegate, and its errors in our words."""

from __future__ import annotations

import re
import traceback
import weakref
from pathlib import Path
from typing import Any

import numpy as np

from bopkit_runtime import forks
from bopkit_runtime.errors import BopkitRuntimeError
from bopkit_runtime.library import load_delegate
from bopkit_runtime.litert import import_litert
from bopkit_runtime.model_file import damaged


class Replica:
    """A model in one of LiteRT's interpreters, tensors allocated. One thread at a time may use it.

    Args:
        path: A .tflite file.
        threads: Threads for one run, of our operators and of LiteRT's.
        options: `isa`, `claim` and `profile` of `bopkit_runtime.load_delegate`.

    Attributes:
        litert: LiteRT's interpreter.
        delegate: Its delegate.

    Raises:
        UsageError: An option is out of its range.
        BopkitRuntimeError: The file cannot be read or run, or LiteRT is not there.
    """

    def __init__(self, path: Path, threads: int, **options: Any) -> None:
        self._path = path
        self.delegate = load_delegate(threads, **options)
        try:
            self.litert = import_litert().module.Interpreter(
                model_path=str(path), num_threads=threads, experimental_delegates=[self.delegate]
            )
            _keep_until_gone(self.litert, self.delegate)
            if threads > 1:
                forks.never_free_in_child(self.litert)
            self.litert.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            traceback.clear_frames(error.__traceback__)  # ends LiteRT's half-made interpreter, before its delegate
            raise _translated(error, path) from error
        self._input_indices, self._output_indices = (
            [int(each["index"]) for each in details]
            for details in (self.litert.get_input_details(), self.litert.get_output_details())
        )

    def run(self, shapes: list[tuple[int, ...]], arrays: list[np.ndarray]) -> list[np.ndarray]:
        """Copies of the outputs for arrays of these shapes.

        Raises:
            BopkitRuntimeError: LiteRT failed, or cannot run them.
        """
        self._resize(shapes)
        try:
            for index, array in zip(self._input_indices, arrays):
                self.litert.set_tensor(index, array)
            self.litert.invoke()
            return [self.litert.get_tensor(index) for index in self._output_indices]
        except (ValueError, RuntimeError) as error:
            raise _translated(error, self._path) from error

    def _resize(self, shapes: list[tuple[int, ...]]) -> None:
        """Bring the inputs into these shapes; where that fails, back into the ones they had."""
        before = shapes_of(self.litert.get_input_details())
        if shapes == before:
            return
        try:
            self._resize_now(shapes)
        except (ValueError, RuntimeError) as error:
            if _IN_USE in str(error):
                raise _translated(error, self._path) from error
            self._resize_now(before)
            given, taken = (" and ".join(str(list(shape)) for shape in each) for each in (shapes, before))
            raise BopkitRuntimeError(
                f"{self._path} cannot run on {given}: {reason_of(error)}.",
                f"Give it arrays of shape {taken}, one after the other.",
            ) from error

    def _resize_now(self, shapes: list[tuple[int, ...]]) -> None:
        for index, shape in zip(self._input_indices, shapes):
            self.litert.resize_tensor_input(index, shape)
        self.litert.allocate_tensors()


def shapes_of(details: list[dict[str, Any]]) -> list[tuple[int, ...]]:
    """The shapes of tensors that LiteRT details."""
    return [tuple(int(size) for size in each["shape"]) for each in details]


def _keep_until_gone(litert: Any, delegate: Any) -> None:
    """Let a delegate outlive LiteRT's interpreter, which uses it to the end.

    LiteRT counts on the order in which counted references end; the garbage collector, which takes whole cycles such
    as that of a caught error and its traceback, keeps to none.
    """
    weakref.finalize(litert, lambda kept: None, delegate).atexit = False


def _translated(error: Exception, path: Path) -> BopkitRuntimeError:
    """LiteRT's error in one line."""
    text = str(error)
    if _OUR_MARK in text:
        return BopkitRuntimeError(f"{path} cannot be run: {reason_of(error)}.")
    if _IN_USE in text:
        return BopkitRuntimeError(
            "Something else still uses the tensors of LiteRT's interpreter.",
            "Delete the arrays that `litert.tensor()` gave and the runners of `litert.get_signature_runner()`, "
            "or copy the arrays and delete them.",
        )
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
    hint = "Make the file again from its network, for instance with `bopkit export`."
    return BopkitRuntimeError(f"LiteRT cannot run {path}: {reason_of(error)}.", hint)


def reason_of(error: Exception) -> str:
    """What the delegate said, else what LiteRT did, without what LiteRT adds: which node, and what follows from it."""
    text = str(error).rpartition(_OUR_MARK)[2].strip()
    return _LITERTS_ADDITION.split(text)[0].strip().rstrip(".") or type(error).__name__


_OUR_MARK = "bopkit-runtime: "
_LITERTS_ADDITION = re.compile(r"Node number|Encountered unresolved|[\r\n]")  # comes with no line between
_UNKNOWN_OPERATOR = re.compile(r"unresolved custom op: (\w+)")
_IN_USE = "reference to internal data"  # counted by Python: an array is a view of a tensor
_SIGNS_OF_DAMAGE = ("not a valid Flatbuffer", "model allocation is null", "Could not open")
