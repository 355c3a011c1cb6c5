"""A folder of C sources as `bopkit export --c` leaves one, of a network so small that it is written by hand."""

import json
from pathlib import Path

from bopkit.artifacts.c_sources import MANIFEST, CSources, Port
from bopkit.artifacts.card import ModelCard

SHAPE = (32, 32, 1)
CARD = ModelCard("tiny", SHAPE, (-1.0, 1.0), "shift", dataset="digits", class_names=tuple("0123456789"))

HEADER = """
#include <stdint.h>
#define TINY_ARENA_BYTES 128
void tiny_run(const {type} *input, int8_t *output);
void tiny_run_in(void *arena, const {type} *input, int8_t *output);
"""
SOURCE = """
#include "tiny.h"

static const int8_t tiny_weights[32] = {{1, -2, 3, -4, 5, -6, 7, -8, 9, -10}};
static uint32_t tiny_arena[TINY_ARENA_BYTES / 4];

void tiny_run_in(void *arena, const {type} *input, int8_t *output) {{
  int32_t *sums = arena;
  for (int column = 0; column < 32; column++) {{
    sums[column] = 0;
    for (int row = 0; row < 32; row++) sums[column] += input[32 * row + column] * tiny_weights[(row + column) % 32];
  }}
  for (int label = 0; label < 10; label++) output[label] = (int8_t)((sums[3 * label] + sums[3 * label + 1]) / 256);
{last_line}
}}

void tiny_run(const {type} *input, int8_t *output) {{ tiny_run_in(tiny_arena, input, output); }}
"""
OTHERWISE_ON_ARM = "#ifdef __arm__\n  output[0] ^= 1;\n#endif"


def write_c_sources(folder: Path, kind: str = "int8", last_line: str = "", card: ModelCard | None = CARD) -> Path:
    """Write the folder.

    Args:
        folder: It must not be there.
        kind: What it takes: `int8` or `uint8`.
        last_line: Of the function that computes.
        card: Its card.
    """
    folder.mkdir(parents=True)
    values = {"type": f"{kind}_t", "last_line": last_line}
    (folder / "tiny.h").write_text(HEADER.format(**values))
    (folder / "tiny.c").write_text(SOURCE.format(**values))
    sources = CSources(
        folder=folder,
        name="tiny",
        input=Port(kind, SHAPE, 1 / 127 if kind == "int8" else 0.0, 0),
        output=Port("int8", (10,), 1 / 16, 0),
        sources=("tiny.c",),
        arena_bytes=128,
        arena_lower_bound_bytes=128,
        weight_bytes=32,
        constant_bytes=0,
        binary_macs=0,
        int8_macs=1024,
        float_macs=0,
        floor_bytes=128,
        card=card,
    )
    (folder / MANIFEST).write_text(json.dumps(sources.manifest()))
    return folder
