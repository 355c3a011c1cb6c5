"""Train one trial in a process of its own.

In one process for all trials, TensorFlow would carry over what cannot be undone: memory, devices, a distribution
strategy, a crash. In a fresh one a trial is exactly what `bopkit train` does, to the last bit. It costs the import of
TensorFlow, about 5 s. The child waits for an answer after every epoch, so that pruning does not depend on timing; it
ends by itself when this process is gone.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bopkit import keras2
from bopkit.errors import BopkitError, UsageError
from bopkit.progress import Progress
from bopkit.python_process import python_command

MESSAGE_PREFIX = "bopkit-sweep "
"""Before each line for the parent, so that what a library prints is no message."""

STOP_S = 60.0
"""Time that a trial gets for its checkpoint when the sweep is stopped."""

_START = "from bopkit.sweep.worker import main; main()"


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
    job = {"model": model, "dataset": dataset, "output_dir": str(output_dir), "hparams": dict(hparams), **options}
    with (
        tempfile.TemporaryFile() as stderr,
        subprocess.Popen(
            python_command(_START),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env={"TF_CPP_MIN_LOG_LEVEL": "2", **_without_cluster(os.environ)},
            encoding="utf-8",
            errors="replace",
            start_new_session=True,  # Ctrl-C on the terminal comes to it through this process only
        ) as process,
    ):
        try:
            _answer(process, json.dumps(job))
            outcome = _talk(process, on_epoch, progress)
            process.wait()
        except (KeyboardInterrupt, SystemExit):
            _stop(process)
            raise
        except BaseException:  # pruned after its checkpoint
            process.kill()
            raise
        stderr.seek(0)
        printed = stderr.read().decode(errors="replace").strip()
        if printed and not keras2.quiet:  # --debug: its traceback is there
            print(printed, file=sys.stderr)
        _raise_for(outcome, process.returncode, printed)


def _without_cluster(environment: Mapping[str, str]) -> dict[str, str]:
    """Without what names other workers: sweeps side by side share a study, and each trains a trial of its own."""
    return {name: value for name, value in environment.items() if not name.startswith(_CLUSTER_VARIABLES)}


_CLUSTER_VARIABLES = ("TF_CONFIG", "SLURM_STEP_", "SLURM_PROCID")


def _talk(
    process: subprocess.Popen[str], on_epoch: Callable[[dict[str, Any]], None], progress: Progress
) -> dict[str, Any]:
    """Follow the child to its end; what it said last of its outcome, or an empty dictionary."""
    assert process.stdout is not None
    outcome: dict[str, Any] = {}
    for line in process.stdout:
        if not line.startswith(MESSAGE_PREFIX):
            continue
        message = json.loads(line.removeprefix(MESSAGE_PREFIX))
        if "say" in message:
            progress(message["say"])
        elif "row" in message:
            on_epoch(message["row"])
            _answer(process, "go")
        else:
            outcome = message
    return outcome


def _answer(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write(line + "\n")
        process.stdin.flush()
    except BrokenPipeError:  # it died: its exit status tells why
        pass


def _stop(process: subprocess.Popen[str]) -> None:
    """Let it write its checkpoint, then end it."""
    try:
        process.send_signal(signal.SIGINT)
        _answer(process, "go")  # it may be waiting after an epoch
        process.wait(STOP_S)
    except BaseException:  # too slow, or Ctrl-C once more
        process.kill()


def _raise_for(outcome: Mapping[str, Any], return_code: int, printed: str) -> None:
    """Raise what the child told, or what its end means."""
    if outcome.get("end") == "interrupted" or -return_code in (signal.SIGINT, signal.SIGTERM):
        raise KeyboardInterrupt
    if outcome.get("end") == "stop":
        raise SweepStopped(outcome["message"], outcome["hint"], outcome["exit_code"])
    if outcome.get("end") == "failed":
        raise (UsageError if outcome["exit_code"] == 2 else BopkitError)(outcome["message"], outcome["hint"])
    if outcome.get("end") == "finished":
        return
    if return_code < 0:
        how = f"was ended by {signal.Signals(-return_code).name}"
    else:
        lines = printed.splitlines()
        how = f"ended with code {return_code}" + (f": {lines[-1][:200]}" if lines else "")
    raise BopkitError(f"The training process {how}.", "It crashed, or memory ran out: try a smaller batch_size.")
