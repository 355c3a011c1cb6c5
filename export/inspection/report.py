"""`inspect_artifact`: the contents of a file with its card and its totals, as plain values."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bopkit import files
from bopkit.architecture import floor_bytes
from bopkit.artifacts import artifact, checksum
from bopkit.export.inspection.contents import StoredLayer, read_contents
from bopkit.export.sources.source import use_custom_code
from bopkit.isolation import Child
from bopkit.pretrained import model_path
from bopkit.progress import Progress
from bopkit.tabular import Column, Tabular, record
from bopkit.text import size_text

TIMEOUT_S = 600.0
"""A file of several GB on a slow disk takes minutes."""

UNCHECKED = "The file has no checksum, so a changed bit of a weight would go unnoticed."


@dataclasses.dataclass(frozen=True, repr=False)
class Inspection(Tabular):
    """What one artifact holds.

    Attributes:
        path: Where it lies; of a SavedModel the version directory.
        kind: `keras`, `savedmodel` or `tflite`.
        size_bytes: Size of the file, or of all files of the directory.
        weight_bytes: Bytes of the weights in it.
        floor_bytes: One bit a binary weight and 32 bits any other. A converter that folds batch norm has fewer.
        weights: Number of weights.
        binary_weights: Number of those that are +-scale.
        has_checksum: Whether it carries a checksum; a wrong one is an error.
        inputs: Inputs as text.
        outputs: Outputs as text.
        layers: In the order of the network.
        card: The model card; None where it carries none.
        record: What a flatbuffer of bopkit says of its export; None where it carries nothing of the kind.
        notes: What the reader should know, one sentence each.
    """

    path: str
    kind: str
    size_bytes: int
    weight_bytes: int
    floor_bytes: int
    weights: int
    binary_weights: int
    has_checksum: bool
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    layers: tuple[StoredLayer, ...]
    card: dict[str, Any] | None
    record: dict[str, Any] | None
    notes: tuple[str, ...]

    _columns = (
        Column("layer", "name"),
        Column("shape", "shape"),
        Column("bits", "stored_bits"),
        Column("size", "size_bytes", size_text),
        Column("type", "type"),
        Column("why not packed", "reason"),
    )

    def _title(self) -> str:
        sizes = f"{size_text(self.size_bytes)}, 1-bit floor {size_text(self.floor_bytes)}"
        return f"{self.path}, {sizes}, {self.weights:,} weights, {self.binary_weights:,} binary"

    def _records(self) -> list[dict[str, Any]]:
        return [record(layer) for layer in self.layers]

    def to_dict(self) -> dict[str, Any]:
        """The inspection as dictionaries, lists, strings and numbers."""
        return dataclasses.asdict(self)


def inspect_artifact(path: str | Path, custom: Iterable[str] = (), progress: Progress | None = None) -> Inspection:
    """Look into an artifact without running it, in a process of its own: a damaged file cannot end this one.

    Args:
        path: `.h5`, `.keras` or `.tflite` file of any converter, or SavedModel directory, with or without version;
            or `pull:NAME`.
        custom: Modules of the user's own, whose classes and functions the file may name.
        progress: Called with one line before something slow, and during a download.

    Raises:
        UsageError: There is no such module, or it defines nothing.
        BopkitError: There is no such artifact, or it is damaged.
    """
    path = model_path(path, progress)
    with Child() as process:
        values = process.call(
            "bopkit.export.inspection.report:inspect_in_process",
            str(path),
            list(custom),
            subject=str(path),
            timeout_s=TIMEOUT_S,
        )
    layers = tuple(StoredLayer(**{**layer, "shape": tuple(layer["shape"])}) for layer in values.pop("layers"))
    lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    return Inspection(**{**values, **lists, "layers": layers})


def inspect_in_process(path: str, custom: Iterable[str] = ()) -> dict[str, Any]:
    """The child's side of `inspect_artifact`."""
    with use_custom_code(custom) as custom_code:
        contents = read_contents(path, custom_code)
    resolved = artifact.resolve(path)
    card = artifact.read_card(path)
    weights = sum(layer.weights for layer in contents.layers)
    binary_weights = sum(layer.binary_weights for layer in contents.layers)
    has_checksum = checksum.check(resolved)
    inspection = Inspection(
        path=str(resolved),
        kind=contents.kind,
        size_bytes=files.size_bytes(resolved),
        weight_bytes=sum(layer.size_bytes for layer in contents.layers),
        floor_bytes=floor_bytes(weights, binary_weights),
        weights=weights,
        binary_weights=binary_weights,
        has_checksum=has_checksum,
        inputs=contents.inputs,
        outputs=contents.outputs,
        layers=contents.layers,
        card=dataclasses.asdict(card) if card is not None else None,
        record=artifact.read_record(path),
        notes=contents.notes if has_checksum else (*contents.notes, UNCHECKED),
    )
    return inspection.to_dict()
