"""Open the user's own pictures by name: see `bopkit.data.own.naming`."""

from __future__ import annotations

from pathlib import Path

from bopkit.data.dataset import Dataset
from bopkit.data.own.listed import Selection
from bopkit.data.own.naming import KINDS, KINDS_OF_FILES, SKIP_DAMAGED, SPLITS_OF, OwnName
from bopkit.data.own.remembered import remembered_pictures
from bopkit.errors import UsageError
from bopkit.progress import Progress
from bopkit.text import printable


def open_own(name: OwnName, progress: Progress) -> Dataset:
    """Open the user's own pictures.

    Args:
        name: Of what kind they are, and where.
        progress: Called with one line now and then.

    Raises:
        UsageError: The path is not there or of another kind, or what it holds is no dataset.
        BopkitError: It cannot be read.
    """
    kind, path = name.kind, Path(name.path).expanduser()
    if kind not in KINDS_OF_FILES and (name.skips_damaged or name.splits_of):
        raise UsageError(f"{kind}: has no files of single pictures.", f"Name it {kind}:{name.path}.")
    if not name.path or not (path.is_dir() if KINDS[kind] == "folder" else path.is_file()):
        problem = f"is no {KINDS[kind]}" if path.exists() else "does not exist"
        text = f"{printable(name.path)} {problem}" if name.path else "No path is named"
        known = f" Behind a question mark, {SKIP_DAMAGED} and {SPLITS_OF}RUN are known." if "?" in name.path else ""
        raise UsageError(f"{text}.", f"Name a {KINDS[kind]}: {kind}:PATH.{known}")
    short = f"{kind}:{path.resolve().name}"
    if kind == "npz":
        from bopkit.data.own.npz import open_npz

        return open_npz(path, short)
    if kind == "idx":
        from bopkit.data.own.idx import open_idx

        return open_idx(path, short)
    selection = Selection(name.skips_damaged, remembered_pictures(Path(name.splits_of)) if name.splits_of else None)
    if kind == "csv":
        from bopkit.data.own.table import open_table

        return open_table(path, short, selection, progress)
    from bopkit.data.own.folder import open_folder

    return open_folder(path, short, selection, progress)


def kind_of_path(path: Path) -> str:
    """The kind that a path seems to be of; empty where none fits."""
    if path.is_dir():
        is_idx = any("idx" in each.name and "ubyte" in each.name for each in path.iterdir())
        return "idx" if is_idx else "folder"
    return {".npz": "npz", ".csv": "csv"}.get(path.suffix.lower(), "")
