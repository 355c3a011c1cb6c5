"""Optimizers: one that flips the binary kernels, Adam on the rest, every variable claimed exactly once.

`Bop`, `Bop2nd`, `CEMA`, `Bold`, `FlippingOptimizer` and larq's `CaseOptimizer` are loaded when they are first asked
for, so that importing this package imports no TensorFlow.
"""

from __future__ import annotations

from typing import Any

from bopkit.binary_kernels import binary_kernel, binary_layers, is_marked, set_binary_kernels_to_signs
from bopkit.keras2 import import_tensorflow
from bopkit.optim.claims import Claim, make_optimizer
from bopkit.optim.schedules import hyper_values
from bopkit.own_optimizer import OwnOptimizer

__all__ = [
    "CEMA",
    "Bold",
    "Bop",
    "Bop2nd",
    "CaseOptimizer",
    "Claim",
    "FlippingOptimizer",
    "OwnOptimizer",
    "binary_kernel",
    "binary_layers",
    "hyper_values",
    "is_marked",
    "make_optimizer",
    "set_binary_kernels_to_signs",
]


def __getattr__(name: str) -> Any:
    if name in ("Bop", "Bop2nd", "CEMA", "Bold", "FlippingOptimizer"):
        from bopkit.optim import flipping

        return getattr(flipping, name)
    if name == "CaseOptimizer":
        import_tensorflow()
        import larq.optimizers

        return larq.optimizers.CaseOptimizer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
