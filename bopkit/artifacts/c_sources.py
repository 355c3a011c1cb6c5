"""A folder of C sources that `bopkit export --c` wrote: what they hold, and running them on this host."""

from __future__ import annotations

import copy
import ctypes
import dataclasses
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from bopkit.artifacts.card import ModelCard, parse_card
from bopkit.errors import BopkitError
from bopkit.host_compiler import build_library

MANIFEST = "network.json"
"""The file of the folder that tells what the sources hold."""

FORMAT = 1

_DTYPES: dict[str, Any] = {"int8": np.int8, "uint8": np.uint8, "float": np.float32}


@dataclasses.dataclass(frozen=True)
class Port:
    """What the network takes, or what it answers.

    Attributes:
        kind: `int8`, `uint8` or `float`.
        shape: Of one example.
        scale: Step of the numbers; 0 for float, and for pixels.
        zero_point: The number that stands for zero.
    """

    kind: str
    shape: tuple[int, ...]
    scale: float
    zero_point: int

    @property
    def elements(self) -> int:
        """Numbers of one example."""
        return math.prod(self.shape)

    @property
    def dtype(self) -> Any:
        """NumPy's type of a stored number."""
        return _DTYPES[self.kind]

    @property
    def size_bytes(self) -> int:
        """Bytes of one example."""
        return self.elements * np.dtype(_DTYPES[self.kind]).itemsize

    def stored(self, values: np.ndarray) -> np.ndarray:
        """float32 as the numbers that stand for them, of any shape; pixels as they are."""
        if self.kind != "int8":
            return np.ascontiguousarray(values.astype(_DTYPES[self.kind]))
        scaled = (values.astype(np.float32) / np.float32(self.scale)).astype(np.float64)
        rounded = np.copysign(np.floor(np.abs(scaled) + 0.5), scaled) + self.zero_point
        return np.clip(rounded, -128, 127).astype(np.int8)

    def real(self, numbers: np.ndarray) -> np.ndarray:
        """float32 that stored numbers stand for."""
        if self.kind == "float":
            return numbers
        return (numbers.astype(np.int32) - self.zero_point).astype(np.float32) * np.float32(self.scale)


@dataclasses.dataclass(frozen=True)
class CSources:
    """What the manifest tells.

    Attributes:
        folder: Where the sources are.
        name: Prefix of files, functions and macros.
        input: What it takes.
        output: What it answers.
        sources: Names of the C files, without the self-test.
        arena_bytes: Memory that a run needs, besides input, output and stack.
        arena_lower_bound_bytes: The least that any arrangement of the same values needs.
        weight_bytes: Bytes of the weights.
        constant_bytes: Bytes of all other arrays of constants.
        binary_macs: Multiply-accumulates of signs, of one picture.
        int8_macs: Of numbers of 8 bits.
        float_macs: Of float32.
        floor_bytes: One bit a binary weight and four bytes any other, in the network that was exported.
        card: The model card; None where the network has none.
    """

    folder: Path
    name: str
    input: Port
    output: Port
    sources: tuple[str, ...]
    arena_bytes: int
    arena_lower_bound_bytes: int
    weight_bytes: int
    constant_bytes: int
    binary_macs: int
    int8_macs: int
    float_macs: int
    floor_bytes: int | None
    card: ModelCard | None

    @property
    def header(self) -> Path:
        """The header."""
        return self.folder / f"{self.name}.h"

    @property
    def paths(self) -> list[Path]:
        """The C files, without the self-test."""
        return [self.folder / name for name in self.sources]

    def manifest(self) -> dict[str, Any]:
        """The content of the manifest, ready for JSON."""
        values = dataclasses.asdict(self)
        values["card"] = None if self.card is None else json.loads(self.card.to_json())
        del values["folder"]
        return {"format": FORMAT, **values}


def is_c_sources(path: Path) -> bool:
    """Whether a path is such a folder."""
    return (path / MANIFEST).is_file()


def read_c_sources(folder: Path) -> CSources:
    """Read the manifest of a folder.

    Raises:
        BopkitError: It is damaged, of a newer bopkit, or a source is missing.
    """
    path = folder / MANIFEST
    hint = "Copy the folder again, or export the network again."
    try:
        values = json.loads(path.read_bytes())
        number = values.pop("format")
        card = values.pop("card")
        taken, answered = _port(values.pop("input")), _port(values.pop("output"))
        values["sources"] = tuple(map(str, values["sources"]))
        parsed = None if card is None else parse_card(json.dumps(card).encode(), path)
        sources = CSources(folder=folder, card=parsed, input=taken, output=answered, **values)
        if not re.fullmatch(r"[A-Za-z_]\w*", sources.name, re.ASCII) or any("/" in each for each in sources.sources):
            raise ValueError("a name that no export gives")  # names become options of compilers
    except OSError as error:
        raise BopkitError(f"{path} cannot be read: {error.strerror}.", hint) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BopkitError(f"{path} is damaged.", hint) from error
    if number != FORMAT:
        raise BopkitError(f"{folder} was written by another version of bopkit.", "Export the network again.")
    missing = [each.name for each in (*sources.paths, sources.header) if not each.is_file()]
    if missing:
        raise BopkitError(f"{folder} lacks {missing[0]}.", hint)
    return sources


def _port(values: dict[str, Any]) -> Port:
    port = Port(**{**values, "shape": tuple(map(int, values["shape"]))})
    if port.kind not in _DTYPES:
        raise ValueError(f"an unknown type {port.kind}")
    return port


class CNetwork:
    """C sources, compiled for this host.

    Args:
        sources: What is compiled.
        folder: Where the library is written.
        options: Of the compiler.
        warn: Whether a warning is an error.

    Raises:
        BopkitError: There is no compiler, or it refuses the sources.
    """

    def __init__(self, sources: CSources, folder: Path, options: tuple[str, ...] = ("-O2",), warn: bool = False):
        self.sources = sources
        library = ctypes.CDLL(str(build_library(sources.paths, folder, sources.name, options, warn)))
        self._run = getattr(library, f"{sources.name}_run_in")
        self._run.argtypes, self._run.restype = [ctypes.c_void_p] * 3, None
        self._arena = np.zeros(max(sources.arena_bytes, 4) // 4 + 1, np.uint32)

    def with_own_memory(self) -> CNetwork:
        """The same library with another arena, for another thread."""
        other = copy.copy(self)
        other._arena = np.zeros_like(self._arena)
        return other

    def answers(self, stored: np.ndarray) -> np.ndarray:
        """Stored outputs [n, ...] of stored inputs [n, ...]; not from two threads at once."""
        stored = np.ascontiguousarray(stored)
        answers = np.zeros((len(stored), *self.sources.output.shape), _DTYPES[self.sources.output.kind])
        for given, answer in zip(stored, answers, strict=True):
            self._run(self._arena.ctypes.data, given.ctypes.data, answer.ctypes.data)
        return answers

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """float32 [n, ...] of inputs [n, ...]: float32 as preprocessed, or pixels where the network takes these."""
        return self.sources.output.real(self.answers(self.sources.input.stored(inputs)))
