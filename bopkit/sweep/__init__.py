"""Sweeps: many runs over a grid or a search space, in one study. Importing this package imports no Optuna."""

from bopkit.sweep.options import SweepOptions
from bopkit.sweep.result import SweepResult, TrialRow
from bopkit.sweep.sweep import run_sweep, run_trials

__all__ = ["SweepOptions", "SweepResult", "TrialRow", "run_sweep", "run_trials"]
