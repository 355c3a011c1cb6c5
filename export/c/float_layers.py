"""Operators of float32 in C."""

from __future__ import annotations

from bopkit.export.c.graph import Graph, Operator
from bopkit.export.c.program_builder import Layer


def find(graph: Graph, operator: Operator) -> Layer | None:
    """What lowers an operator that answers float32; None where there is none."""
    return None
