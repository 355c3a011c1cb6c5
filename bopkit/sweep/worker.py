"""The training process of a trial: what `bopkit.sweep.child` calls there."""

from __future__ import annotations

import signal
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from bopkit import keras2
from bopkit.errors import BopkitError
from bopkit.failures import translate
from bopkit.progress import Progress
from bopkit.sweep.child import SweepStopped


def train_trial(settings: Mapping[str, Any], progress: Progress, on_event: Callable[[Mapping[str, Any]], None]) -> None:
    """Train a run, or go on with it.

    Args:
        settings: Arguments of `train_model`, as JSON has them.
        progress: Called with each line that a person should read.
        on_event: Called with the row of each epoch; it returns when the next one may begin.

    Raises:
        SweepStopped: No trial could be trained.
        BopkitError: This one failed; another may be smaller, or have better values.
    """
    keras2.quiet = True
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _train(settings, progress, on_event)
    except Exception:
        traceback.print_exc()  # seen with --debug, also where the sweep goes on with the next trial
        raise


def _train(settings: Mapping[str, Any], progress: Progress, on_event: Callable[[Mapping[str, Any]], None]) -> None:
    from bopkit.data import open_dataset
    from bopkit.training import train_model

    try:
        open_dataset(settings["dataset"], settings.get("data_dir"), prepare=True, progress=progress)
    except Exception as error:
        raise _stopped(error) from error
    try:
        train_model(**settings, on_epoch=on_event, progress=progress)
    except Exception as error:
        of_this_trial = isinstance(error, BopkitError) or translate(error).message == _OUT_OF_MEMORY
        if of_this_trial:
            raise
        raise _stopped(error) from error


_OUT_OF_MEMORY = translate(MemoryError()).message


def _stopped(error: Exception) -> SweepStopped:
    known = translate(error)
    return SweepStopped(known.message, known.hint, known.exit_code)
