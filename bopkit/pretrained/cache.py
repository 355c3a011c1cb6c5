"""Where downloaded weights and the networks built of them are kept.

~/.cache/bopkit/pretrained/         $XDG_CACHE_HOME in place of ~/.cache
    weights/FOLDER/FILE             as it was released; FILE.part while it is being downloaded
    models/KEY/NAME.h5              the network with its model card; KEY is of all that it is built from
    locks/NAME                      held by the process that downloads or builds it
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from bopkit import files
from bopkit.pretrained.releases import Release
from bopkit.progress import Progress

_POLL_S = 0.1


def folder() -> Path:
    """The folder of all that is kept."""
    return files.user_folder("XDG_CACHE_HOME", ".cache") / "pretrained"


def weights_file(release: Release) -> Path:
    """Where released weights are kept, and where a user may put them."""
    return folder() / "weights" / release.folder / release.file


def model_file(name: str, key: str) -> Path:
    """Where the network of a name is kept; its stem is the name."""
    return folder() / "models" / key / f"{name}.h5"


@contextlib.contextmanager
def locked(name: str, progress: Progress) -> Iterator[None]:
    """Wait until no other process downloads or builds a network, and keep others from it; it ends with the process."""
    path = folder() / "locks" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a") as file:
        _lock(file.fileno(), f"Another bopkit is getting {name}: waiting for it", progress)
        yield


def _lock(descriptor: int, waiting: str, progress: Progress) -> None:
    try:
        import fcntl
    except ImportError:  # Windows: two processes may download the same, and checksums tell what they spoiled
        return
    has_said = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if not has_said:
                progress(waiting)
                has_said = True
            time.sleep(_POLL_S)
        except OSError:  # a disk without locks
            return
