"""The figures of one run that its curves are drawn from, read from metrics.jsonl.

pi_t = ln(flips at step t / weights of the layer + e^-9) (eq. 7 of arXiv 1906.02107), from -9 (none flips) to 0 (all
flip).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bopkit.errors import BopkitError, UsageError
from bopkit.runs.directory import is_run, read_metrics


@dataclasses.dataclass(frozen=True)
class Curves:
    """What one run is drawn from.

    Attributes:
        layer: Name of the binary layer whose pi_t it is.
        epochs: float [n], finished epochs, from 1.
        top1: float [n], training top-1 in percent; NaN where an epoch has none.
        val_top1: float [n], validation top-1 in percent; NaN where an epoch has none.
        flip_epochs: float [m], when pi_t was measured, in epochs from the start of the run.
        pi_t: float [m], natural logarithm.
    """

    layer: str
    epochs: np.ndarray
    top1: np.ndarray
    val_top1: np.ndarray
    flip_epochs: np.ndarray
    pi_t: np.ndarray


def read_curves(path: str | Path, layer: str | None = None) -> Curves:
    """Read what is drawn of one run.

    Args:
        path: A run directory.
        layer: Name of a binary layer; None for the last one.

    Raises:
        UsageError: It is no run, or has no such layer.
        BopkitError: It has no finished epoch or no measurement of pi_t, or its metrics are damaged.
    """
    path = Path(path)
    check_run(path)
    try:
        return _curves_in(path, read_metrics(path), layer)
    except (KeyError, TypeError, ValueError) as error:
        hint = "Restore it from a copy, or leave the run out."
        raise BopkitError(f"The metrics.jsonl of {path} is damaged.", hint) from error


def check_run(path: Path) -> None:
    """Make sure that a folder is a run directory.

    Raises:
        UsageError: It is not.
    """
    if not is_run(path):
        raise UsageError(
            f"{path} is not a run directory.", "`bopkit runs FOLDER` lists the run directories below a folder."
        )


def _curves_in(path: Path, rows: Sequence[dict[str, Any]], layer: str | None) -> Curves:
    """The curves in the rows of a run's metrics; of rows for the same step the last one counts."""
    epochs = {row["epoch"]: row for row in rows if row["kind"] == "epoch"}
    steps = {row["step"]: row["layers"] for row in rows if row["kind"] == "step" and row.get("layers")}
    if not epochs:
        raise BopkitError(f"{path} has no finished epoch.", "Resume it with the same `bopkit train` command.")
    if not steps:
        hint = "Train it with a smaller --log-every."
        raise BopkitError(f"{path} has no step rows in its metrics.jsonl, so its pi_t is unknown.", hint)
    known = list(steps[max(steps)])
    if layer is not None and layer not in known:
        raise UsageError(f"{path} has no binary layer {layer!r}.", f"Known: {', '.join(known)}.")
    name = layer or known[-1]
    ordered = [epochs[epoch] for epoch in sorted(epochs)]
    measured = [step for step in sorted(steps) if name in steps[step]]
    return Curves(
        layer=name,
        epochs=np.array([row["epoch"] for row in ordered], float),
        top1=100 * np.array([row.get("top1", np.nan) for row in ordered], float),
        val_top1=100 * np.array([row.get("val_top1", np.nan) for row in ordered], float),
        flip_epochs=np.array(measured) * ordered[-1]["epoch"] / ordered[-1]["step"],
        pi_t=np.array([steps[step][name]["pi_t"] for step in measured], float),
    )
