"""The result of a run that was just trained, or that was already finished."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from bopkit.artifacts.artifact import read_card
from bopkit.errors import BopkitError
from bopkit.runs.directory import RunDirectory, read_epochs
from bopkit.tabular import Column, Tabular
from bopkit.text import percent_text
from bopkit.training.history import row_of_model
from bopkit.training.plan import TrainingPlan


@dataclasses.dataclass(frozen=True, repr=False)
class TrainResult(Tabular):
    """What a run left behind.

    Attributes:
        output_dir: The run directory; None for a dry run.
        model_file: The trained network: the best by validation top-1 where pictures are kept for that, else the
            last; None for a dry run.
        metrics: The row of the epoch that it is of, as in metrics.jsonl, but with the validation accuracy of the
            model file, as its card has it: that of the float32 network, also where bfloat16 was trained.
        validation_split: The split that its validation figures are of.
        validation_pictures: Number of its pictures that they are of.
        resumed_after_epochs: Epochs that were trained before this call.
    """

    output_dir: Path | None
    model_file: Path | None
    metrics: dict[str, float]
    validation_split: str
    validation_pictures: int
    resumed_after_epochs: int

    _columns = (
        Column("epoch", "epoch"),
        Column("val top-1", "val_top1", percent_text),
        Column("train top-1", "top1", percent_text),
        Column("loss", "loss", "{:.4f}".format),
        Column("images/s", "images_per_second", "{:,.0f}".format),
    )

    def _title(self) -> str:
        if self.model_file is None:
            return "dry run, nothing was kept"
        return f"{self.model_file}, validated on {self.validation_pictures} pictures of {self.validation_split}"

    def _records(self) -> list[dict[str, Any]]:
        """The history: a row an epoch, as the run directory has it."""
        rows = [] if self.output_dir is None else read_epochs(self.output_dir)
        return [{name: value for name, value in row.items() if not isinstance(value, dict | list)} for row in rows]

    def _shown_records(self) -> list[dict[str, Any]]:
        return [self.metrics] if self.metrics else []


def make_result(plan: TrainingPlan, run: RunDirectory, row: dict[str, Any], resumed_after_epochs: int) -> TrainResult:
    """The result of a run whose `model.h5` is of the epoch of a row."""
    return TrainResult(
        output_dir=run.path,
        model_file=run.model_file,
        metrics=row,
        validation_split=plan.validation_split,
        validation_pictures=plan.validation_pictures,
        resumed_after_epochs=resumed_after_epochs,
    )


def look_up(plan: TrainingPlan, run: RunDirectory) -> TrainResult:
    """The result of a run that was finished before.

    Raises:
        BopkitError: Its rows or its `model.h5` are gone.
    """
    rows = run.epochs()
    run.check_epochs(max(len(rows), 1))
    if not run.model_file.exists():
        raise BopkitError(
            f"{run.path} is finished, but its {run.model_file.name} is missing.",
            f"Use {run.last_model_file}, the last network.",
        )
    card = read_card(run.model_file)
    row = {**row_of_model(plan, rows), **(card.accuracy if card else {})}
    return make_result(plan, run, row, resumed_after_epochs=len(rows))
