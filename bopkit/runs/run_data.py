"""Which dataset a run was trained on, as it was typed, so that what follows finds it as the run did.

A record may name a module, whose import runs its code, and a run directory may be a stranger's. So a record has a seal,
made with a key that only this user has: without it nothing is opened on the record's word.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import hmac
import json
import os
import secrets
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bopkit import files
from bopkit.errors import BopkitError
from bopkit.runs.directory import ENVIRONMENT_FILE, is_run

KEY_BYTES = 32


@dataclasses.dataclass(frozen=True)
class RunData:
    """Where a run found its pictures.

    Attributes:
        dataset: Name of the dataset, with the version that was asked for: `cifar10:3.0.2`.
        data_dir: The folder that was named, absolute; None for the default.
        folder: The working folder, in which modules are found.
        seal: Shows that this user's own training wrote the record; empty where it could not be made.
    """

    dataset: str
    data_dir: str | None
    folder: str
    seal: str = ""

    @classmethod
    def named_here(cls, dataset: str, data_dir: str | Path | None) -> RunData:
        """What somebody names in this working folder, without a run."""
        return cls(dataset, str(data_dir) if data_dir else None, folder=str(Path.cwd()))

    @property
    def is_ours(self) -> bool:
        """Whether a training of this user wrote it."""
        return bool(self.seal) and self.seal == self._make_seal()

    @property
    def options(self) -> str:
        """What to type to use it."""
        return shlex.join(["--dataset", self.dataset, *(["--data-dir", self.data_dir] if self.data_dir else [])])

    def to_dict(self) -> dict[str, Any]:
        """The record with its seal, as plain JSON values."""
        return {**dataclasses.asdict(self), "seal": self._make_seal()}

    @contextlib.contextmanager
    def as_in_the_run(self) -> Iterator[None]:
        """Work in the run's folder, where its modules and relative paths are found.

        Raises:
            BopkitError: The folder is gone.
        """
        if not Path(self.folder).is_dir():
            raise BopkitError(f"{self.folder}, where the run was started, is gone.", "Name the data with --dataset.")
        with contextlib.chdir(self.folder):
            yield

    def _make_seal(self) -> str:
        """Hexadecimal digits; empty without a key."""
        text = json.dumps([self.dataset, self.data_dir, self.folder])
        key = _key()
        return hmac.new(key, text.encode(), hashlib.sha256).hexdigest() if key else ""


def read_run_data(model_file: Path) -> RunData | None:
    """The record in the run directory that holds a model file.

    Returns:
        None where it is in no run directory, or the run had the default folder of a dataset that the card names.
    """
    if not is_run(model_file.parent):
        return None
    try:
        record = json.loads((model_file.parent / ENVIRONMENT_FILE).read_text())["data"]
        data = RunData(**record)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    values = (data.dataset, data.data_dir or "", data.folder, data.seal)
    return data if all(isinstance(value, str) for value in values) else None


def _key() -> bytes:
    """This user's key, made where there is none; empty where nothing can be kept."""
    with contextlib.suppress(OSError, RuntimeError):
        path = files.user_folder("XDG_CONFIG_HOME", ".config") / "run_data.key"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError), open(path, "xb", opener=_private) as file:
                file.write(secrets.token_bytes(KEY_BYTES))
        return path.read_bytes()
    return b""


def _private(path: str, flags: int) -> int:
    """Open a file that nobody else may read."""
    return os.open(path, flags, 0o600)
