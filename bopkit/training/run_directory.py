"""The directory of one training run: its files, and the rules for going on in it.

config.json        what was asked for, resolved; a run is resumed only with the same config
environment.json   versions, machine and devices of the last start
metrics.jsonl      one JSON object an epoch
checkpoints/       network, optimizer and epoch, written after every epoch
tensorboard/       logs
model.h5           the trained network with its model card, written at the end
"""

from __future__ import annotations

import datetime
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
            _check_same_run(path, _read_json(self.config_file), config)
        elif path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise UsageError(f"{path} is not empty and holds no run of bopkit.", "Name another --output-dir.")
        else:
            path.mkdir(parents=True, exist_ok=True)
            files.write_json(self.config_file, config)

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

    def keep_metrics_before(self, epoch: int) -> None:
        """Drop rows of epochs that will be trained again; a crash may have come between row and checkpoint."""
        lines = self.metrics_file.read_text().splitlines()[:epoch] if self.metrics_file.exists() else []
        files.write_bytes(self.metrics_file, "".join(line + "\n" for line in lines).encode())


def new_run_path(prefix: Path, dataset: str, model: str) -> Path:
    """A fresh folder name: prefix/dataset/model/date_time."""
    started = datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    path = prefix / dataset / model / started
    for number in range(2, 1000):  # two runs may start within one second
        if not path.exists():
            break
        path = path.with_name(f"{started}_{number}")
    return path


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise BopkitError(f"{path} is damaged.", "Repair it, or name another --output-dir.") from error


def _check_same_run(path: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse to mix two runs in one folder."""
    before, now = ({**config, **config["hparams"], "hparams": None} for config in (before, now))
    different = [
        f"{key} is {before.get(key)!r} there and {now.get(key)!r} here"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    ]
    if different:
        raise UsageError(
            f"{path} holds another run: {'; '.join(different)}.",
            "Repeat its options to resume it, or name another --output-dir.",
        )
