"""Which process trains which trial: each trial is trained once, by any number of processes and restarts.

A sweep has a fixed number of slots: the points of its grid, or its --trials. Slot 7 is the run directory trial-0007.
An attempt at a slot is one Optuna trial that carries slot and attempt from the moment it is in the database. Rules:
1. Any process may queue an attempt that is missing: the first of a slot, or the one after a killed attempt.
2. Of two Optuna trials with the same slot and attempt the one with the lower number counts; the other is dropped when
   it is popped. Optuna counts up under a lock, so whoever sees a trial sees all those before it.
3. An attempt is killed when its process is gone: it failed and bears no error. One with an error is a result.

So nothing has to be done in one step, and a process may die between any two. Optuna's GridSampler gives no such
promise: its documentation says that processes may evaluate a point twice.
"""

from __future__ import annotations

import datetime
import functools
import os
import socket
import uuid
from collections.abc import Callable
from typing import Any

from bopkit.sweep.storage import GRACE_S

SLOT, ATTEMPT, PARAMS = "slot", "attempt", "params"
OWNER, RUN_DIR, HOST, ERROR, SEEDS = "owner", "run_dir", "host", "error", "seeds"
"""Names of what a trial carries, as user attributes of Optuna."""


def attempts(study: Any) -> dict[tuple[int, int], Any]:
    """The Optuna trials that count, by slot and attempt (rule 2)."""
    counted: dict[tuple[int, int], Any] = {}
    for trial in sorted(study.get_trials(deepcopy=False), key=lambda trial: trial.number):
        if SLOT in trial.user_attrs:
            counted.setdefault((trial.user_attrs[SLOT], trial.user_attrs[ATTEMPT]), trial)
    return counted


def newest(study: Any) -> dict[int, Any]:
    """The last attempt at each slot, by slot."""
    return {slot: trial for (slot, _), trial in sorted(attempts(study).items(), key=lambda item: item[0])}


def counts(study: Any, trial: Any) -> bool:
    """Whether a running trial is the one of its slot and attempt; one that Optuna made by itself has neither."""
    if SLOT not in trial.user_attrs:  # another process took the queued one a moment earlier
        return False
    return attempts(study)[trial.user_attrs[SLOT], trial.user_attrs[ATTEMPT]].number == trial.number


def queue_next(study: Any, slots: int, params_of: Callable[[int], dict[str, Any]]) -> None:
    """Queue killed attempts once more, or else the first slot that nobody has begun.

    Args:
        study: The Optuna study.
        slots: Number of slots.
        params_of: The fixed parameters of a slot; empty where the sampler chooses.
    """
    from optuna.trial import TrialState

    last = newest(study)
    for slot, trial in last.items():
        if trial.state == TrialState.FAIL and ERROR not in trial.user_attrs:
            params = {**trial.user_attrs[PARAMS], **trial.params}
            _queue(study, slot, trial.user_attrs[ATTEMPT] + 1, params)
            return
    if any(trial.state == TrialState.WAITING for trial in last.values()):
        return
    for slot in range(slots):
        if slot not in last:
            _queue(study, slot, 0, params_of(slot))
            return


def _queue(study: Any, slot: int, attempt: int, params: dict[str, Any]) -> None:
    study.enqueue_trial(params, user_attrs={SLOT: slot, ATTEMPT: attempt, PARAMS: params})


def fail_dead(study: Any) -> None:
    """Mark attempts whose process is gone: at once on this host, after `GRACE_S` without a heartbeat on others."""
    import warnings

    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        optuna.storages.fail_stale_trials(study)
    long_ago = datetime.datetime.now() - datetime.timedelta(seconds=GRACE_S)
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        owner = trial.user_attrs.get(OWNER)
        began_long_ago = trial.datetime_start is not None and trial.datetime_start < long_ago
        if _is_dead_here(owner) if owner else began_long_ago:
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL, skip_if_finished=True)


def this_process() -> dict[str, Any]:
    """What tells this process from all others, on this host and elsewhere, before and after a restart."""
    import psutil

    return {"host": _host(), "pid": os.getpid(), "created": psutil.Process().create_time()}


def _is_dead_here(owner: dict[str, Any]) -> bool:
    """Whether a process was one of this host and is gone. A wrong yes costs time only: its run is still locked."""
    import psutil

    if owner["host"] != _host():
        return False
    try:
        return abs(psutil.Process(owner["pid"]).create_time() - owner["created"]) > 2
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False


@functools.cache
def _host() -> str:
    """Name and network address of this host: containers and cloned machines share one of the two, seldom both."""
    return f"{socket.gethostname()} {uuid.getnode():x}"
