"""`diff_artifacts`: what differs between two artifacts, e.g. two states of one training or two converters."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from bopkit import files
from bopkit.artifacts import artifact
from bopkit.export.inspection.contents import Contents, KernelMatch, StoredLayer, match_kernels, read_contents
from bopkit.export.inspection.report import TIMEOUT_S
from bopkit.export.sources.source import use_custom_code
from bopkit.isolation import Child
from bopkit.pretrained import model_path
from bopkit.progress import Progress
from bopkit.tabular import Column, Tabular, record
from bopkit.text import percent_text

NO_CARD = "(no card)"


@dataclasses.dataclass(frozen=True)
class ChangedValue:
    """A value that differs: of a field of the card, of a layer, or of the whole."""

    what: str
    first: Any
    second: Any


@dataclasses.dataclass(frozen=True)
class ChangedWeights:
    """Weights that are not binary and differ.

    Attributes:
        name: Name in both files.
        values: Number of values.
        different: Number of values that differ.
        largest_difference: Absolute; NaN where one has no number, or no weights of that name and shape.
    """

    name: str
    values: int
    different: int
    largest_difference: float


@dataclasses.dataclass(frozen=True, repr=False)
class Difference(Tabular):
    """What differs between two artifacts.

    Attributes:
        first: Path of the first.
        second: Path of the second.
        facts: Kind, size, inputs and outputs that differ.
        card: Fields of the cards that differ.
        layers: Shape, bits or bytes of layers that have the same name in both; for files of one kind.
        only_first: Layers of the first that the second does not have by that name.
        only_second: Layers of the second that the first does not have.
        kernels: Every binary kernel of the first, with the number of flipped weights.
        floats: Other weights that differ, for files of one kind.
        notes: What was not compared.
    """

    first: str
    second: str
    facts: tuple[ChangedValue, ...]
    card: tuple[ChangedValue, ...]
    layers: tuple[ChangedValue, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    kernels: tuple[KernelMatch, ...]
    floats: tuple[ChangedWeights, ...]
    notes: tuple[str, ...]

    _columns = (
        Column("binary kernel", "first"),
        Column("in the other", "second"),
        Column("weights", "weights", "{:,}".format),
        Column("differ", "different", "{:,}".format),
        Column("share", "share", percent_text),
    )

    @property
    def same(self) -> bool | None:
        """Whether nothing differs, the card apart; None where only a part could be compared, and that is the same."""
        flipped = any(match.different or match.second is None for match in self.kernels)
        if self.layers or self.only_first or self.only_second or self.floats or flipped:
            return False
        return None if self.notes else True

    def _title(self) -> str:
        verdict = {True: "the weights are the same", False: "they differ", None: "no difference in what was compared"}
        return f"{self.first} and {self.second}: {verdict[self.same]}"

    def _records(self) -> list[dict[str, Any]]:
        return [{**record(match), "share": match.different / match.weights} for match in self.kernels]

    def to_dict(self) -> dict[str, Any]:
        """The difference as dictionaries, lists, strings and numbers."""
        return {**dataclasses.asdict(self), "same": self.same}


def diff_artifacts(
    first: str | Path, second: str | Path, custom: Iterable[str] = (), progress: Progress | None = None
) -> Difference:
    """Compare what two artifacts hold, without running them, in a process of its own.

    Args:
        first: An artifact of any kind, or `pull:NAME`.
        second: Another one.
        custom: Modules of the user's own, whose classes and functions the files may name.
        progress: Called with one line before something slow, and during a download.

    Raises:
        UsageError: There is no such module, or it defines nothing.
        BopkitError: One of them is missing or damaged.
    """
    first, second = (model_path(each, progress) for each in (first, second))
    with Child() as process:
        values = process.call(
            "bopkit.export.inspection.diff:diff_in_process",
            str(first),
            str(second),
            list(custom),
            subject=f"{first} and {second}",
            timeout_s=TIMEOUT_S,
        )
    kinds = {
        "facts": ChangedValue,
        "card": ChangedValue,
        "layers": ChangedValue,
        "kernels": KernelMatch,
        "floats": ChangedWeights,
    }
    parts = {name: tuple(kind(**each) for each in values[name]) for name, kind in kinds.items()}
    rest = {name: tuple(values[name]) for name in ("only_first", "only_second", "notes")}
    return Difference(values["first"], values["second"], **parts, **rest)


def diff_in_process(first: str, second: str, custom: Iterable[str] = ()) -> dict[str, Any]:
    """The child's side of `diff_artifacts`."""
    with use_custom_code(custom) as custom_code:
        contents, other = read_contents(first, custom_code), read_contents(second, custom_code)
    sizes = [files.size_bytes(artifact.resolve(path)) for path in (first, second)]
    names, other_names = ([layer.name for layer in each.layers] for each in (contents, other))
    one_kind = contents.kind == other.kind
    notes = tuple(dict.fromkeys((*contents.notes, *other.notes)))
    if not one_kind:
        notes = (*notes, "Layers and other weights of two formats have no names in common: not compared.")
    return Difference(
        first=first,
        second=second,
        facts=_changed_values(
            {"kind": contents.kind, "size_bytes": sizes[0], "inputs": contents.inputs, "outputs": contents.outputs},
            {"kind": other.kind, "size_bytes": sizes[1], "inputs": other.inputs, "outputs": other.outputs},
        ),
        card=_changed_values(_card(first), _card(second)),
        layers=_changed_layer_values(contents, other) if one_kind else (),
        only_first=tuple(name for name in names if name not in other_names) if one_kind else (),
        only_second=tuple(name for name in other_names if name not in names) if one_kind else (),
        kernels=tuple(match_kernels(contents.kernels, other.kernels)),
        floats=_changed_weights(contents, other) if one_kind else (),
        notes=notes,
    ).to_dict()


def _card(path: str) -> dict[str, Any]:
    card = artifact.read_card(path)
    return {"card": NO_CARD} if card is None else dataclasses.asdict(card)


def _changed_values(first: dict[str, Any], second: dict[str, Any], prefix: str = "") -> tuple[ChangedValue, ...]:
    names = [*first, *(name for name in second if name not in first)]
    pairs = ((name, first.get(name), second.get(name)) for name in names)
    return tuple(ChangedValue(prefix + name, one, two) for name, one, two in pairs if one != two)


def _changed_layer_values(contents: Contents, other: Contents) -> tuple[ChangedValue, ...]:
    others = {layer.name: layer for layer in other.layers}
    return tuple(
        change
        for layer in contents.layers
        if layer.name in others
        for change in _changed_values(_compared(layer), _compared(others[layer.name]), f"{layer.name}: ")
    )


def _compared(layer: StoredLayer) -> dict[str, Any]:
    """What of two layers of one name is compared."""
    values = dataclasses.asdict(layer)
    return {name: values[name] for name in ("type", "shape", "value_bits", "stored_bits", "size_bytes", "packed")}


def _changed_weights(contents: Contents, other: Contents) -> tuple[ChangedWeights, ...]:
    changes = []
    for name in [*contents.others, *(name for name in other.others if name not in contents.others)]:
        values, others = contents.others.get(name), other.others.get(name)
        if values is None or others is None or others.shape != values.shape:
            size = max(each.size for each in (values, others) if each is not None)
            changes.append(ChangedWeights(name, size, size, math.nan))
            continue
        different = int(np.sum(~((values == others) | (np.isnan(values) & np.isnan(others)))))
        if different:
            largest = float(np.abs(values.astype(np.float64) - others).max())
            changes.append(ChangedWeights(name, values.size, different, largest))
    return tuple(changes)
