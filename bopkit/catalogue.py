"""The catalogue of networks as plain values; listing it imports no TensorFlow."""

from __future__ import annotations

import dataclasses
from typing import Any

from bopkit.architecture import Architecture
from bopkit.errors import unknown_name
from bopkit.hparams import describe_field, ordered_names
from bopkit.registry import MODELS
from bopkit.tabular import in_order

LARGEST_FIRST = frozenset({"top1_percent"})
"""What `list_models` sorts from the best down."""


def list_models(name: str | None = None, sort: str | None = None) -> list[dict[str, Any]]:
    """Describe the networks of the zoo, or one network.

    Args:
        name: A name, an alias or a dotted module name; None for all.
        sort: The key of a number or a text to sort by, or `other_macs`, which are `mixed_macs` and `float_macs`, or
            `top1_percent`, the first published one, from the best down. Networks without a value come last. None for
            the order of the catalogue: by size of the pictures, then by family, then by parameters.

    Returns:
        One JSON-ready dictionary a network: `name`, `title`, `family`, `aliases`, `paper`, `input_shape` (height,
        width, channels), `classes`, `params`, `binary_params`, `binary_macs`, `mixed_macs`, `float_macs`,
        `floor_bytes`, `sets`, `default_set`, `teacher`, `published`. A network outside the catalogue has no counts.

    Raises:
        UsageError: There is no such network, or nothing of that name to sort by.
    """
    found = [_describe(MODELS.load(each)) for each in ([name] if name else MODELS.names())]
    if sort is None:
        order = [model["family"] for model in found]
        return sorted(
            found, key=lambda model: (-model["input_shape"][0], order.index(model["family"]), model.get("params", 0))
        )
    sortable = [key for key, value in found[0].items() if isinstance(value, int | str)]
    if sort not in (known := [*sortable, "input_shape", "other_macs", "top1_percent"]):
        raise unknown_name("sort key", sort, known, "bopkit models --json")
    return in_order(found, lambda model: _sort_value(model, sort), is_largest_first=sort in LARGEST_FIRST)


def list_blocks(name: str) -> list[dict[str, Any]]:
    """Build a network with its default set, and describe its blocks; takes some seconds.

    Args:
        name: A name, an alias or a dotted module name.

    Returns:
        One JSON-ready dictionary a block, as `bopkit.counting.Block` has it.

    Raises:
        UsageError: There is no such network.
    """
    from bopkit.counting import count_blocks

    architecture: Architecture = MODELS.load(name)
    network = architecture.build_network(architecture.hparams(), architecture.input_shape, architecture.classes)
    return [dataclasses.asdict(block) for block in count_blocks(network)]


def _sort_value(model: dict[str, Any], key: str) -> Any:
    if key == "top1_percent":
        return model["published"][0][key] if model["published"] else None
    if key == "other_macs":
        return model["mixed_macs"] + model["float_macs"] if "mixed_macs" in model else None
    return model["input_shape"][0] if key == "input_shape" else model.get(key)


def _describe(architecture: Architecture) -> dict[str, Any]:
    counts = architecture.counts
    return {
        "name": architecture.name,
        "title": architecture.title,
        "family": MODELS.file_of(architecture.name),
        "aliases": MODELS.aliases(architecture.name),
        "paper": architecture.paper,
        "input_shape": list(architecture.input_shape),
        "classes": architecture.classes,
        **({} if counts is None else {**dataclasses.asdict(counts), "floor_bytes": counts.floor_bytes}),
        "sets": list(architecture.sets),
        "default_set": architecture.default_set,
        "teacher": architecture.teacher,
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
