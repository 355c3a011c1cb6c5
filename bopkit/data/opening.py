"""Open a dataset by name: the embedded digits, a builder of TensorFlow Datasets, or a user's own module."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from bopkit.data import tfds_dataset
from bopkit.data.dataset import Dataset
from bopkit.errors import UsageError
from bopkit.progress import Progress, silent
from bopkit.registry import Registry

MODULES = Registry("dataset", "open_dataset", "bopkit data list")
MODULES.register("digits", "bopkit.data.digits")


def open_dataset(
    name: str,
    data_dir: str | Path | None = None,
    version: str | None = None,
    prepare: bool = False,
    progress: Progress | None = None,
) -> Dataset:
    """Open a dataset by name.

    Args:
        name: `digits`; a TFDS builder, as `name`, `name/config` or `name:version`; or the dotted name of a module
            that defines `open_dataset(data_dir)`.
        data_dir: Where TFDS keeps prepared datasets; None for its default (`~/tensorflow_datasets`).
        version: Version of the TFDS builder; None for the newest.
        prepare: Download and prepare a TFDS dataset that is not prepared yet.
        progress: Called with one line before something slow.

    Raises:
        UsageError: There is no such dataset.
        BopkitError: It is not prepared, or cannot be.
    """
    if name in MODULES.names() or ("." in name and not {"/", ":"} & set(name)):
        if version is not None:
            raise UsageError(f"Dataset {name!r} has no versions.", "Leave out --dataset-version.")
        opened = _open_own(name, MODULES.load(name), data_dir)
        opened.data_dir = Path(data_dir).expanduser().absolute() if data_dir else None
        return opened
    builder = tfds_dataset.find_builder(name, data_dir, version)
    if prepare:
        tfds_dataset.prepare(builder, progress or silent)
    return tfds_dataset.TfdsDataset(builder)


def _open_own(name: str, opens: Callable[[str | Path | None], Any], data_dir: str | Path | None) -> Dataset:
    """What `open_dataset` of a module returns.

    Raises:
        UsageError: It takes something else, or returns something else.
    """
    hint = "Define `def open_dataset(data_dir)` that returns a bopkit.data.Dataset, as bopkit/data/digits.py does."
    try:
        inspect.signature(opens).bind(data_dir)
    except TypeError as error:
        raise UsageError(f"`open_dataset` of {name} cannot be called with the data folder: {error}.", hint) from error
    opened = opens(data_dir)
    if not isinstance(opened, Dataset):
        raise UsageError(f"`open_dataset` of {name} returned {type(opened).__name__}, not a dataset.", hint)
    return opened


def prepare_datasets(
    names: Iterable[str],
    data_dir: str | Path | None = None,
    progress: Progress | None = None,
) -> list[Dataset]:
    """Download and prepare datasets, and open them.

    Args:
        names: Names as for `open_dataset`.
        data_dir: Where TFDS keeps prepared datasets; None for its default.
        progress: Called with one line before something slow.

    Raises:
        UsageError: There is no such dataset.
        BopkitError: A dataset cannot be downloaded, or files that only its owner hands out are missing.
    """
    return [open_dataset(name, data_dir, prepare=True, progress=progress) for name in names]
