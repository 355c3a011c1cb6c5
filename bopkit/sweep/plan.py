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
from bopkit.sweep.preset import Preset
from bopkit.sweep.space import Choices, Point, Range, Space, check_space, grid_points, read_space

DEFAULT_TRIALS = 20


@dataclasses.dataclass(frozen=True)
class Plan:
    """A sweep with every name resolved.

    Attributes:
        model: As typed.
        dataset: As typed.
        hparams_set: As typed.
        hparams: The user's changes to the set, typed.
        space: What is varied.
        points: The points of a grid; None where the sampler chooses.
        trials: Number of slots.
        pruner: `median` or `none`.
        epochs: Epochs of a trial whose number of epochs is not varied.
        output_dir: The folder of the runs.
        options: Further arguments of `train_model`.
        study_name: The study's, if none is asked for.
    """

    model: str
    dataset: str
    hparams_set: str | None
    hparams: Mapping[str, Any]
    space: Space
    points: list[Point] | None
    trials: int
    pruner: str
    epochs: int
    output_dir: Path
    options: Mapping[str, Any]
    study_name: str

    def params_of(self, slot: int) -> Point:
        """What is fixed before the sampler chooses: a grid's point."""
        return self.points[slot] if self.points is not None else {}

    def definition(self) -> dict[str, Any]:
        """What decides the results: a study goes on only with the same one. More trials may be asked for."""
        free = ("data_dir", "data_cache", "device", "strategy")  # differ from host to host
        values = {
            "model": MODELS.load(self.model).name,
            "dataset": self.dataset,
            "hparams_set": self.hparams_set,
            "hparams": dict(self.hparams),
            "space": {name: values.describe() for name, values in self.space.items()},
            "points": self.points,
            "pruner": self.pruner,
            **{name: value for name, value in self.options.items() if name not in free},
        }
        return json.loads(json.dumps(values))


def plan_sweep(
    model: str | None,
    dataset: str | None,
    *,
    hparams_set: str | None,
    hparams: Mapping[str, Any],
    grid: Mapping[str, str],
    search: Mapping[str, str],
    trials: int | None,
    sampler: str | None,
    pruner: str | None,
    preset: Preset | None,
    output_dir: str | Path | None,
    validationset: bool | None,
    options: Mapping[str, Any],
) -> Plan:
    """Resolve and check a request; arguments as for `run_sweep`, and `options` are further ones of `train_model`.

    Raises:
        UsageError: A name, a value or a range is wrong, or options exclude each other.
    """
    if preset is not None:
        if grid or search or trials or sampler or hparams_set or model not in (None, preset.model):
            raise UsageError(
                "A preset brings its own model, set and values.",
                "Leave out MODEL, --hparams-set, --grid, --search, --trials and --sampler; "
                "--hparams changes what it does not vary.",
            )
        model, dataset, hparams_set = preset.model, dataset or preset.dataset, preset.hparams_set
    if options["strategy"] == "multiworker":
        raise UsageError(
            "A sweep trains no trial on several machines: each of them takes the next trial.",
            "Leave --strategy out; docs/sweep.md shows sweeps on many hosts.",
        )
    if model is None:
        raise UsageError("No model is named.", "Write `bopkit sweep MODEL --dataset NAME`, or --preset paper-5.1.")
    if dataset is None:
        raise UsageError("No dataset is named.", "Add --dataset NAME; `bopkit datasets` lists them.")
    architecture = MODELS.load(model)
    base = override(architecture.hparams(hparams_set), hparams)
    if preset is None:
        space = _read_spaces(grid, search, base)
        points = _choose_points(sampler or ("tpe" if search else "grid"), space, trials)
    else:
        space, points = _space_of(preset.points), list(preset.points)
    for name in space:
        if name in hparams:
            raise UsageError(f"Hyper-parameter {name!r} is both fixed and varied.", "Take it out of --hparams.")
    if points is None:
        check_space(space, base)
    for point in points or []:
        override(base, point)
    searches = points is None
    last = "sweep" if preset is None else preset.name
    return Plan(
        model=model,
        dataset=dataset,
        hparams_set=hparams_set,
        hparams={name: getattr(base, name) for name in hparams},
        space=space,
        points=points,
        trials=len(points) if points is not None else trials or DEFAULT_TRIALS,
        pruner=_choose("pruner", pruner or ("median" if searches else "none"), ("median", "none")),
        epochs=base.epochs,
        output_dir=Path(output_dir or Path("runs", dataset.replace("/", "_"), architecture.name, last)),
        options={**options, "validationset": searches if validationset is None else validationset},
        study_name="-".join(["bopkit", architecture.name, dataset, last]),
    )


def _space_of(points: Iterable[Point]) -> dict[str, Choices | Range]:
    """The values that a preset's points have, by name."""
    values: dict[str, dict[Any, None]] = {}
    for point in points:
        for name, value in point.items():
            values.setdefault(name, {})[value] = None
    return {name: Choices(tuple(found)) for name, found in values.items()}


def _read_spaces(grid: Mapping[str, str], search: Mapping[str, str], base: HParams) -> dict[str, Choices | Range]:
    """What --grid and --search vary together."""
    both = sorted(set(grid) & set(search))
    if both:
        raise UsageError(f"Hyper-parameter {both[0]!r} is in --grid and in --search.", "Leave one of the two out.")
    space = read_space({**grid, **search}, base)
    if not space:
        raise UsageError(
            "Nothing is varied.", "Add for instance --grid 'gamma=1e-2|1e-3', or --search threshold=log:1e-8..1e-5."
        )
    return space


def _choose_points(sampler: str, space: Space, trials: int | None) -> list[Point] | None:
    """The points of a grid; None for a search."""
    if _choose("sampler", sampler, ("grid", "tpe")) == "tpe":
        if trials is not None and trials < 1:
            raise UsageError(f"trials is {trials}.", "Use a number from 1.")
        return None
    points = grid_points(space)
    if trials is not None:
        raise UsageError(
            f"The grid has {len(points)} points, each trained once.", "Leave out --trials, or add --sampler tpe."
        )
    return points


def _choose(kind: str, name: str, known: tuple[str, ...]) -> str:
    if name not in known:
        raise UsageError(f"Unknown {kind} {name!r}.", f"Known: {', '.join(known)}.")
    return name
