"""The base class of runtimes: a library that loads one kind of artifact and computes its outputs on this host.

To add a runtime, write one module with a `Runtime` class, and name it in `RUNTIMES`.
"""

from __future__ import annotations

import abc
import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bopkit.benchmark.results import LayerBytes, StepTime
from bopkit.errors import BopkitError

RUNTIMES = {
    "keras": {"keras": "bopkit.benchmark.runtimes.keras.KerasRuntime"},
    "savedmodel": {"tensorflow": "bopkit.benchmark.runtimes.saved_model.SavedModelRuntime"},
    "tflite": {
        "litert": "bopkit.benchmark.runtimes.litert.LitertRuntime",
        "lce": "bopkit.benchmark.runtimes.lce.LceRuntime",
    },
    "c": {"c": "bopkit.benchmark.runtimes.c.CRuntime"},
}
"""The classes that run each kind of artifact (as `artifact.kind` names it), by the runtime's name, as dotted names."""

TFLITE_RUNTIMES = tuple(RUNTIMES["tflite"])


class Runtime(abc.ABC):
    """One runtime. Making it imports its library; `load` reads the artifact.

    Args:
        threads: Threads for one picture.

    Attributes:
        name: As the report prints it.
        inputs: Name, and shape of one example, of each; known after `open`.
        outputs: Name of each; known after `open`.
        input_shape: Height, width, channels of one picture; known after `load`.
        settings: What else decides speed and results, by name; complete after `open`.
        library: Its native library, where it is one file; known after `open`.
        is_batched: Whether `predict` computes a batch at once, on all its threads, and not one picture after the other.
        releases_lock: Whether other threads of Python run while it computes.
    """

    name: str
    is_batched = True
    releases_lock = True
    inputs: tuple[tuple[str, tuple[int, ...]], ...]
    outputs: tuple[str, ...]
    input_shape: tuple[int, int, int]

    def __init__(self, threads: int):
        self.settings: dict[str, str | int | bool] = {"threads": threads}
        self.library: Path | None = None

    @abc.abstractmethod
    def open(self, path: Path) -> None:
        """Load an artifact that takes and answers any number of batches of floats, and make it ready to run.

        Raises:
            BopkitError: It is damaged, or takes or answers anything else.
        """

    @abc.abstractmethod
    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Compute all outputs.

        Args:
            inputs: float32 [n, ...], one an input.

        Returns:
            float32 [n, ...], one an output.
        """

    def load(self, path: Path) -> None:
        """Load an artifact and make it ready for pictures.

        Raises:
            BopkitError: It is damaged, or does not map one picture to one vector of scores.
        """
        self.open(path)
        if len(self.inputs) != 1 or len(self.outputs) != 1:
            inputs = ", ".join(name for name, _ in self.inputs)
            raise BopkitError(
                f"{path} maps {inputs} to {', '.join(self.outputs)}, not one picture to one vector of scores.",
                "Give only the classifier: one picture in, one vector of scores out.",
            )
        ((_, shape),) = self.inputs
        if len(shape) != 3:
            raise BopkitError(
                f"{path} takes input of shape {_shape_text((None, *shape))}, not pictures, [n, H, W, C].",
                "Give a network that takes pictures.",
            )
        self.input_shape = shape

    def floor_bytes(self) -> int | None:
        """One bit a binary weight and four bytes any other, after `load`; None where they cannot be counted."""
        return None

    def layers(self) -> list[LayerBytes]:
        """Bytes of each layer of the loaded artifact; empty where the runtime cannot tell."""
        return []

    def steps(self, path: Path, runs: int, time_limit_s: float) -> list[StepTime]:
        """Time the steps of an inference in runs of their own, after `load`; empty where the runtime cannot.

        Args:
            path: The artifact.
            runs: Measured runs, fewer where they reach the limit.
            time_limit_s: Limit in seconds.
        """
        return []

    def predict(self, pictures: np.ndarray) -> np.ndarray:
        """Compute scores, after `load`.

        Args:
            pictures: float32 [n, H, W, C].

        Returns:
            float32 [n, classes].

        Raises:
            BopkitError: There is not one row of scores a picture: the artifact fixes how many it takes.
        """
        (scores,) = self.run([pictures])
        if len(scores) != len(pictures):
            raise BopkitError(
                f"{self.name} gave {len(scores)} rows of scores for {len(pictures)} pictures.",
                "The file fixes how many pictures it takes: export it with an open number of them.",
            )
        return scores


def runs_on_one_core(kind: str) -> bool:
    """Whether one runtime takes one picture after the other, so that each core gets a runtime of its own."""
    return kind in ("tflite", "c")


def default_runtime(kind: str) -> str:
    """The runtime for a kind of artifact: for flatbuffers LiteRT, where bopkit-runtime is installed."""
    if kind == "tflite" and importlib.util.find_spec("bopkit_runtime") is None:
        return "lce"
    return next(iter(RUNTIMES[kind]))


def reference_runtime(kind: str) -> str:
    """The runtime that exported files are checked with: for flatbuffers LCE's own, where it is installed."""
    has_lce = importlib.util.find_spec("larq_compute_engine") is not None
    return "lce" if kind == "tflite" and has_lce else default_runtime(kind)


def make_runtime(kind: str, threads: int, name: str | None = None) -> Runtime:
    """Import and start a runtime for a kind of artifact.

    Args:
        kind: `keras`, `savedmodel`, `tflite` or `c`.
        threads: Threads for one picture.
        name: One of `RUNTIMES[kind]`; None for the default, also where the kind has no runtime of that name.

    Raises:
        BopkitError: Its library is not installed.
    """
    if name not in RUNTIMES[kind]:
        name = default_runtime(kind)
    module, _, class_name = RUNTIMES[kind][name].rpartition(".")
    try:
        return getattr(importlib.import_module(module), class_name)(threads)
    except ModuleNotFoundError as error:
        if error.name != "bopkit_runtime":
            raise
        raise BopkitError(
            "The runtime litert needs bopkit-runtime, which is not installed.",
            "Type `pip install ./runtime` in a checkout of bopkit, or use --runtime lce.",
        ) from error


def example_shape(shape: Sequence[int | None], path: Path) -> tuple[int, ...]:
    """Shape of one example of an input of shape [n, ...].

    Raises:
        BopkitError: It is no batch of examples of one size.
    """
    sizes = tuple(int(size) for size in shape[1:] if size is not None)
    if not shape or len(sizes) != len(shape) - 1 or shape[0] not in (None, 1):
        raise BopkitError(
            f"{path} takes input of shape {_shape_text(shape)}, not pictures or other examples of one size, [n, ...].",
            "Save it with fixed sizes, and a batch of 1 or of any size.",
        )
    return sizes


def _shape_text(shape: Sequence[int | None]) -> str:
    return f"[{', '.join('?' if size is None else str(size) for size in shape)}]"
