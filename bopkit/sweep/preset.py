"""Sweeps of the paper, by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bopkit.errors import UsageError, unknown_name
from bopkit.runs.directory import read_epochs
from bopkit.sweep.result import trial_dir
from bopkit.sweep.space import Point


@dataclasses.dataclass(frozen=True)
class Preset:
    """A sweep with a picture at its end.

    Attributes:
        name: As users type it.
        model: The network.
        dataset: The dataset that is used when none is named.
        hparams_set: The set that the points are laid over.
        points: What is trained, one run each.
        columns: Columns of the picture: title, and the numbers of the points by label.
        figure: The picture's name in the sweep's folder, without ending: PNG and SVG are written.
    """

    name: str
    model: str
    dataset: str
    hparams_set: str
    points: tuple[Point, ...]
    columns: tuple[tuple[str, Mapping[str, int]], ...]
    figure: str


PRESETS = {
    # Helwegen et al. 2019, arXiv 1906.02107, section 5.1 and figure 1. The point of both columns is trained once.
    "paper-5.1": Preset(
        name="paper-5.1",
        model="binarynet",
        dataset="cifar10",
        hparams_set="bop",
        points=(
            {"gamma": 1e-2, "threshold": 1e-6},
            {"gamma": 1e-3, "threshold": 1e-6},
            {"gamma": 1e-4, "threshold": 1e-6},
            {"gamma": 1e-3, "threshold": 0.0},
            {"gamma": 1e-3, "threshold": 1e-5},
        ),
        columns=(
            ("threshold 1e-6", {"gamma 1e-2": 0, "gamma 1e-3": 1, "gamma 1e-4": 2}),
            ("gamma 1e-3", {"threshold 0": 3, "threshold 1e-6": 1, "threshold 1e-5": 4}),
        ),
        figure="figure1",
    )
}


def get_preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        UsageError: There is none.
    """
    if name not in PRESETS:
        raise unknown_name("preset", name, PRESETS, "bopkit sweep --help")
    return PRESETS[name]


def names_of_trials(
    preset: str | None, model: str | None, dataset: str | None, hparams_set: str | None
) -> dict[str, Any]:
    """What all trials are called by: the names given, and the preset's where none is.

    Returns:
        `model`, `dataset` and `hparams_set`, as arguments of `TrainOptions`.

    Raises:
        UsageError: Neither names a model or a dataset, or there is no such preset.
    """
    if preset is not None:
        chosen = get_preset(preset)
        model, dataset = model or chosen.model, dataset or chosen.dataset
        hparams_set = hparams_set or chosen.hparams_set
    if model is None:
        raise UsageError("No model is named.", "Write `bopkit sweep MODEL --dataset NAME`, or --preset paper-5.1.")
    if dataset is None:
        raise UsageError("No dataset is named.", "Add --dataset NAME; `bopkit data list` lists them.")
    return {"model": model, "dataset": dataset, "hparams_set": hparams_set}


def draw_preset(preset: Preset, output_dir: Path) -> list[Path]:
    """Draw the preset's picture from the runs that are in its folder, failed ones as far as they came.

    Args:
        preset: What was swept.
        output_dir: The sweep's folder.

    Returns:
        The files, PNG and SVG; none if no run can be drawn.
    """
    from bopkit.runs.plot import plot_columns

    columns = []
    for title, points in preset.columns:
        runs = {label: trial_dir(output_dir, number) for label, number in points.items()}
        begun = {label: run for label, run in runs.items() if read_epochs(run)}
        if begun:
            columns.append((title, begun))
    return plot_columns(columns, output_dir / preset.figure) if columns else []
