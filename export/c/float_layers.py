"""Operators of float32 in C."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from bopkit.export.c.graph import Graph, Operator

if TYPE_CHECKING:
    from bopkit.export.c.lowering import Lowering


def find(graph: Graph, operator: Operator) -> Callable[[Lowering, Operator], None] | None:
    """What lowers an operator that answers float32; None where there is none."""
    return None
