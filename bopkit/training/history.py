"""What the rows of a run say about its next epochs: what is best so far, and whether it is time to stop."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from bopkit.runs.directory import Place, RunDirectory
from bopkit.training.plan import TrainingPlan


@dataclasses.dataclass
class History:
    """The rows that a run goes on from.

    Attributes:
        best_by: The figure of an epoch that tells which is the best: see `TrainOptions`.
        epochs: The rows of the finished epochs.
        flip_ratios: Flip ratios of the measured steps of the unfinished epoch.
        resumed_images_per_second: Speed at the last measured step before a resume; 0 if there is none.
    """

    best_by: str
    epochs: list[dict[str, Any]]
    flip_ratios: list[float]
    resumed_images_per_second: float

    @property
    def mean_flip_ratio(self) -> float:
        """Of the measured steps of the unfinished epoch; 0 if there is none."""
        return sum(self.flip_ratios) / max(len(self.flip_ratios), 1)

    @property
    def last_flip_ratio(self) -> float | None:
        """Of the last measured step of the unfinished epoch."""
        return self.flip_ratios[-1] if self.flip_ratios else None

    def is_improved_by(self, row: dict[str, Any]) -> bool:
        """Whether an epoch is better than all before it."""
        return all(goodness(row, self.best_by) > goodness(before, self.best_by) for before in self.epochs)

    def add_epoch(self, row: dict[str, Any]) -> None:
        """Take the row of the epoch that was unfinished; the next one begins."""
        self.epochs.append(row)
        self.flip_ratios = []

    def has_stalled(self, early_stop: int | None) -> bool:
        """Whether the last `early_stop` epochs were no better than one before them; None for never."""
        values = [goodness(row, self.best_by) for row in self.epochs]
        if early_stop is None or not values:
            return False
        return len(values) - 1 - values.index(max(values)) >= early_stop


def goodness(row: Mapping[str, Any], best_by: str) -> float:
    """A figure of an epoch's row, so that more is better."""
    value = float(row[best_by])
    return -value if best_by == "val_loss" else value


def read_history(run: RunDirectory, place: Place, steps_per_epoch: int, best_by: str) -> History:
    """The rows up to a place: a crash may have left later ones, which are going to be trained again."""
    rows = run.metrics()
    trained_steps = place.epoch * steps_per_epoch + place.step
    measured = [row for row in rows if row["kind"] == "step" and row["epoch"] == place.epoch + 1]
    measured = [row for row in measured if row["step"] <= trained_steps]
    return History(
        best_by=best_by,
        epochs=[row for row in rows if row["kind"] == "epoch" and row["epoch"] <= place.epoch],
        flip_ratios=[row["flip_ratio"] for row in measured],
        resumed_images_per_second=measured[-1]["images_per_second"] if measured else 0.0,
    )


def row_of_model(plan: TrainingPlan, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Of the rows of all epochs that of the network in `model.h5`: the best where pictures are kept for validation."""
    if not plan.has_validation_pictures:
        return rows[-1]
    return max(rows, key=lambda row: goodness(row, plan.options.best_by))
