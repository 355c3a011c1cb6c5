"""Runs that differ in nothing but the seed, as one: mean and 95 % interval of what they reached."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bopkit.metrics import mean_interval
from bopkit.runs.summary import LARGEST_FIRST, RunSummary
from bopkit.tabular import Column, Tabular, in_order, record
from bopkit.text import count_text, percent_text

MEANS = ("best_val_top1", "val_top1", "val_top1_spread", "top1", "loss", "images_per_second")
"""Figures of a run whose mean a group has."""


@dataclasses.dataclass(frozen=True, repr=False)
class RunGroup(Tabular):
    """Finished runs that differ in nothing but the seed, or one run of any state. A figure that a run lacks is None.

    Attributes:
        runs: The runs, each with another seed.
        best_val_top1: Mean of the runs' highest validation top-1, 0 to 1.
        best_val_top1_interval: Ends of its 95 % interval over seeds (Student's t); None for one run.
        val_top1: Mean of their validation top-1 after the last epoch, 0 to 1.
        val_top1_interval: Ends of its 95 % interval; None for one run.
        val_top1_spread: Mean of what validation top-1 spreads over a run's last five epochs.
        top1: Mean of their training top-1.
        loss: Mean of their training loss.
        images_per_second: Mean of their training speed.
    """

    runs: tuple[RunSummary, ...]
    best_val_top1: float | None
    best_val_top1_interval: tuple[float, float] | None
    val_top1: float | None
    val_top1_interval: tuple[float, float] | None
    val_top1_spread: float | None
    top1: float | None
    loss: float | None
    images_per_second: float | None

    _columns = (
        Column("runs", "path"),
        Column("seeds", "seeds"),
        Column("best top-1", "best_val_top1", percent_text),
        Column("val top-1", "val_top1", percent_text),
        Column("95 % from", "val_top1_low", percent_text),
        Column("to", "val_top1_high", percent_text),
        Column("state", "state"),
        Column("model", "model"),
        Column("dataset", "dataset"),
    )

    @property
    def first(self) -> RunSummary:
        """The run that stands for the others in all that they share."""
        return self.runs[0]

    @property
    def path(self) -> str:
        """The path of the run, or those of all with `*` where they differ."""
        if len(self.runs) == 1:
            return self.first.path
        paths = [run.path for run in self.runs]
        begin = os.path.commonprefix(paths)
        rests = [path[len(begin) :][::-1] for path in paths]
        return f"{begin}*{os.path.commonprefix(rests)[::-1]}"

    @property
    def seeds(self) -> list[int | None]:
        """The seed of each run."""
        return [run.seed for run in self.runs]

    def to_dict(self) -> dict[str, Any]:
        """The group as plain JSON values, its runs by their paths."""
        figures = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "runs"}
        return {"runs": [run.path for run in self.runs], "seeds": self.seeds, **figures}

    def _records(self) -> list[dict[str, Any]]:
        shared = self.first._records()[0]
        if len(self.runs) > 1:
            shared = {name: value for name, value in shared.items() if name not in _OF_ONE_RUN}
        return [{**shared, **record(self), "path": self.path, "seeds": len(self.runs)}]


_OF_ONE_RUN = frozenset({"seed", "best_epoch", "started", "updated"})


class RunGroups(Tabular, list[RunGroup]):
    """Groups, as `group_runs` returns them."""

    _columns = RunGroup._columns

    def _title(self) -> str:
        return f"{count_text(sum(len(group.runs) for group in self), 'run')} in {count_text(len(self), 'row')}"

    def _records(self) -> list[dict[str, Any]]:
        return [values for group in self for values in group._records()]


def group_runs(runs: Sequence[RunSummary], sort: str = "path") -> RunGroups:
    """Put together the runs that differ in nothing but the seed.

    Only finished runs are: a mean over runs that are differently far would tell of none. Runs of another number of
    epochs, and those that `--extend` made as long, have another config. Of runs with the same seed the first one is
    in the group, because a repetition is no further draw. All others stay rows of their own.

    Args:
        runs: As from `list_runs`.
        sort: As for `list_runs`: the mean counts for figures, the first run for all else.

    Returns:
        All runs, each in one group.
    """
    gathered: dict[str, list[RunSummary]] = {}
    for run in runs:
        gathered.setdefault(_key(run), []).append(run)
    groups: list[RunGroup] = []
    for alike in gathered.values():
        of_seed: dict[Any, RunSummary] = {}
        repeated = [run for run in alike if of_seed.setdefault(run.seed, run) is not run]
        groups += [_group(list(of_seed.values())), *(_group([run]) for run in repeated)]

    def value(group: RunGroup) -> Any:
        if sort in MEANS:
            return getattr(group, sort)
        return getattr(group.first, sort, None) if sort in _SUMMARY_FIELDS else group.first.settings.get(sort)

    return RunGroups(in_order(groups, value, is_largest_first=sort in LARGEST_FIRST))


_SUMMARY_FIELDS = frozenset(field.name for field in dataclasses.fields(RunSummary)) - {"settings"}


def repeated_seeds(groups: Sequence[RunGroup]) -> list[RunSummary]:
    """Finished runs that repeat a seed of a group of the same settings, and so are not in it."""
    seen = {_key(group.first) for group in groups if len(group.runs) > 1}
    return [group.first for group in groups if len(group.runs) == 1 and _key(group.first) in seen]


def unfinished_alike(groups: Sequence[RunGroup]) -> list[RunSummary]:
    """Runs that would be in a group with others if they were finished."""
    finished = [_settings_key(group.first) for group in groups if group.first.state == "finished"]
    alone = [group.first for group in groups if group.first.state != "finished" and group.first.settings]
    return [run for run in alone if _settings_key(run) in finished]


def _key(run: RunSummary) -> str:
    """The same for runs that belong together."""
    is_whole = run.state == "finished" and not run.problem and run.settings
    return _settings_key(run) if is_whole else f"alone: {Path(run.path)}"


def _settings_key(run: RunSummary) -> str:
    return json.dumps({**run.settings, "seed": None}, sort_keys=True, default=str)


def _group(runs: Sequence[RunSummary]) -> RunGroup:
    values = {name: [getattr(run, name) for run in runs] for name in MEANS}
    complete = {name: found for name, found in values.items() if None not in found}
    means: dict[str, Any] = {name: math.fsum(found) / len(runs) for name, found in complete.items()}
    return RunGroup(
        runs=tuple(runs),
        best_val_top1_interval=mean_interval(complete.get("best_val_top1", [])),
        val_top1_interval=mean_interval(complete.get("val_top1", [])),
        **{name: means.get(name) for name in MEANS},
    )
