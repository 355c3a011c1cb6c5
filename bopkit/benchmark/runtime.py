"""What a runtime is: a library that loads one kind of artifact and computes its scores on this host.

To add a runtime, write one module with a `Runtime` class, and name it in `RUNTIMES`.
"""

from __future__ import annotations

import abc
import importlib
import importlib.util
from pathlib import Path

import numpy as np

from bopkit.errors import BopkitError

RUNTIMES = {
    "keras": {"keras": "bopkit.benchmark.keras_runtime.KerasRuntime"},
    "savedmodel": {"tensorflow": "bopkit.benchmark.saved_model_runtime.SavedModelRuntime"},
    "tflite": {
        "litert": "bopkit.benchmark.litert_runtime.LitertRuntime",
        "lce": "bopkit.benchmark.lce_runtime.LceRuntime",
    },
}
"""The classes that run each kind of artifact (`bopkit.artifact.kind`), by the runtime's name, as dotted names."""

TFLITE_RUNTIMES = tuple(RUNTIMES["tflite"])


class Runtime(abc.ABC):
    """One runtime. Making it imports its library; `load` reads the artifact.

    Args:
        threads: Threads for one picture.

    Attributes:
        name: As the report prints it.
        input_shape: Height, width, channels of one picture; known after `load`.
        settings: What else decides speed and results, by name; complete after `load`.
    """

    name: str
    input_shape: tuple[int, int, int]

    def __init__(self, threads: int):
        self.settings: dict[str, str | int | bool] = {"threads": threads}

    @abc.abstractmethod
    def load(self, path: Path) -> None:
        """Load an artifact and make it ready for pictures.

        Raises:
            BopkitError: It is damaged, or does not map one picture to one vector of scores.
        """

    def floor_bytes(self) -> int | None:
        """One bit a binary weight and four bytes any other, after `load`; None where the artifact does not tell."""
        return None

    @abc.abstractmethod
    def predict(self, pictures: np.ndarray) -> np.ndarray:
        """Compute scores.

        Args:
            pictures: float32 [n, H, W, C].

        Returns:
            float32 [n, classes].
        """


def default_runtime(kind: str) -> str:
    """The runtime for a kind of artifact: for flatbuffers LiteRT, where bopkit-runtime is installed."""
    if kind == "tflite" and importlib.util.find_spec("bopkit_runtime") is None:
        return "lce"
    return next(iter(RUNTIMES[kind]))


def make_runtime(kind: str, threads: int, name: str | None = None) -> Runtime:
    """Import and start a runtime for a kind of artifact.

    Args:
        kind: `keras`, `savedmodel` or `tflite`.
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


def picture_shape(shape: tuple[int | None, ...], path: Path) -> tuple[int, int, int]:
    """Height, width, channels of an input of shape [n, H, W, C].

    Raises:
        BopkitError: It is no batch of pictures of one size.
    """
    if len(shape) != 4 or None in shape[1:] or shape[0] not in (None, 1):
        written = ", ".join("?" if size is None else str(size) for size in shape)
        raise BopkitError(
            f"{path} takes input of shape [{written}], not pictures of one size, [n, H, W, C].",
            "Save it with a fixed height, width and channels, and a batch of 1 or of any size.",
        )
    height, width, channels = (int(size) for size in shape[1:] if size is not None)
    return height, width, channels
