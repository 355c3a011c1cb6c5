"""The JSON schema of a result file, made from the dataclasses and what their docstrings say: it cannot drift."""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from pathlib import Path
from typing import Any

from bopkit import files
from bopkit.benchmark.results import SCHEMA_VERSION, BenchmarkReport


def json_schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of what `bopkit benchmark --json` prints."""
    import pydantic

    schema = pydantic.TypeAdapter(BenchmarkReport).json_schema()
    tables = {**schema["$defs"], BenchmarkReport.__name__: schema}
    for described in _dataclasses_in(BenchmarkReport):
        table = tables[described.__name__]
        table["description"] = " ".join((inspect.getdoc(described) or "").partition("\n\n")[0].split())
        for name, text in attribute_texts(described).items():
            table["properties"][name]["description"] = text
    version = {"const": SCHEMA_VERSION, "description": f"{SCHEMA_VERSION}: {_VERSION_TEXT}"}
    schema["properties"] = {"schema_version": version, **schema["properties"]}
    schema["required"] = ["schema_version", *schema["required"]]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _dataclasses_in(hint: Any) -> set[type]:
    """The dataclasses that values of a type are made of."""
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        return {hint}.union(*(_dataclasses_in(hints[field.name]) for field in dataclasses.fields(hint)))
    return set().union(*map(_dataclasses_in, typing.get_args(hint)))


_VERSION_TEXT = "raised when a figure changes its name or meaning; what is only added keeps it."


def write_schema(path: str | Path) -> None:
    """Write the schema to a file: `make docs` does."""
    files.write_json(Path(path), json_schema())


def attribute_texts(described: type) -> dict[str, str]:
    """What the docstring of a class says of each attribute, by its name."""
    section = (inspect.getdoc(described) or "").partition("\nAttributes:\n")[2].split("\n\n")[0]
    entries = re.findall(r"^    (\w+): (.*(?:\n        .*)*)", section, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}
