"""Exact rewrites of a network before LCE converts it: each changes no output.

Each pass takes a flat Keras network and returns one, with the names of the layers that it changed. The order
matters: what one pass takes out may separate what the next one looks for.
"""

from __future__ import annotations

from collections.abc import Callable

from bopkit.export.network.passes.identities import remove_identities
from bopkit.export.network.passes.keras_graph import Model
from bopkit.export.network.passes.pooling import normalise_before_pooling
from bopkit.export.network.passes.thresholds import norms_to_thresholds

PASSES: dict[str, Callable[[Model], tuple[Model, list[str]]]] = {
    "identity removal": remove_identities,
    "max pool after batch norm": normalise_before_pooling,
    "batch norm to threshold": norms_to_thresholds,
}
"""Every pass by its name in the report, in the order in which they run."""


def run_passes(network: Model, leave_out: str | None = None) -> tuple[Model, dict[str, list[str]]]:
    """Run all passes but the one to leave out.

    Args:
        network: A flat network (`keras_graph.flatten`); it stays as it is, and shares its layers with the new one.
        leave_out: Name of a pass.

    Returns:
        The new network, and the names of the layers that each pass changed.
    """
    changed: dict[str, list[str]] = {}
    for name, run in PASSES.items():
        if name != leave_out:
            network, changed[name] = run(network)
    return network, changed
