"""The catalogue of networks as plain values; listing it imports no TensorFlow."""

from __future__ import annotations

import dataclasses
from typing import Any

from bopkit.architecture import Architecture
from bopkit.hparams import describe_field, ordered_names
from bopkit.registry import MODELS


def list_models(name: str | None = None) -> list[dict[str, Any]]:
    """Describe the networks of the zoo, or one network.

    Args:
        name: A name, an alias or a dotted module name; None for all.

    Returns:
        One JSON-ready dictionary a network: `name`, `title`, `aliases`, `paper`, `input_shape` (height, width,
        channels), `classes`, `params`, `binary_params`, `binary_macs`, `mixed_macs`, `float_macs`, `floor_bytes`,
        `sets`, `default_set`, `published`. A network outside the catalogue has no counts.

    Raises:
        UsageError: There is no such network.
    """
    return [_describe(MODELS.load(each)) for each in ([name] if name else MODELS.names())]


def _describe(architecture: Architecture) -> dict[str, Any]:
    counts = architecture.counts
    return {
        "name": architecture.name,
        "title": architecture.title,
        "aliases": MODELS.aliases(architecture.name),
        "paper": architecture.paper,
        "input_shape": list(architecture.input_shape),
        "classes": architecture.classes,
        **({} if counts is None else {**dataclasses.asdict(counts), "floor_bytes": counts.floor_bytes}),
        "sets": list(architecture.sets),
        "default_set": architecture.default_set,
        "published": [dataclasses.asdict(published) for published in architecture.published],
    }


def list_hparams(model: str, set_name: str | None = None) -> dict[str, Any]:
    """Describe the hyper-parameters of a network.

    Args:
        model: Name of a network.
        set_name: One set; None for all of them.

    Returns:
        `model`; `fields`: name, type, range, default and description of each hyper-parameter, and as `schedule_of` the
        one whose schedule it is a part of, None for most; `default_set`; `sets`: values by set name.

    Raises:
        UsageError: There is no such network or set.
    """
    architecture: Architecture = MODELS.load(model)
    names = [set_name] if set_name else list(architecture.sets)
    sets = {name: architecture.hparams(name) for name in names}
    kinds = dict.fromkeys(map(type, sets.values()))  # a set with an optimizer of the user's own has more names
    fields = list({name: describe_field(name, kind) for kind in kinds for name in ordered_names(kind)}.values())
    values = {name: hparams.model_dump() for name, hparams in sets.items()}
    return {
        "model": architecture.name,
        "fields": fields,
        "default_set": architecture.default_set,
        "sets": {name: {field["name"]: values[name].get(field["name"]) for field in fields} for name in values},
    }
