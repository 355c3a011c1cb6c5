"""`bopkit models`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from bopkit.cli.arguments import Json, complete_model
from bopkit.cli.output import print_json, print_table, say, show, size_text

NUMBERS = ["params", "1-bit MACs", "other MACs", "1-bit floor", "top-1"]


def models(
    name: Annotated[
        str | None, typer.Argument(help="One network, block by block.", autocompletion=complete_model)
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(
            "--sort",
            metavar="KEY",
            help="Any key of --json with one value, such as name, params or floor_bytes; other_macs; top1_percent.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """List the networks by size of pictures and family: size, operations, 1-bit floor, published accuracy."""
    from bopkit.catalogue import list_blocks, list_models
    from bopkit.errors import UsageError

    if name and sort:
        raise UsageError("--sort is for the list of all networks.", "Leave out the name, or --sort.")
    found = list_models(name, sort)
    if name:
        (model,) = found
        say("Building the network")
        blocks = list_blocks(name)
        if json:
            print_json([{**model, "blocks": blocks}])
        else:
            _print_one(model)
            show()
            _print_blocks(blocks)
    elif json:
        print_json(found)
    elif sort:
        print_table(
            ["name", "input", *NUMBERS],
            [[model["name"], _shape(model["input_shape"][:2]), *_numbers(model)] for model in found],
            right=NUMBERS,
            important=["top-1", "1-bit floor", "params", "1-bit MACs", "input"],
        )
    else:
        for number, (shape, group) in enumerate(itertools.groupby(found, lambda model: model["input_shape"])):
            if number:
                show()
            _print_group(shape, list(group))


def _print_group(shape: Sequence[int], group: list[dict[str, Any]]) -> None:
    datasets = dict.fromkeys(published["dataset"] for model in group for published in model["published"][:1])
    measured = f"; top-1 on {', '.join(datasets)}" if datasets else ""
    print_table(
        ["name", *NUMBERS],
        [[model["name"], *_numbers(model)] for model in group],
        title=f"Pictures of {shape[0]} x {shape[1]} pixels{measured}",
        right=NUMBERS,
        important=["top-1", "1-bit floor", "params", "1-bit MACs"],
    )


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _numbers(model: dict[str, Any]) -> list[str]:
    """The cells below `NUMBERS`."""
    return [
        f"{model['params'] / 1e6:.2f} M",
        _millions(model["binary_macs"]),
        _millions(model["mixed_macs"] + model["float_macs"]),
        size_text(model["floor_bytes"]),
        f"{model['published'][0]['top1_percent']} %" if model["published"] else "-",
    ]


def _millions(macs: int) -> str:
    if macs < 1e5:
        return f"{macs / 1e3:.1f} k"
    return f"{macs / 1e6:,.0f} M" if macs >= 1e7 else f"{macs / 1e6:.1f} M"


def _print_one(model: dict[str, Any]) -> None:
    name = ", ".join([model["name"], *model["aliases"]])
    rows = [
        ["network", f"{model['title']}, {model['paper']}"],
        ["input", " x ".join(map(str, model["input_shape"]))],
        ["classes", str(model["classes"])],
        *(_count_rows(model) if "params" in model else []),
        ["hyper-parameter sets", f"{', '.join(model['sets'])} (default: {model['default_set']})"],
    ]
    if model["teacher"]:
        rows.append(["teacher of the paper", f"{model['teacher']}: `bopkit train {model['name']} --teacher MODEL`"])
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


def _params(count: int) -> str:
    return f"{count / 1e6:.2f} M" if count >= 1e6 else f"{count / 1e3:.1f} k" if count else ""


def _print_blocks(blocks: list[dict[str, Any]]) -> None:
    numbers = ["params", "1 bit", "1-bit MACs", "other MACs"]
    print_table(
        ["block", "kernels", "output", *numbers],
        [
            [
                block["name"],
                block["kernels"],
                _shape(block["output_shape"]),
                _params(block["params"]),
                f"{block['binary_params'] / block['params']:.1%}" if block["binary_params"] else "",
                _millions(block["binary_macs"]) if block["binary_macs"] else "",
                _millions(macs) if (macs := block["mixed_macs"] + block["float_macs"]) else "",
            ]
            for block in blocks
        ],
        right=numbers,
        text=["kernels"],
        important=["output", "kernels", *numbers],
    )
