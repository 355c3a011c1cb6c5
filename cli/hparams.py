"""`bopkit hparams`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from bopkit.cli.arguments import Json, Model
from bopkit.cli.output import print_json, print_table, say, show
from bopkit.text import setting_text, value_text


def hparams(
    model: Model,
    set_name: Annotated[str | None, typer.Argument(metavar="[SET]", help="One set; default: all.")] = None,
    json: Json = False,
) -> None:
    """List a network's hyper-parameters, their ranges, and their values in each set."""
    from bopkit.catalogue import list_hparams

    found = list_hparams(model, set_name)
    if json:
        print_json(found)
    elif set_name:
        _print_fields(found["fields"], "value", found["sets"][set_name])
    else:
        _print_fields(found["fields"], "default", {field["name"]: field["default"] for field in found["fields"]})
        show()
        _print_sets(found)


def _print_fields(fields: list[dict[str, Any]], heading: str, values: dict[str, Any]) -> None:
    print_table(
        ["hyper-parameter", heading, "range", "meaning"],
        [
            [
                field["name"],
                "-" if values[field["name"]] is None else value_text(values[field["name"]]),
                ", ".join(filter(None, [field["type"], field["range"]])),
                field["description"],
            ]
            for field in fields
        ],
        right=[heading],
        text=["range", "meaning"],
    )


def _print_sets(found: dict[str, Any]) -> None:
    """One row a set, with what differs from the defaults."""
    defaults = {field["name"]: field["default"] for field in found["fields"]}
    print_table(
        ["set", "values that are not the default"],
        [
            [name, " ".join(setting_text(each, value) for each, value in values.items() if value != defaults[each])]
            for name, values in found["sets"].items()
        ],
        text=["values that are not the default"],
    )
    say(f"Set {found['default_set']} is used unless --hparams-set names another.")
