"""A sweep with every name resolved and every value checked, before anything is trained or written."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bopkit.errors import UsageError
from bopkit.hparams import HParams, override
from bopkit.registry import MODELS
from bopkit.runs.directory import OF_BEFORE
from bopkit.seeds import read_seeds
from bopkit.sweep.command import changed_settings
from bopkit.sweep.options import SweepOptions
from bopkit.sweep.preset import Preset, get_preset
from bopkit.sweep.result import trial_dir
from bopkit.sweep.space import Choices, Point, Range, Space, check_space, grid_points, read_space
from bopkit.sweep.storage import default_storage
from bopkit.training.options import TrainOptions
from bopkit.training.teacher_files import teacher_checksum

DEFAULT_TRIALS = 20

RECORDED = ("preprocess_fn", "precision", "limit_steps", "seed", "validationset", "batch_norm_pictures")
"""Fields of `TrainOptions` that every study records, besides the names and hyper-parameters."""
RECORDED_IF_CHANGED = (
    *("dataset_version", "train_split", "validation_split", "jit", "accumulate", "sync_batch_norm", "deterministic"),
    *("early_stop", "teacher_preprocess_fn", "input_shape", "best_by"),
)
"""Further ones that decide the results; recorded where they are not the default, so that older studies go on."""


@dataclasses.dataclass(frozen=True)
class SweepPlan:
    """A sweep with every name resolved.

    Attributes:
        training: What all trials have in common; its hyper-parameters are the user's changes to the set, typed.
        space: What is varied.
        points: The points of a grid; None where the sampler chooses.
        trials: Number of slots.
        seeds: Seeds that every setting is trained with; None for one run a trial, with the seed of `training`.
        pruner: `median` or `none`.
        epochs: Epochs of a trial whose number of epochs is not varied.
        output_dir: The folder of the runs.
        storage: URL of the database.
        study: Name of the study in it.
        preset: The sweep of the paper that it is, if it is one.
    """

    training: TrainOptions
    space: Space
    points: list[Point] | None
    trials: int
    seeds: tuple[int, ...] | None
    pruner: str
    epochs: int
    output_dir: Path
    storage: str
    study: str
    preset: Preset | None

    def params_of(self, slot: int) -> Point:
        """What is fixed before the sampler chooses: a grid's point."""
        return self.points[slot] if self.points is not None else {}

    def runs_of(self, slot: int) -> dict[int, Path]:
        """The run directories of a slot by their seeds."""
        folder = trial_dir(self.output_dir, slot)
        if self.seeds is None:
            return {self.training.seed: folder}
        return {seed: folder / f"seed-{seed}" for seed in self.seeds}

    def going_on_with(self, definition: Mapping[str, Any] | None) -> SweepPlan:
        """The same sweep as it was begun: settings that came later are as its first trials were trained with.

        Args:
            definition: That of the study; None for a new one.
        """
        if definition is None:
            return self
        of_before: dict[str, Any] = {
            name: value
            for name, value in OF_BEFORE.items()
            if name not in definition and getattr(self.training, name) is None
        }
        return dataclasses.replace(self, training=dataclasses.replace(self.training, **of_before))

    def definition(self) -> dict[str, Any]:
        """What decides the results: a study goes on only with the same one. More trials may be asked for.

        Raises:
            BopkitError: A teacher is missing.
        """
        values = {
            "model": MODELS.load(self.training.model).name,
            "dataset": self.training.dataset_name,
            "hparams_set": self.training.hparams_set,
            "hparams": self.training.hparams,
            "space": {name: values.describe() for name, values in self.space.items()},
            "points": self.points,
            "pruner": self.pruner,
        }
        values.update({name: getattr(self.training, name) for name in RECORDED})
        changed = changed_settings(self.training)
        values.update({name: changed[name] for name in RECORDED_IF_CHANGED if name in changed})
        if self.training.teacher:  # by their content: another file may have taken the place of one
            values["teacher"] = [teacher_checksum(path) for path in self.training.teacher]
        if self.seeds is not None:  # studies from before have no such entry
            values["seeds"] = self.seeds
        return json.loads(json.dumps(values))


def plan_sweep(options: SweepOptions) -> SweepPlan:
    """Resolve and check a request.

    Raises:
        UsageError: A name, a value or a range is wrong, or a hyper-parameter is both fixed and varied.
    """
    training = options.training
    architecture = MODELS.load(training.model)
    base = override(architecture.hparams(training.hparams_set), training.hparams)
    preset = None if options.preset is None else get_preset(options.preset)
    if preset is None:
        space = read_space({**options.grid, **options.search}, base)
        points = None if options.is_search else _points_of_grid(space, options.trials)
    else:
        space, points = _space_of(preset.points), list(preset.points)
    _check_values(space, points, base, training)
    validationset = options.validationset
    if validationset is None:
        validationset = training.validationset or (options.is_search and not training.validation_split)
    last = "sweep" if preset is None else preset.name
    output_dir = Path(
        options.output_dir or Path("runs", training.dataset_name.replace("/", "_"), architecture.name, last)
    )
    return SweepPlan(
        training=dataclasses.replace(
            training,
            hparams={name: getattr(base, name) for name in training.hparams},
            validationset=validationset,
        ),
        space=space,
        points=points,
        seeds=None if options.seeds is None else read_seeds(options.seeds),
        trials=len(points) if points is not None else options.trials or DEFAULT_TRIALS,
        pruner=options.pruner or ("median" if options.is_search else "none"),
        epochs=base.epochs,
        output_dir=output_dir,
        storage=options.storage or default_storage(output_dir),
        study=options.study or "-".join(["bopkit", architecture.name, training.dataset_name, last]),
        preset=preset,
    )


def _points_of_grid(space: Space, trials: int | None) -> list[Point]:
    """All combinations of a grid."""
    points = grid_points(space)
    if trials is not None:
        raise UsageError(
            f"The grid has {len(points)} points, each trained once.", "Leave out --trials, or add --sampler tpe."
        )
    return points


def _check_values(space: Space, points: list[Point] | None, base: HParams, training: TrainOptions) -> None:
    """Refuse values that no trial may have, before the first one begins."""
    for name in space:
        if name in training.hparams:
            raise UsageError(f"Hyper-parameter {name!r} is both fixed and varied.", "Take it out of --hparams.")
    if points is None:
        check_space(space, base)
    for point in points or []:
        override(base, point)


def _space_of(points: Iterable[Point]) -> dict[str, Choices | Range]:
    """The values that a preset's points have, by name."""
    values: dict[str, dict[Any, None]] = {}
    for point in points:
        for name, value in point.items():
            values.setdefault(name, {})[value] = None
    return {name: Choices(tuple(found)) for name, found in values.items()}
