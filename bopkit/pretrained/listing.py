"""Which trained networks there are: those that come with bopkit, and those that others released."""

from __future__ import annotations

import dataclasses
from typing import Any

from bopkit.pretrained import cache, named
from bopkit.pretrained.facts import PretrainedFacts
from bopkit.pretrained.releases import RELEASES, Release
from bopkit.pretrained.shipped import FLATBUFFER, read_facts, shipped_names
from bopkit.tabular import Column, Tabular
from bopkit.text import percent_text, size_text


@dataclasses.dataclass(frozen=True)
class ReleasedFacts:
    """Weights that others released, and whether they are here; plain JSON values.

    Attributes:
        release: Where they are, whose, and how good the publisher says they are.
        weights_bytes: Size of the file; None before it is downloaded.
        is_kept: Whether the network is in the cache folder, so that `pull` needs no network.
    """

    release: Release
    weights_bytes: int | None
    is_kept: bool


@dataclasses.dataclass(frozen=True, repr=False)
class PretrainedModels(Tabular):
    """The trained networks that there are.

    Attributes:
        models: Those that come with bopkit, one row each.
        released: Those whose weights are downloaded.
    """

    models: tuple[PretrainedFacts, ...]
    released: tuple[ReleasedFacts, ...] = ()

    _columns = (
        Column("name", "name"),
        Column("top-1", "top1", percent_text),
        Column("measured by", "measured_by"),
        Column("flatbuffer", "flatbuffer_bytes", size_text),
        Column("weights", "weights_bytes", size_text),
        Column("network", "architecture"),
        Column("dataset", "dataset"),
        Column("licence", "licence"),
    )

    def to_dicts(self) -> list[dict[str, Any]]:
        """One object a network with plain JSON values, without its single weights."""
        return [*map(_summary, self.models), *map(_summary_of_released, self.released)]

    def _records(self) -> list[dict[str, Any]]:
        names = ("epoch_row",)
        return [{key: value for key, value in each.items() if key not in names} for each in self.to_dicts()]


def list_pretrained() -> PretrainedModels:
    """List the trained networks that `pull_model` knows.

    Returns:
        Their names, where they come from, accuracy and size.

    Raises:
        BopkitError: A file of bopkit is damaged.
    """
    shipped = tuple(read_facts(name) for name in shipped_names())
    return PretrainedModels(shipped, tuple(map(_facts, RELEASES.values())))


def _facts(release: Release) -> ReleasedFacts:
    weights = cache.weights_file(release)
    size = weights.stat().st_size if weights.is_file() else None
    return ReleasedFacts(release, size, size is not None or named.kept_path(release.name).is_file())


def _summary(facts: PretrainedFacts) -> dict[str, Any]:
    """What a person asks of a trained network, as plain JSON values: all but its weights and files one by one."""
    values = dataclasses.asdict(facts)
    del values["weights"], values["parts"]
    return {
        **values,
        "flatbuffer_bytes": facts.parts[FLATBUFFER].size_bytes,
        "measured_by": "bopkit",
        "source": "bopkit",
        "is_kept": True,
    }


def _summary_of_released(facts: ReleasedFacts) -> dict[str, Any]:
    release = facts.release
    values = dataclasses.asdict(release)
    del values["folder"], values["file"]
    return {
        **values,
        "weights_bytes": facts.weights_bytes,
        "measured_by": release.publisher,
        "source": release.address(),
        "is_kept": facts.is_kept,
    }
