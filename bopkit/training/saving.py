"""The model files of a run: the best network so far, and what is kept at the end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bopkit.artifacts.keras_file import save_model
from bopkit.progress import Progress
from bopkit.runs.directory import RunDirectory
from bopkit.training.evaluated_network import EvaluatedNetwork
from bopkit.training.history import row_of_model
from bopkit.training.plan import TrainingPlan


class ModelSaver:
    """Writes model files: float32 networks of one device, however they were trained.

    Args:
        plan: The run.
        run: Its directory.
        evaluated: The network that is validated.
        progress: Takes a warning.
    """

    def __init__(self, plan: TrainingPlan, run: RunDirectory, evaluated: EvaluatedNetwork, progress: Progress):
        self._plan = plan
        self._run = run
        self._progress = progress
        self._evaluated = evaluated
        self._plain = evaluated.model
        if plan.placement.replicas > 1:
            self._plain = evaluated.another()

    def save_best(self, row: Mapping[str, Any]) -> None:
        """Save the network that was just validated, with its figures, as the best so far."""
        if self._take_weights():
            self._write(row, self._run.model_file)

    def finish(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Save the network at the end of a run; the last file says that the run is finished.

        Args:
            rows: Those of all epochs.

        Returns:
            The row of the network in `model.h5`.
        """
        run = self._run
        row, last = row_of_model(self._plan, rows), rows[-1]
        if not self._evaluated.has_weights:
            self._evaluated.update()
        if not self._take_weights():
            return row
        if self._plan.has_validation_pictures and not run.model_file.exists():
            self._progress(f"Warning: {run.model_file}, the best network, is missing: the last network takes its place")
            row = last
        if row["epoch"] == last["epoch"]:
            self._write(row, run.model_file)
        self._write(last, run.last_model_file)
        return row

    def _take_weights(self) -> bool:
        """Give the plain network the weights of the validated one; says whether this worker writes."""
        weights = self._evaluated.model.get_weights()  # every worker takes part: statistics are spread over them
        if self._plain is not self._evaluated.model and self._plan.placement.is_chief:
            self._plain.set_weights(weights)
        return self._plan.placement.is_chief

    def _write(self, row: Mapping[str, Any], path: Path) -> None:
        save_model(self._plain, self._plan.card(row), path)
