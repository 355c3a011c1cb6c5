"""The directory of one training run: its files, and the rules for going on in it.

config.json        what was asked for, resolved; a run is resumed only with the same config
environment.json   versions, machine and devices of the last start; where its data was, if not in the default place
pictures.csv       path, label and split of each picture, where these are files of the user's own
metrics.jsonl      one JSON object a line: "kind": "step" every N steps, "kind": "epoch" at the end of each epoch
checkpoints/       network, optimizer and place, after every epoch and every few minutes
tensorboard/       logs
lock               held by the process that is training
model.h5           the best network by validation top-1 where pictures are kept for that, else the last
model_last.h5      the network at the end; written last: it says that the run is finished
"""

from __future__ import annotations

import contextlib
import datetime
import itertools
import json
import os
import re
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

from bopkit import files
from bopkit.errors import BopkitError, UsageError

CONFIG_FILE = "config.json"
ENVIRONMENT_FILE = "environment.json"
METRICS_FILE = "metrics.jsonl"
PICTURES_FILE = "pictures.csv"
CHECKPOINTS_FOLDER = "checkpoints"
TENSORBOARD_FOLDER = "tensorboard"
MODEL_FILE = "model.h5"
LAST_MODEL_FILE = "model_last.h5"
_LOCK_FILE = "lock"


class Place(NamedTuple):
    """Where a run is. The end of an epoch before its validation is another place than the start of the next one.

    Attributes:
        epoch: Epochs that are finished: trained, validated, and with a row.
        step: Steps of the next one that are trained.
    """

    epoch: int
    step: int

    def __str__(self) -> str:
        return f"epoch{self.epoch:04d}-step{self.step:06d}"


def list_places(folder: Path) -> list[Place]:
    """The places that a folder has checkpoints of, in order; none where there is no such folder."""
    names = (re.fullmatch(r"epoch(\d+)-step(\d+)", path.name) for path in folder.glob("epoch*") if path.is_dir())
    return sorted(Place(int(name[1]), int(name[2])) for name in names if name)


class RunDirectory:
    """Files of one run.

    Args:
        path: The folder; made if it is not there.
        config: The resolved request, as plain JSON values.
        defaults: Of that config's settings, as far as they have one: a run that an earlier version began lacks those
            that came later, and was trained as these say.
        writes: False for a worker that is not the chief: it reads only.
        extends: Whether the run there is made longer, as the config says: see `begin_extension`.

    Raises:
        UsageError: The folder holds another run, or something that is no run, or another process trains in it.
    """

    def __init__(
        self,
        path: Path,
        config: dict[str, Any],
        defaults: dict[str, Any],
        writes: bool = True,
        extends: bool = False,
    ):
        self.path = path
        self.checkpoints = path / CHECKPOINTS_FOLDER
        self.tensorboard = path / TENSORBOARD_FOLDER
        self.model_file = path / MODEL_FILE
        self.last_model_file = path / LAST_MODEL_FILE
        self._metrics_file = path / METRICS_FILE
        self._config_file = path / CONFIG_FILE
        self._lock: IO[str] | None = None
        self._is_new = False
        # Tuples become lists, as they will be when read back.
        self._config, self._defaults = json.loads(json.dumps([config, defaults]))
        if self._config_file.exists():
            if writes and (extends or not self.is_finished):  # a finished run may be in a folder that is read-only
                self._hold_lock()
            try:
                self._continue_with(self._config, writes, extends)
            except BaseException:
                self.close()
                raise
        elif not writes:
            pass  # the chief may be making the folder at this moment
        elif path.exists() and not path.is_dir():
            raise UsageError(f"{path} is a file, not a folder.", "Name another --output-dir.")
        elif path.exists() and not all(map(_is_ours, path.iterdir())):
            raise UsageError(f"{path} is not empty, and it is not a run directory.", "Name another --output-dir.")
        else:
            path.mkdir(parents=True, exist_ok=True)
            self._hold_lock()
            files.write_json(self._config_file, self._config)
            self._is_new = True

    def _hold_lock(self) -> None:
        """Refuse to train where another process trains; the lock ends with the process, however it ends."""
        import fcntl

        self._lock = open(self.path / _LOCK_FILE, "w")  # held until `close` or the end of the process
        deadline = time.monotonic() + 1
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return self._remove_scratch()
            except BlockingIOError as error:
                if time.monotonic() > deadline:  # `run_state` holds it for a moment
                    raise UsageError(
                        f"Another process is training in {self.path}.", "Wait for it, or name another --output-dir."
                    ) from error
                time.sleep(0.05)
            except OSError:
                return  # a file system without locks

    def _remove_scratch(self) -> None:
        """Remove the half-written checkpoints of killed processes; nobody else writes there while we hold the lock."""
        for folder in self.checkpoints.glob(f"{files.SCRATCH_PREFIX}*"):
            shutil.rmtree(folder, ignore_errors=True)

    def discard_if_unbegun(self) -> None:
        """Remove the folder of a new run that holds nothing but its settings: a mistake leaves none behind."""
        if not self._is_new or {each.name for each in self.path.iterdir()} != {CONFIG_FILE, _LOCK_FILE}:
            return
        for name in (CONFIG_FILE, _LOCK_FILE):
            (self.path / name).unlink()
        self.path.rmdir()

    def close(self) -> None:
        """Let another process train here."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _continue_with(self, config: dict[str, Any], writes: bool, extends: bool) -> None:
        """Refuse to mix two runs; only a run that left nothing to resume takes new settings."""
        before = with_defaults(read_config(self.path), self._defaults)
        if extends:
            before, config, writes = _without_length(before), _without_length(config), False
        if before == config:
            return
        if has_progress(self.path):
            _refuse_other_run(self.path, before, config)
        if writes:
            files.write_json(self._config_file, config)

    def begin_extension(self) -> None:
        """Make the run a longer one that is not finished; it is a shorter one until all of this is done."""
        self.last_model_file.unlink(missing_ok=True)  # first: a longer run must never look finished
        files.write_json(self._config_file, self._config)

    @property
    def is_finished(self) -> bool:
        """Whether the run came to its end."""
        return is_finished(self.path)

    def write_environment(self, environment: dict[str, Any]) -> None:
        """Keep versions, machine and devices beside the results."""
        files.write_json(self.path / ENVIRONMENT_FILE, environment)

    def append_metrics(self, row: dict[str, Any]) -> None:
        """Add a row."""
        with open(self._metrics_file, "a") as out:
            out.write(json.dumps(row) + "\n")

    def sync_metrics(self) -> None:
        """Make sure that the rows are on the disk, also if the machine crashes."""
        if self._metrics_file.exists():
            with open(self._metrics_file, "r+b") as written:
                os.fsync(written.fileno())

    def metrics(self) -> list[dict[str, Any]]:
        """All rows.

        Raises:
            BopkitError: The file is damaged.
        """
        return read_metrics(self.path)

    def epochs(self) -> list[dict[str, Any]]:
        """The rows of all finished epochs."""
        return read_epochs(self.path)

    def check_epochs(self, epochs: int) -> None:
        """Make sure that there is one row for each of the first epochs.

        Raises:
            BopkitError: There is not, or the file is damaged.
        """
        found = [row["epoch"] for row in self.epochs() if row["epoch"] <= epochs]
        if found != list(range(1, epochs + 1)):
            raise BopkitError(
                f"{self._metrics_file} has rows of epochs {found}, but {epochs} epochs were trained."
                if found
                else f"{self._metrics_file} is missing or empty, although epochs were trained.",
                "Restore it from a copy, or name another --output-dir to start over.",
            )

    def keep_metrics_until(self, place: Place, steps_per_epoch: int) -> None:
        """Drop what is going to be trained again; a crash may have come between a row and its checkpoint."""
        last = {"epoch": place.epoch, "step": place.epoch * steps_per_epoch + place.step}
        kept = [row for row in self.metrics() if row[row["kind"]] <= last[row["kind"]]]
        files.write_bytes(self._metrics_file, "".join(json.dumps(row) + "\n" for row in kept).encode())


def _is_ours(path: Path) -> bool:
    """Whether a process that was killed before it wrote the config may have left that."""
    return path.name == _LOCK_FILE or path.name.startswith(files.SCRATCH_PREFIX)


def new_run_path(prefix: Path, dataset: str, model: str) -> Path:
    """Make a folder of its own for a new run: prefix/dataset/model/date_time."""
    started = datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    parent = prefix / dataset.replace(":", "_") / model  # some file systems have no colons
    parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):  # two runs may start within one second
        path = parent / (started if number == 1 else f"{started}_{number}")
        with contextlib.suppress(FileExistsError):
            path.mkdir()
            return path
    raise AssertionError("unreachable")


def is_run(path: Path) -> bool:
    """Whether a folder looks like a run directory."""
    return (path / CONFIG_FILE).is_file()


def is_finished(path: Path) -> bool:
    """Whether the run in a folder came to its end."""
    return (path / LAST_MODEL_FILE).exists()


def has_progress(path: Path) -> bool:
    """Whether the run in a folder has trained anything.

    Raises:
        BopkitError: Its metrics are damaged.
    """
    return is_finished(path) or bool(read_metrics(path)) or bool(list_places(path / CHECKPOINTS_FOLDER))


def run_state(path: Path) -> Literal["finished", "running", "stopped"]:
    """Whether a run came to its end, is being trained by a process of this machine, or waits to be resumed."""
    if is_finished(path):
        return "finished"
    import fcntl

    with contextlib.suppress(FileNotFoundError), open(path / _LOCK_FILE) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return "running"
        except OSError:
            return "stopped"
    return "stopped"


def read_config(path: Path) -> dict[str, Any]:
    """The config of the run in a folder.

    Raises:
        UsageError: The file is missing, damaged or something else's.
    """
    file = path / CONFIG_FILE
    try:
        config = json.loads(file.read_text())
    except (ValueError, FileNotFoundError, IsADirectoryError):
        config = None
    if not isinstance(config, dict) or not isinstance(config.get("hparams"), dict):
        raise UsageError(f"{file} is damaged, or does not belong to a run.", "Repair it, or name another --output-dir.")
    return config


OF_BEFORE: dict[str, Any] = {"batch_norm_pictures": 0}
"""Settings of a config that came later, and what a run was trained with that lacks them: not today's defaults."""


def with_defaults(config: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """A config with the defaults of the settings that it lacks."""
    return {**defaults, **config, "hparams": {**defaults.get("hparams", {}), **config["hparams"]}}


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All rows of the run in a folder; a last line that is still being written is left out.

    Raises:
        BopkitError: The file is damaged.
    """
    file = path / METRICS_FILE
    if not file.exists():
        return []
    try:
        *lines, rest = file.read_text().split("\n")
        rows = [json.loads(line) for line in _with_complete(lines, rest)]
        if not all(isinstance(row[row["kind"]], int) for row in rows):
            raise ValueError("a row is none")
    except (ValueError, KeyError, TypeError) as error:
        raise BopkitError(
            f"{file} is damaged.", "Restore it from a copy, or name another --output-dir to start over."
        ) from error
    return rows


def read_epochs(path: Path) -> list[dict[str, Any]]:
    """The rows of the finished epochs of the run in a folder.

    Raises:
        BopkitError: The metrics are damaged.
    """
    return [row for row in read_metrics(path) if row["kind"] == "epoch"]


def _with_complete(lines: list[str], rest: str) -> Iterable[str]:
    """The lines, and what follows the last line end if it is whole."""
    with contextlib.suppress(ValueError):
        json.loads(rest)
        return [*lines, rest]
    return lines


def _without_length(config: dict[str, Any]) -> dict[str, Any]:
    """A config without what a longer run changes."""
    rest = {name: value for name, value in config.items() if name not in ("extended_after", "schedule_epochs")}
    return {**rest, "hparams": {**config["hparams"], "epochs": None}}


def _shown(value: Any) -> str:
    """A setting, for people; of a network that a run starts from, or learns from, the start of its SHA-256."""
    if isinstance(value, dict) and "sha256" in value:
        return f"a network of SHA-256 {value['sha256'][:8]}..."
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    return "none" if value is None else repr(value)


def _refuse_other_run(path: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise a UsageError that names every setting in which two runs differ."""
    hint = "Repeat its options to resume it, or name another --output-dir."
    epochs, epochs_before = now["hparams"]["epochs"], before["hparams"].get("epochs")
    if isinstance(epochs_before, int) and epochs != epochs_before and _without_length(before) == _without_length(now):
        is_longer = epochs > epochs_before
        hint = "Add --extend to train it for longer" if is_longer else "A run cannot be made shorter: repeat its epochs"
        hint += ", or name another --output-dir."
    ignored = {"hparams": None, "extended_after": None, "schedule_epochs": None}  # these follow from the epochs
    before, now = ({**config, **config["hparams"], **ignored} for config in (before, now))
    different = [
        f"{key} is {_shown(before.get(key))} there and {_shown(now.get(key))} here"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    ]
    raise UsageError(
        f"{path} holds another run: {'; '.join(different)}.",
        hint,
    )
