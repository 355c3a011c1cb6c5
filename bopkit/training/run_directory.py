"""The directory of one training run: its files, and the rules for going on in it.

config.json        what was asked for, resolved; a run is resumed only with the same config
environment.json   versions, machine and devices of the last start
metrics.jsonl      one JSON object an epoch
checkpoints/       network, optimizer and epoch, written after every epoch
tensorboard/       logs
model.h5           the trained network with its model card, written at the end
"""

from __future__ import annotations

import contextlib
import datetime
import itertools
import json
from pathlib import Path
from typing import Any

from bopkit import files
from bopkit.errors import BopkitError, UsageError


class RunDirectory:
    """Files of one run.

    Args:
        path: The folder; made if it is not there.
        config: The resolved request, as plain JSON values.

    Raises:
        UsageError: The folder holds another run, or something that is no run.
    """

    def __init__(self, path: Path, config: dict[str, Any]):
        self.path = path
        self.config_file = path / "config.json"
        self.metrics_file = path / "metrics.jsonl"
        self.checkpoints = path / "checkpoints"
        self.tensorboard = path / "tensorboard"
        self.model_file = path / "model.h5"
        config = json.loads(json.dumps(config))  # tuples become lists, as they will be when read back
        if self.config_file.exists():
            self._continue_with(config)
        elif path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise UsageError(f"{path} is not empty and holds no run of bopkit.", "Name another --output-dir.")
        else:
            path.mkdir(parents=True, exist_ok=True)
            files.write_json(self.config_file, config)

    def _continue_with(self, config: dict[str, Any]) -> None:
        """Refuse to mix two runs; only a run that left nothing to resume takes new settings."""
        before = _read_config(self.config_file)
        if before == config:
            return
        if not (self.is_finished or self.metrics() or any(self.checkpoints.glob("*"))):
            files.write_json(self.config_file, config)
        else:
            _refuse_other_run(self.path, before, config)

    @property
    def is_finished(self) -> bool:
        """Whether the run came to its end."""
        return self.model_file.exists()

    def write_environment(self, environment: dict[str, Any]) -> None:
        """Keep versions, machine and devices beside the results."""
        files.write_json(self.path / "environment.json", environment)

    def append_metrics(self, row: dict[str, Any]) -> None:
        """Add the row of one epoch."""
        with open(self.metrics_file, "a") as out:
            out.write(json.dumps(row) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """The rows of all finished epochs.

        Raises:
            BopkitError: The file is damaged.
        """
        if not self.metrics_file.exists():
            return []
        try:
            return [json.loads(line) for line in self.metrics_file.read_text().splitlines()]
        except ValueError as error:
            raise BopkitError(f"{self.metrics_file} is damaged.", "Repair or remove it, then resume.") from error

    def last_metrics(self) -> dict[str, Any]:
        """The row of the last epoch.

        Raises:
            BopkitError: There is none, or the file is damaged.
        """
        rows = self.metrics()
        if not rows:
            raise BopkitError(f"{self.metrics_file} is missing or empty.", "Restore it from a copy.")
        return rows[-1]

    def keep_metrics_before(self, epoch: int) -> None:
        """Drop rows of epochs that will be trained again; a crash may have come between row and checkpoint."""
        lines = self.metrics_file.read_text().splitlines()[:epoch] if self.metrics_file.exists() else []
        files.write_bytes(self.metrics_file, "".join(line + "\n" for line in lines).encode())


def new_run_path(prefix: Path, dataset: str, model: str) -> Path:
    """Make a folder of its own for a new run: prefix/dataset/model/date_time."""
    started = datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    parent = prefix / dataset / model
    parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):  # two runs may start within one second
        path = parent / (started if number == 1 else f"{started}_{number}")
        with contextlib.suppress(FileExistsError):
            path.mkdir()
            return path
    raise AssertionError("unreachable")


def _read_config(path: Path) -> dict[str, Any]:
    """The config of the run that is there.

    Raises:
        UsageError: The file is something else's.
    """
    try:
        config = json.loads(path.read_text())
    except (ValueError, IsADirectoryError):
        config = None
    if not isinstance(config, dict) or not isinstance(config.get("hparams"), dict):
        raise UsageError(f"{path} is damaged, or of no run of bopkit.", "Repair it, or name another --output-dir.")
    return config


def _refuse_other_run(path: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise a UsageError that names every setting in which two runs differ."""
    before, now = ({**config, **config["hparams"], "hparams": None} for config in (before, now))
    different = [
        f"{key} is {before.get(key)!r} there and {now.get(key)!r} here"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    ]
    raise UsageError(
        f"{path} holds another run: {'; '.join(different)}.",
        "Repeat its options to resume it, or name another --output-dir.",
    )
