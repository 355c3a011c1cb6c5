"""What a user may choose about a sweep."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from bopkit.errors import UsageError
from bopkit.seeds import read_seeds
from bopkit.sweep.preset import get_preset
from bopkit.training.options import TrainOptions

SAMPLERS = ("grid", "tpe")
PRUNERS = ("median", "none")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SweepOptions:
    """Settings of one sweep; each has the default of the command line.

    Attributes:
        training: What all trials have in common. The sweep gives each trial its own `output_dir`, the hyper-parameters
            that it varies and, by the field of that name below, `validationset`.
        grid: Values by name, `1e-2|1e-3`: all combinations are trained.
        search: Values or ranges by name, `log:1e-8..1e-5` or `16..128`: TPE chooses from them.
        trials: Number of trials that TPE chooses, over all processes and calls; None for 20.
        sampler: `grid` or `tpe`; None for tpe where there is a `search`.
        pruner: `median` or `none`; None for median with tpe, where a bad trial teaches enough in a few epochs.
        preset: Name of a sweep of the paper, which has its own values; `training` is then made with
            `names_of_trials`.
        storage: URL of the database; None for an SQLite file in the output folder.
        study: Name of the study in the database; None for one made of model, dataset and preset.
        output_dir: The folder of the runs; None for runs/dataset/model/sweep.
        seeds: Train every setting once with each of these seeds, `0-4` or a sequence; the mean of their best validation
            top-1 is then the trial's value. None for one run a trial, with `training`'s seed. That one seeds the search
            in any case.
        validationset: Validate on a tenth of the training split; None for what `training` says, and for yes with tpe
            unless it names a `validation_split`, because a search on the test split would overfit to it.

    Raises:
        UsageError: Nothing is varied, a name is unknown, `trials` is below 1, or options exclude each other. Names and
            values of hyper-parameters are checked when the sweep begins.
    """

    training: TrainOptions
    grid: Mapping[str, str] = dataclasses.field(default_factory=dict)
    search: Mapping[str, str] = dataclasses.field(default_factory=dict)
    trials: int | None = None
    sampler: str | None = None
    pruner: str | None = None
    preset: str | None = None
    storage: str | None = None
    study: str | None = None
    output_dir: str | Path | None = None
    seeds: str | Sequence[int] | None = None
    validationset: bool | None = None

    def __post_init__(self) -> None:
        """Refuse settings that no sweep can have."""
        for kind, name, known in (("sampler", self.sampler, SAMPLERS), ("pruner", self.pruner, PRUNERS)):
            if name is not None and name not in known:
                raise UsageError(f"Unknown {kind} {name!r}.", f"Known: {', '.join(known)}.")
        if self.trials is not None and self.trials < 1:
            raise UsageError(f"trials is {self.trials}.", "Use 1 or more.")
        if self.seeds is not None:
            read_seeds(self.seeds)
        self._check_training()
        if self.preset is not None:
            self._check_preset(self.preset)
        else:
            self._check_varied()

    def _check_training(self) -> None:
        if self.training.strategy == "multiworker":
            raise UsageError(
                "A sweep does not train one trial on several machines: each machine takes the next trial.",
                "Leave --strategy out; docs/sweep.md shows sweeps on many hosts.",
            )
        if self.training.extend:
            raise UsageError("A sweep makes no run longer.", "Extend one of its runs with `bopkit train --extend`.")
        if self.training.dry_run:
            raise UsageError("A dry run has no result to compare.", "Dry-run `bopkit train`, not the sweep.")

    def _check_preset(self, name: str) -> None:
        preset = get_preset(name)
        network = (self.training.model, self.training.hparams_set)
        varied = self.grid or self.search or self.trials or self.sampler or self.seeds is not None
        if varied or network != (preset.model, preset.hparams_set):
            raise UsageError(
                "A preset has its own model, set and values.",
                "Leave out MODEL, --hparams-set, --grid, --search, --trials, --sampler and --seeds; "
                "--hparams changes what it does not vary.",
            )

    def _check_varied(self) -> None:
        both = sorted(set(self.grid) & set(self.search))
        if both:
            raise UsageError(f"Hyper-parameter {both[0]!r} is in --grid and in --search.", "Leave one of the two out.")
        if not self.grid and not self.search:
            raise UsageError(
                "The sweep varies no hyper-parameter.",
                "Add for instance --grid 'gamma=1e-2|1e-3', or --search threshold=log:1e-8..1e-5.",
            )

    @property
    def is_search(self) -> bool:
        """Whether TPE chooses the values of the trials."""
        return self.preset is None and (self.sampler or ("tpe" if self.search else "grid")) == "tpe"
