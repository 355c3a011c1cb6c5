"""Exact rewrites of a network before LCE converts it: each changes no output.

Each pass takes a flat Keras network and returns one, with the names of the layers that it changed. The order
matters: what one pass takes out may separate what the next one looks for.
"""

from __future__ import annotations

from collections.abc import Callable

from bopkit.export.passes.graph import Model, flatten
from bopkit.export.passes.identities import remove_identities
from bopkit.export.passes.pooling import normalise_before_pooling
from bopkit.export.passes.thresholds import norms_to_thresholds
from bopkit.export.report import PassReport

PASSES: dict[str, Callable[[Model], tuple[Model, list[str]]]] = {
    "identity removal": remove_identities,
    "pooling on packed bits": normalise_before_pooling,
    "batch norm to threshold": norms_to_thresholds,
}
"""Every pass by its name in the report, in the order in which they run."""


def run_passes(network: Model) -> tuple[Model, list[PassReport]]:
    """Run all passes; the new network, which shares its layers with the old one, and what each pass did."""
    network = flatten(network)
    reports = []
    for name, run in PASSES.items():
        network, layers = run(network)
        reports.append(PassReport(name, tuple(layers), None))
    return network, reports
