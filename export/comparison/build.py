"""The flatbuffers of the networks that are compared: each bit-packed, and its twins in float32 and int8.

TensorFlow works in a process of its own (`bopkit.export.comparison.worker`).
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bopkit import files
from bopkit.errors import BopkitError
from bopkit.export.comparison.networks import Network
from bopkit.isolation import Child, cpu_environment
from bopkit.progress import Progress

PACKED, FLOAT32, INT8 = ("packed", "float32 twin", "int8 twin")
"""The variants of each network, as reports call them."""


@dataclasses.dataclass(frozen=True)
class Built:
    """A flatbuffer of a network.

    Attributes:
        path: Where it lies, in a scratch folder.
        name: Of the network.
        variant: `PACKED`, `FLOAT32` or `INT8`.
        trained: Whether it can have an accuracy: twins have random weights.
        floor_bytes: One bit a binary weight and 32 bits any other; None for twins.
    """

    path: Path
    name: str
    variant: str
    trained: bool
    floor_bytes: int | None


def build_all(
    networks: Sequence[Network], folder: Path, errors: dict[str, BopkitError], progress: Progress
) -> list[Built]:
    """Write the flatbuffers of all networks into `folder`; the errors of those that have none are added."""
    built: list[Built] = []
    folder.mkdir()
    temporary = folder.parent / f"{files.SCRATCH_PREFIX}temporary"
    temporary.mkdir()
    # What the process leaves behind when it is ended goes with the scratch folder.
    environment = cpu_environment() | {name: str(temporary) for name in ("TMPDIR", "TEMP", "TMP")}
    hint = "Memory ran out: use a machine with more, or leave out that network."
    with Child(environment, "The process that converted {subject}", hint) as process:
        for network in networks:
            try:
                built += _build(network, folder, temporary, process, progress)
            except BopkitError as error:
                errors[network.name] = error
    return built


def _build(network: Network, folder: Path, temporary: Path, process: Child, progress: Progress) -> list[Built]:
    """Write the flatbuffers of a network: packed, and both twins.

    Raises:
        BopkitError: It cannot be exported, or has no twin.
    """

    def call(function: str, *arguments: Any) -> Any:
        try:
            return process.call(f"bopkit.export.comparison.worker:{function}", *arguments, subject=network.model)
        except BopkitError as error:  # of an architecture the user knows no file
            message, hint = (text.replace(str(source), network.model) for text in (error.message, error.hint))
            raise BopkitError(message, hint) from error

    name = network.name
    source = network.source or temporary / f"{name}.h5"
    paths = {PACKED: folder / f"{name}.tflite"}
    paths |= {variant: folder / f"{name}.{_precision(variant)}.tflite" for variant in (FLOAT32, INT8)}
    progress(f"{name}: packed")
    if network.source is None:
        call("write_untrained", network.model, str(source))
    call("write_packed", str(source), str(temporary / f"{name}.packed"), str(paths[PACKED]))
    progress(f"{name}: twins")
    floor_bytes = call("write_twins", str(source), {_precision(each): str(paths[each]) for each in (FLOAT32, INT8)})
    floors = {PACKED: floor_bytes}
    return [
        Built(path, name, variant, network.trained and variant == PACKED, floors.get(variant))
        for variant, path in paths.items()
    ]


def _precision(twin: str) -> str:
    """`float32` or `int8`."""
    return twin.split()[0]


def keep_flatbuffers(built: Sequence[Built], output: Path) -> None:
    """Move the flatbuffers into the user's folder, by one rename each."""
    for each in built:
        files.sync(each.path)
    output.mkdir(parents=True, exist_ok=True)
    for each in built:
        os.replace(each.path, output / each.path.name)
