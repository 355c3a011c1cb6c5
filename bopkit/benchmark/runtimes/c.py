"""C sources (`bopkit export --c`), compiled for this host: one example at a time on one thread, as on a board."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from bopkit import files
from bopkit.artifacts import artifact
from bopkit.artifacts.c_sources import CNetwork, read_c_sources
from bopkit.benchmark.runtimes.runtime import Runtime
from bopkit.data import get_preprocessing
from bopkit.errors import BopkitError
from bopkit.host_compiler import compiler_version

OPTIONS = ("-O2",)
"""Of the compiler."""


class CRuntime(Runtime):
    """The network's own code; its threads are always one."""

    name = "C"
    is_batched = False

    def __init__(self, threads: int):
        super().__init__(1)

    def open(self, path: Path) -> None:
        """Compile the sources and load the library: it runs code that the folder holds."""
        sources = read_c_sources(path)
        self._to_input: Callable[[np.ndarray], np.ndarray] = np.asarray
        if sources.input.kind == "uint8":
            self._to_input = _pixels_of(path, sources.input.shape)
        self._network = _built(path)
        self.inputs, self.outputs = (("input", sources.input.shape),), ("output",)
        self.settings |= {"compiler": compiler_version(), "options": " ".join(OPTIONS)}

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The output [n, ...] for float32 [n, ...]."""
        (pictures,) = inputs
        return [self._network.predict(self._to_input(pictures))]

    def floor_bytes(self) -> int | None:
        """As the export counted them."""
        return self._network.sources.floor_bytes


_libraries: dict[Path, CNetwork] = {}


def _built(path: Path) -> CNetwork:
    """The network with memory of its own; it is compiled once a process, however many cores run it."""
    if path not in _libraries:
        with files.temporary_directory("c") as folder:  # a library that is loaded needs its file no more
            _libraries[path] = CNetwork(read_c_sources(path), Path(folder), OPTIONS)
    return _libraries[path].with_own_memory()


def _pixels_of(path: Path, shape: tuple[int, ...]) -> Callable[[np.ndarray], np.ndarray]:
    """The function from preprocessed pictures back to pixels, for sources that normalise them themselves.

    Raises:
        BopkitError: They do not say how they normalise them.
    """
    preprocessing = artifact.pixel_preprocessing(path)
    if preprocessing is None:
        raise BopkitError(
            f"{path} takes uint8 pixels, but its card names no preprocessing.",
            "Export it again with float32 or int8 input.",
        )
    return get_preprocessing(preprocessing, shape).to_pixels  # type: ignore[arg-type]
