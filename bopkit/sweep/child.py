"""Train one trial in a process of its own.

In one process for all trials, TensorFlow would carry over what cannot be undone: memory, devices, a distribution
strategy, a crash. In a fresh one a trial is exactly what `bopkit train` does, to the last bit. It costs the import of
TensorFlow, about 5 s. The child waits for an answer after every epoch, so that pruning does not depend on timing.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bopkit import keras2
from bopkit.errors import BopkitError
from bopkit.isolation import Child, ProcessDiedError
from bopkit.progress import Progress

STOP_S = 60.0
"""Time that a trial gets for its checkpoint when the sweep is stopped."""

_NAME = "The training process"
_HINT = "It crashed, or memory ran out: try a smaller batch_size."
_TRAIN_TRIAL = "bopkit.sweep.worker:train_trial"
_CLUSTER_VARIABLES = ("TF_CONFIG", "SLURM_STEP_", "SLURM_PROCID")
_STOPPED = (-signal.SIGINT, -signal.SIGTERM, 128 + signal.SIGTERM)
"""Exit codes of a trial that was told to stop by another one than this process."""


class SweepStopped(BopkitError):
    """A failure that every further trial would meet too: the sweep stops, and the trial is taken up again later."""

    def __init__(self, message: str, hint: str = "", exit_code: int = 1):
        super().__init__(message, hint)
        self.exit_code = exit_code


def train_in_child(
    model: str,
    dataset: str,
    *,
    output_dir: Path,
    hparams: Mapping[str, Any],
    on_epoch: Callable[[dict[str, Any]], None],
    progress: Progress,
    **options: Any,
) -> None:
    """Train as `train_model` does; arguments as there.

    Args:
        model: Name of an architecture.
        dataset: Name of a dataset.
        output_dir: The run's own folder; an unfinished run in it is resumed.
        hparams: Values that differ from the set.
        on_epoch: Called with the row of each epoch; what it raises ends the trial.
        progress: Called with each line that a person should read.
        options: Further arguments of `train_model`, as plain JSON values.

    Raises:
        UsageError: A name or value is wrong.
        SweepStopped: No trial could be trained: no dataset, a full disk.
        BopkitError: The trial failed, or its process died.
    """
    settings = {"model": model, "dataset": dataset, "output_dir": str(output_dir), "hparams": dict(hparams), **options}
    environment = {"TF_CPP_MIN_LOG_LEVEL": "2", **_without_cluster(os.environ)}
    with Child(environment, _NAME, _HINT, errors=(SweepStopped,), stop_s=STOP_S) as process:
        try:
            process.call(_TRAIN_TRIAL, settings, subject=str(output_dir), progress=progress, on_event=on_epoch)
        except ProcessDiedError as error:
            if error.returncode in _STOPPED:
                raise KeyboardInterrupt from error
            raise
        finally:
            if not keras2.quiet:  # --debug: its traceback is there
                sys.stderr.write(process.printed())


def _without_cluster(environment: Mapping[str, str]) -> dict[str, str]:
    """Without what names other workers: sweeps side by side share a study, and each trains a trial of its own."""
    return {name: value for name, value in environment.items() if not name.startswith(_CLUSTER_VARIABLES)}
