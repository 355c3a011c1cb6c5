"""Model files with another config, as an older TensorFlow or a stranger would have written them."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py

from bopkit.artifacts.keras_file import read_config


def with_config(saved: Path, folder: Path, edit: Callable[[dict[str, Any]], object]) -> Path:
    """A copy of a model file in `folder` whose config `edit` has changed."""
    path = folder / f"edited{saved.suffix}"
    config = read_config(saved)
    edit(config)
    if saved.suffix == ".h5":
        shutil.copy(saved, path)
        with h5py.File(path, "r+") as file:
            file.attrs["model_config"] = json.dumps(config)
        return path
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            target.writestr(name, json.dumps(config) if name == "config.json" else source.read(name))
    return path
