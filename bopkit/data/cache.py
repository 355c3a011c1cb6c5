"""A copy of a split's encoded pictures on a fast disk, as `--data-cache DIR` asks for.

DIR/KEY/          one for each split of a dataset, see `Dataset.cache_folder`
    lock          held by the process that makes the copy
    copy/         the whole copy; it appears by a rename
    .bopkit-*/    a copy in the making, or what a killed process left of one
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bopkit import files
from bopkit.data.dataset import Dataset, damaged_cache, readable
from bopkit.progress import Progress


def cached_in(cache: str, dataset: Dataset, split: str, progress: Progress) -> Any:
    """The pictures of a split from their copy, which is made first if it is not there.

    Args:
        cache: The folder of all copies; several runs may share it.
        dataset: An opened dataset.
        split: For instance `train[:90%]`.
        progress: Called with one line before something slow.

    Returns:
        What `dataset.read(split)` returns.

    Raises:
        BopkitError: The dataset cannot be read, or the copy has lost files.
    """
    folder = dataset.cache_folder(cache, split)
    copy = folder / "copy"
    if not copy.exists():
        _fill(copy, dataset, split, progress)
    if not (copy / "pictures.index").exists():  # TensorFlow would write there, and not by a rename
        raise damaged_cache(folder)
    return dataset.read(split).cache(str(copy / "pictures"))


def _fill(copy: Path, dataset: Dataset, split: str, progress: Progress) -> None:
    """Make the copy, unless another process makes it in the meantime."""
    folder = copy.parent
    folder.mkdir(parents=True, exist_ok=True)
    with _lock(folder / "lock", f"waiting for another process that is filling {folder}", progress) as is_alone:
        if copy.exists():
            return
        if is_alone:
            for left_by_killed in folder.glob(f"{files.SCRATCH_PREFIX}*"):
                shutil.rmtree(left_by_killed, ignore_errors=True)
        progress(f"filling the cache {folder} with {dataset.identity}, {split}")
        with files.scratch_directory(folder) as scratch:
            (scratch / "copy").mkdir()
            for _ in readable(dataset.read(split).cache(str(scratch / "copy" / "pictures")), dataset, split):
                pass
            try:
                (scratch / "copy").rename(copy)
            except OSError:
                if not copy.exists():  # it does where there are no locks and another process was faster
                    raise


@contextlib.contextmanager
def _lock(path: Path, waiting: str, progress: Progress) -> Iterator[bool]:
    """Wait for a lock, and hold it; it ends with the process, however that ends. Yields whether the disk has locks."""
    import fcntl

    with open(path, "w") as file:
        has_locks = True
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(waiting)
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            has_locks = False
        yield has_locks
