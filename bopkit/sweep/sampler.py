"""Optuna's TPE with a seed a trial. Imported by the sweep only, since it needs Optuna.

With one seed for the study, a sweep that is started again would draw its first numbers once more, and two hosts
would draw the same ones. Here what a trial draws depends on the seed, its slot and the results known at its start.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna

from bopkit.sweep.slots import SLOT


class SlotSampler(optuna.samplers.BaseSampler):
    """A new TPE sampler for every trial, seeded by its slot.

    Args:
        seed: Seed of the sweep.
    """

    def __init__(self, seed: int):
        self._seed = seed
        self._inner = self._seeded(0)

    def _seeded(self, slot: int) -> optuna.samplers.TPESampler:
        seed = int(np.random.SeedSequence([self._seed, slot]).generate_state(1)[0])
        return optuna.samplers.TPESampler(seed=seed)

    def before_trial(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        """Seed the trial's own sampler."""
        self._inner = self._seeded(trial.user_attrs.get(SLOT, 0))

    def infer_relative_search_space(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
        """As TPE does."""
        return self._inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: optuna.trial.FrozenTrial, search_space: dict[str, Any]
    ) -> dict[str, Any]:
        """As TPE does."""
        return self._inner.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: optuna.trial.FrozenTrial, param_name: str, param_distribution: Any
    ) -> Any:
        """As TPE does."""
        return self._inner.sample_independent(study, trial, param_name, param_distribution)
