"""Open a dataset by name: the embedded digits, a builder of TensorFlow Datasets, a user's own pictures or module.

Known names win over modules, and so a name that TFDS knows stays what it is in every folder.
"""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Iterable
from pathlib import Path

from bopkit.data.catalogue import DATASETS
from bopkit.data.dataset import Dataset, opened_already
from bopkit.data.own.naming import KINDS, parse_own_name
from bopkit.data.own.opening import kind_of_path, open_own
from bopkit.data.tfds_builder import UnknownDatasetError, find_builder, prepare_builder
from bopkit.data.tfds_dataset import TfdsDataset
from bopkit.errors import BopkitError, UsageError
from bopkit.own_code import module_here
from bopkit.progress import Progress, silent
from bopkit.registry import Registry

MODULES = Registry("dataset", "open_dataset", "bopkit data list")
MODULES.register("digits", "bopkit.data.digits")

FILES_OF_PICTURES = (
    *(".npz", ".npy", ".pkl", ".csv", ".parquet", ".tfrecord", ".hdf5"),
    *(".zip", ".tar", ".gz", ".tgz"),
)
"""Endings of files that users name in place of a dataset: `data.npz` would read as a dotted name."""


def open_dataset(
    name: str,
    data_dir: str | Path | None = None,
    version: str | None = None,
    prepare: bool = False,
    progress: Progress | None = None,
    own_modules: bool = True,
    source: str | Path | None = None,
) -> Dataset:
    """Open a dataset by name.

    Args:
        name: `digits`; a TFDS builder, as `name`, `name/config` or `name:version`; the user's own pictures, as
            `folder:PATH`, `csv:FILE`, `npz:FILE` or `idx:FOLDER`; the dotted name of a module that defines
            `open_dataset(data_dir)`, or the plain name of one in the working folder.
        data_dir: Where TFDS keeps prepared datasets; None for its default (`~/tensorflow_datasets`).
        version: Version of the TFDS builder; None for the newest.
        prepare: Download and prepare a TFDS dataset that is not prepared yet.
        progress: Called with one line before something slow.
        own_modules: Whether to import a module of the user's own: not where a stranger's file chose the name.
        source: With `prepare`, a folder with the archives of a TFDS dataset: it is prepared from them, without network.

    Raises:
        UsageError: There is no such dataset.
        BopkitError: It is not prepared, or cannot be.
    """
    if not isinstance(name, str):
        raise opened_already(name)
    own = parse_own_name(name)
    if own is not None:
        if source is not None:
            raise _made_of_no_archives(name)
        if version is not None:
            raise _no_versions(name)
        if not own_modules:  # nor may a stranger's file choose a path
            raise _unknown_of_card(name)
        return open_own(own, progress or silent)
    if name not in MODULES.names() and _is_path(name):
        raise _not_by_path(name)
    is_module = own_modules and (name.endswith(".py") or ("." in name and not {"/", ":"} & set(name)))
    if is_module or name in MODULES.names():
        if source is not None:
            raise _made_of_no_archives(name)
        return _open_module(name, data_dir, version)
    try:
        builder = find_builder(name, data_dir, version)
    except UnknownDatasetError as error:
        if not own_modules:
            raise _unknown_of_card(name) from error
        if module_here(name):
            if source is not None:
                raise _made_of_no_archives(name) from error
            return _open_module(name, data_dir, version)
        if name and Path(name).exists():
            raise _not_by_path(name) from error
        unknown = MODULES.unknown(name, DATASETS)
        raise UsageError(unknown.message, f"{unknown.hint} Your own pictures are folder:PATH.") from error
    if prepare:
        prepare_builder(builder, progress or silent, None if source is None else Path(source))
    return TfdsDataset(builder)


def _open_module(name: str, data_dir: str | Path | None, version: str | None) -> Dataset:
    """The dataset that `open_dataset` of a module returns.

    Raises:
        UsageError: It takes something else, or returns something else; a version is named.
    """
    if version is not None:
        raise _no_versions(name)
    opens = MODULES.load(name)
    hint = "Define `def open_dataset(data_dir)` that returns a bopkit.data.Dataset, as bopkit/data/digits.py does."
    try:
        inspect.signature(opens).bind(data_dir)
    except TypeError as error:
        raise UsageError(f"`open_dataset` of {name} cannot be called with the data folder: {error}.", hint) from error
    opened = opens(data_dir)
    if not isinstance(opened, Dataset):
        raise UsageError(f"`open_dataset` of {name} returned {type(opened).__name__}, not a dataset.", hint)
    opened.data_dir = Path(data_dir).expanduser().absolute() if data_dir else None
    return opened


def is_known(name: str) -> bool:
    """Whether bopkit or TFDS knows a dataset of that name, prepared or not."""
    if name in DATASETS:
        return True
    try:
        find_builder(name, None, None)
    except (UnknownDatasetError, BopkitError):
        return False
    return True


def _unknown_of_card(name: str) -> UsageError:
    return UsageError(
        f"The model card names the dataset {name!r}, which neither bopkit nor TFDS knows.",
        "Name its pictures with --dataset; docs/training.md says under 'Your own pictures' how those of Python get a "
        "name.",
    )


def _no_versions(name: str) -> UsageError:
    return UsageError(f"Dataset {name!r} has no versions.", "Leave out --dataset-version.")


def _made_of_no_archives(name: str) -> UsageError:
    return UsageError(f"Dataset {name} is not made of archives.", "Leave out --from.")


def _is_path(name: str) -> bool:
    """Whether a name can only be meant as a path of pictures."""
    path = Path(name)
    is_file = path.suffix not in ("", ".py") and path.is_file()
    return name.startswith((".", "/", "~")) or is_file or path.suffix.lower() in FILES_OF_PICTURES


def _not_by_path(name: str) -> UsageError:
    path = Path(name).expanduser()
    if not path.exists():
        return UsageError(
            f"{name} does not exist.", "Name a dataset (`bopkit data list`), or your pictures: folder:PATH."
        )
    kind = kind_of_path(path)
    if kind:
        return UsageError(
            f"{name} is a path, and a dataset is named by what it is.",
            f"Name it {shlex.quote(f'{kind}:{name}')}; docs/training.md says more under 'Your own pictures'.",
        )
    return UsageError(
        f"{name} is a file that bopkit does not read.",
        f"It reads {', '.join(f'{kind}:PATH' for kind in KINDS)}; docs/training.md shows under 'Your own pictures' how "
        "other files get in.",
    )


def prepare_datasets(
    names: Iterable[str],
    data_dir: str | Path | None = None,
    progress: Progress | None = None,
    source: str | Path | None = None,
) -> list[Dataset]:
    """Download and prepare datasets, and open them.

    Args:
        names: Names as for `open_dataset`.
        data_dir: Where TFDS keeps prepared datasets; None for its default.
        progress: Called with one line before something slow.
        source: A folder with the archives that would be downloaded, under the names that they then have. It is only
            read, and nothing is downloaded.

    Raises:
        UsageError: There is no such dataset, or `source` is no folder.
        BopkitError: A dataset cannot be downloaded, or files that only its owner hands out are missing; an archive is
            missing from `source`, or is not the one that TFDS knows.
    """
    return [open_dataset(name, data_dir, prepare=True, progress=progress, source=source) for name in names]
