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
    defaults = {field["name"]: field["default"] for field in found["fields"]}
    if json:
        print_json(found)
    elif set_name:
        _print_fields(found["fields"], "value", found["sets"][set_name])
    else:
        _print_fields(found["fields"], "default", defaults)
        show()
        _print_sets(found, defaults)


def _print_fields(fields: list[dict[str, Any]], heading: str, values: dict[str, Any]) -> None:
    """One row a hyper-parameter; of schedules those that are set, and how the others are called."""
    shown = [field for field in fields if field["schedule_of"] is None or values[field["name"]] is not None]
    print_table(
        ["hyper-parameter", heading, "range", "meaning"],
        [
            [
                field["name"],
                "-" if values[field["name"]] is None else value_text(values[field["name"]]),
                _range(field),
                field["description"],
            ]
            for field in shown
        ],
        right=[heading],
        text=["range", "meaning"],
    )
    scheduled = list(dict.fromkeys(field["schedule_of"] for field in fields if field["schedule_of"]))
    show()
    print_table(
        ["schedule", "range", "meaning"],
        [
            ["X", " or ".join(scheduled), "a hyper-parameter that may follow a schedule"],
            *(
                [
                    part["name"].replace(scheduled[0], "X", 1),
                    "as X" if part["name"].endswith("_end") else _range(part),
                    part["description"].replace(scheduled[0], "X"),
                ]
                for part in fields
                if part["schedule_of"] == scheduled[0]
            ),
        ],
        text=["range", "meaning"],
    )


def _range(field: dict[str, Any]) -> str:
    """Type and limits."""
    return ", ".join(filter(None, [field["type"], field["range"]]))


def _print_sets(found: dict[str, Any], defaults: dict[str, Any]) -> None:
    """One row a set, with what differs from the defaults."""
    print_table(
        ["set", "values that are not the default"],
        [
            [name, " ".join(setting_text(each, value) for each, value in values.items() if value != defaults[each])]
            for name, values in found["sets"].items()
        ],
        text=["values that are not the default"],
    )
    say(f"Set {found['default_set']} is used unless --hparams-set names another.")
