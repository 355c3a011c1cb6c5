"""Files that appear whole or not at all: write beside the target, then rename."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bopkit import scratch as scratch_folders

SCRATCH_PREFIX = scratch_folders.HIDDEN_PREFIX
"""How names of scratch folders begin."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a scratch path with the suffix of `path`; on success it replaces `path`, on any failure it is removed.

    The file that a link names is replaced, not the link; what is no file, such as `/dev/full` or a pipe, is written to.
    """
    if is_stream(path):
        with temporary_directory() as folder:
            yield Path(folder, path.name)
            with open(Path(folder, path.name), "rb") as whole, open(path, "wb") as stream:
                shutil.copyfileobj(whole, stream)
        return
    path = path.resolve()
    with scratch_directory(path.parent) as scratch:
        yield scratch / path.name
        sync(scratch / path.name)
        os.replace(scratch / path.name, path)


@contextlib.contextmanager
def scratch_directory(parent: Path) -> Iterator[Path]:
    """Yield a new hidden folder in `parent`, on the same file system; it is removed at the end."""
    parent.mkdir(parents=True, exist_ok=True)
    with scratch_folders.scratch_folder(parent, SCRATCH_PREFIX) as folder:
        yield folder


@contextlib.contextmanager
def temporary_directory(purpose: str = "") -> Iterator[Path]:
    """Yield a new folder in the temporary folder, with the purpose in its name; it is removed at the end."""
    prefix = scratch_folders.TEMPORARY_PREFIX + (f"{purpose}-" if purpose else "")
    with scratch_folders.scratch_folder(prefix=prefix) as folder:
        yield folder


def is_stream(path: Path) -> bool:
    """Whether something is there that is neither file nor folder: a device, a pipe, a socket."""
    return path.exists() and not path.is_file() and not path.is_dir()


def existing_ancestor(path: Path) -> Path:
    """The nearest folder on the way to `path` that exists: scratch files there leave nothing behind."""
    path = path.absolute()
    return path if path.is_dir() else existing_ancestor(path.parent)


def user_folder(variable: str, default: str) -> Path:
    """Bopkit's folder in one of the user's, by the XDG Base Directory Specification: relative paths in it do not count.

    Args:
        variable: `XDG_CACHE_HOME` or `XDG_CONFIG_HOME`.
        default: Below the home folder, where the variable is not set.

    Raises:
        RuntimeError: The user has no home folder.
    """
    named = Path(os.environ.get(variable, ""))
    return (named if named.is_absolute() else Path.home() / default) / "bopkit"


def sync(path: Path) -> None:
    """Make sure that a file, or all below a folder, are on the disk: a crash must not leave them empty."""
    for each in path.rglob("*") if path.is_dir() else [path]:
        if each.is_file():
            with open(each, "r+b") as written:  # Windows syncs only what is open for writing
                os.fsync(written.fileno())


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all."""
    with replacing(path) as scratch:
        scratch.write_bytes(data)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON to `path`, whole or not at all."""
    write_bytes(path, (json_text(value) + "\n").encode())


def json_text(value: Any) -> str:
    """`value` as indented JSON; NaN and the infinities, which JSON has no words for, become null."""
    return json.dumps(finite(value), indent=2, allow_nan=False)


def finite(value: Any) -> Any:
    """`value`, made of dictionaries, lists, tuples and scalars, with None in place of NaN and the infinities."""
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def size_bytes(path: Path) -> int:
    """Size in bytes of a file, or of all files below a folder."""
    if path.is_dir():
        return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
    return path.stat().st_size
