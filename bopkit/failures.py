"""The one place where exceptions of libraries and of the operating system get a clear line and a hint."""

from __future__ import annotations

import errno
import re
from pathlib import Path

from bopkit import own_code
from bopkit.errors import BopkitError
from bopkit.files import SCRATCH_PREFIX


def translate(error: Exception) -> BopkitError:
    """The clear form of any exception."""
    if isinstance(error, BopkitError):
        return error
    text = _reason(error)
    if is_full_disk(error):
        name = getattr(error, "filename", None)
        return _full_disk(None if name is None else _shown(name))
    if isinstance(error, OSError):
        path = None if error.filename is None else _shown(error.filename)
        if path is not None and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return BopkitError(f"No permission for {path}.", "Choose another folder, or fix its permissions.")
        if path is not None and isinstance(error, (FileExistsError, NotADirectoryError)):
            return BopkitError(f"{path} cannot be a folder: a file is in its place.", "Name another folder.")
        if path is not None:
            return BopkitError(f"{path}: {error.strerror}.", "Check the path.")
    if "Could not determine home directory" in text:
        return BopkitError("This user has no home folder.", "Set HOME to a folder of yours: export HOME=/tmp/me")
    if isinstance(error, MemoryError):
        return _out_of_memory()
    # TensorFlow's own errors are told apart by name: importing it here would cost seconds.
    if type(error).__name__ == "ResourceExhaustedError" or any(sign in text for sign in _SIGNS_OF_NO_MEMORY):
        return _out_of_memory()
    if type(error).__name__ in ("DataLossError", "NotFoundError") or "Input dataset was expected to contain" in text:
        return BopkitError(
            f"A file is damaged or missing: {text[:300]}.",
            "If it belongs to a dataset, remove its folder and run `bopkit data prepare DATASET`, or copy it again.",
        )
    own = own_code.failure_in(error)
    if own:
        return BopkitError(f"{own}.", own_code.HINT)
    return BopkitError(
        f"{type(error).__name__}: {text[:300]}", "This looks like a bug: run again with --debug and report it."
    )


def is_full_disk(error: BaseException) -> bool:
    """Whether an error says that a disk, or what a user may write on it, is full."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
        return True
    text = str(error)  # TensorFlow's errors have no number
    return "No space left on device" in text or "File too large" in text


_SIGNS_OF_NO_MEMORY = ("OOM when allocating", "exception:Status: 1,")  # TensorFlow's, and oneDNN's out_of_memory


def _reason(error: Exception) -> str:
    """The error's own words in one line, without the places in the graph that TensorFlow and Keras add."""
    text = _PLACE_IN_GRAPH.sub("", str(error))
    first_of_several = _FIRST_ROOT_ERROR.search(text)
    if first_of_several:
        return " ".join(first_of_several[1].split())
    lines = [line for line in text.splitlines() if line.strip()]
    if lines and lines[0].startswith("Graph execution error"):  # a listing of source lines, then the reason
        lines = lines[-1:]
    return " ".join(" ".join(lines).split())


_FIRST_ROOT_ERROR = re.compile(r"root error\(s\) found\.\s*\(0\) (?:[A-Z_]+: )?(.*)")
_PLACE_IN_GRAPH = re.compile(r"\[\[.*?\]\]|\{\{.*?\}\}|\[Op:.*?\]( name:)?")


def _shown(path: object) -> str:
    """A path as the user knows it: without scratch folders, from which files are renamed to where they belong."""
    return str(Path(*(part for part in Path(str(path)).parts if not part.startswith(SCRATCH_PREFIX))))


def _full_disk(path: str | None) -> BopkitError:
    where = f" while writing {path}" if path else ""
    return BopkitError(f"The disk is full{where}.", "Free some space and run the command again.")


def _out_of_memory() -> BopkitError:
    return BopkitError(
        "Out of memory.",
        "To train, add `--hparams batch_size=` with half the size; else use smaller pictures, or a larger machine.",
    )
