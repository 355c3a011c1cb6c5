"""Optimizers: Bop on the binary kernels, Adam on the rest, every variable claimed exactly once.

`from bopkit.optim import Bop, CaseOptimizer` gives larq's classes; they are loaded when they are first asked for, so
that importing this package imports no TensorFlow.
"""

from __future__ import annotations

from typing import Any

from bopkit.keras2 import import_tensorflow
from bopkit.optim.claims import Claim, make_optimizer
from bopkit.optim.kernels import binary_kernel, binary_layers, set_binary_kernels_to_signs

__all__ = [
    "Bop",
    "CaseOptimizer",
    "Claim",
    "binary_kernel",
    "binary_layers",
    "make_optimizer",
    "set_binary_kernels_to_signs",
]


def __getattr__(name: str) -> Any:
    if name in ("Bop", "CaseOptimizer"):
        import_tensorflow()
        import larq.optimizers

        return getattr(larq.optimizers, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
