"""The parts of a Keras model in Keras' zip format (`.keras`): its members and its config.

Needs no TensorFlow.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

from bopkit.artifacts.keras_config import decode_config, refuse_keras_3
from bopkit.artifacts.limits import DAMAGED, MAX_CONFIG_BYTES, MAX_TENSOR_BYTES
from bopkit.errors import BopkitError

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
_MEMBERS = frozenset({"metadata.json", CONFIG, WEIGHTS})


def check_members(archive: zipfile.ZipFile, path: Path) -> None:
    """Refuse archives with more than a model in them: Keras would unpack all of it to disk."""
    names = archive.namelist()
    foreign = sorted(set(names) - _MEMBERS)
    if foreign or len(names) != len(set(names)):
        raise BopkitError(f"{path} is refused: it holds more than a model ({(foreign or names)[0]!r}).", DAMAGED)
    if WEIGHTS not in names:
        raise BopkitError(f"{path} holds no {WEIGHTS}.", "Save it again with `model.save('model.keras')`.")
    if archive.getinfo(WEIGHTS).file_size > MAX_TENSOR_BYTES:
        raise BopkitError(f"{path} is refused: its weights unpack to more than {MAX_TENSOR_BYTES} bytes.", DAMAGED)


def read_config(archive: zipfile.ZipFile, path: Path) -> dict[str, Any]:
    """The config of the model, not checked yet.

    Raises:
        BopkitError: There is none, or it is one of Keras 3.
    """
    if CONFIG not in archive.namelist():
        raise BopkitError(f"{path} is a zip file without a model's {CONFIG}.", "Give a .keras file.")
    if "metadata.json" in archive.namelist():
        refuse_keras_3(decode_config(_member(archive, "metadata.json"), path).get("keras_version"), path)
    config = decode_config(_member(archive, CONFIG), path)
    config.pop("compile_config", None)  # Keras drops it unread, as we load with compile=False
    return config


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    """A text member of the archive, unpacked to just beyond the limit whatever its header claims."""
    with archive.open(name) as member:
        return member.read(MAX_CONFIG_BYTES + 1)


def with_config(archive: zipfile.ZipFile, config: dict[str, Any], path: Path) -> Path:
    """Write the archive to `path` with another config."""
    with zipfile.ZipFile(path, "w") as target:
        for name in archive.namelist():
            with archive.open(name) as source, target.open(name, "w", force_zip64=True) as member:
                if name == CONFIG:
                    member.write(json.dumps(config).encode())
                else:
                    shutil.copyfileobj(source, member)
    return path
