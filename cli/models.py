"""`bopkit models`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from bopkit.cli.arguments import Json, complete_model
from bopkit.cli.output import print_json, print_table, size_text


def models(
    name: Annotated[str | None, typer.Argument(help="One network.", autocompletion=complete_model)] = None,
    json: Json = False,
) -> None:
    """List the networks: size, operations, 1-bit floor, published accuracy."""
    from bopkit.catalogue import list_models

    found = list_models(name)
    if json:
        print_json(found)
    elif name:
        _print_one(found[0])
    else:
        _print_all(found)


def _print_all(found: list[dict[str, Any]]) -> None:
    print_table(
        ["name", "input", "params", "binary", "binary MACs", "other MACs", "1-bit floor", "published top-1"],
        [
            [
                ", ".join([model["name"], *model["aliases"]]),
                "x".join(map(str, model["input_shape"])),
                f"{model['params']:,}",
                f"{model['binary_params'] / model['params']:.1%}",
                f"{model['binary_macs'] / 1e6:,.0f} M",
                f"{(model['mixed_macs'] + model['float_macs']) / 1e6:,.0f} M",
                size_text(model["floor_bytes"]),
                f"{model['published'][0]['top1_percent']} % ({model['published'][0]['dataset']})"
                if model["published"]
                else "-",
            ]
            for model in found
        ],
        right=["params", "binary", "binary MACs", "other MACs", "1-bit floor"],
        text=["name", "published top-1"],
        important=["published top-1", "params", "1-bit floor", "binary MACs", "input", "binary"],
    )


def _print_one(model: dict[str, Any]) -> None:
    name = ", ".join([model["name"], *model["aliases"]])
    rows = [
        ["network", f"{model['title']}, {model['paper']}"],
        ["input", " x ".join(map(str, model["input_shape"]))],
        ["classes", str(model["classes"])],
        *(_count_rows(model) if "params" in model else []),
        ["hyper-parameter sets", f"{', '.join(model['sets'])} (default: {model['default_set']})"],
    ]
    for published in model["published"]:
        set_name = f", set {published['hparams_set']}" if published["hparams_set"] else ""
        status = "reproduced" if published["reproduced"] else "not yet reproduced here"
        rows.append(
            [
                "published top-1",
                f"{published['top1_percent']} % on {published['dataset']}{set_name}: {published['source']}; {status}",
            ]
        )
    print_table(["name", name], rows, text=["name", name])


def _count_rows(model: dict[str, Any]) -> list[list[str]]:
    return [
        ["parameters", f"{model['params']:,}, {model['binary_params']:,} of them binary"],
        ["1-bit floor", f"{size_text(model['floor_bytes'])} ({model['floor_bytes']:,} bytes)"],
        ["MACs, binary weights and inputs", f"{model['binary_macs']:,}"],
        ["MACs, binary weights, real inputs", f"{model['mixed_macs']:,}"],
        ["MACs, real weights", f"{model['float_macs']:,}"],
    ]
