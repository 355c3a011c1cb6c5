"""`bopkit hparams`."""

from __future__ import annotations

from typing import Annotated

import typer

from bopkit.cli.arguments import Json, Model
from bopkit.cli.output import print_json, print_table


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
        return
    print_table(
        ["hyper-parameter", "type", "range", *found["sets"], "meaning"],
        [
            [
                field["name"],
                field["type"],
                field["range"],
                *(
                    "-" if values[field["name"]] is None else str(values[field["name"]])
                    for values in found["sets"].values()
                ),
                field["description"],
            ]
            for field in found["fields"]
        ],
        right=found["sets"],
    )
