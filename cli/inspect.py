"""`bopkit inspect`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bopkit.cli.arguments import Custom, Json
from bopkit.cli.output import print_json, print_table, say, show, size_text

if TYPE_CHECKING:
    from bopkit.export.inspection import Inspection

MOST_LETTERS = 300
"""Of a value of a card: ImageNet has a thousand class names."""


def inspect(
    artifact: Annotated[
        Path,
        typer.Argument(
            metavar="ARTIFACT", help="A .h5, .keras or .tflite file, a SavedModel, or pull:NAME.", show_default=False
        ),
    ],
    html: Annotated[Path | None, typer.Option("--html", help="Also write a page with a bar chart.")] = None,
    custom: Custom = None,
    json: Json = False,
) -> None:
    """Show what a file contains, without running it: layers, bits, bytes, why layers are not packed, the model card."""
    from bopkit.export.inspection import inspect_artifact
    from bopkit.export.inspection.html import write_page

    inspection = inspect_artifact(artifact, custom or (), say)
    if html is not None:
        write_page(inspection, html)
        say(f"Wrote {html}.")
    if json:
        print_json(inspection.to_dict())
        return
    _print(inspection)
    for note in inspection.notes:
        say(note)


def _print(inspection: Inspection) -> None:
    print_table(
        ["layer", "type", "shape", "input bits", "value bits", "stored bits", "size", "packed", "why not packed"],
        [
            [
                layer.name,
                layer.type,
                "x".join(map(str, layer.shape)),
                "-" if layer.input_bits is None else str(layer.input_bits),
                str(layer.value_bits),
                str(layer.stored_bits),
                size_text(layer.size_bytes),
                "packed" if layer.packed else "no",
                layer.reason,
            ]
            for layer in inspection.layers
        ],
        title=f"{inspection.kind}: {inspection.path}",
        right=["input bits", "value bits", "stored bits", "size"],
        text=["why not packed"],
        important=["packed", "size", "shape", "why not packed", "stored bits", "input bits", "value bits"],
    )
    over = f" ({inspection.size_bytes / inspection.floor_bytes:.2f} x)" if inspection.floor_bytes else ""
    show(
        f"size {inspection.size_bytes:,} bytes, weights {inspection.weight_bytes:,} bytes, 1-bit floor "
        f"{inspection.floor_bytes:,} bytes{over}; {inspection.weights:,} weights, {inspection.binary_weights:,} binary"
    )
    show(f"inputs: {'; '.join(inspection.inputs)}")
    show(f"outputs: {'; '.join(inspection.outputs)}")
    show(f"checksum: {'correct' if inspection.has_checksum else 'none'}")
    if inspection.card is None:
        show("card: none")
    for kind, facts in (("card", inspection.card), ("export", inspection.record)):
        for name, value in (facts or {}).items():
            text = _fact_text(value)
            if text:
                show(f"{kind} {name}: {text if len(text) <= MOST_LETTERS else text[: MOST_LETTERS - 3] + '...'}")


def _fact_text(value: object) -> str:
    """A value of a card in plain text; empty for what it does not say."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {each}" for name, each in value.items() if each is not None)
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
