"""Putting checked artifacts in place: a flatbuffer replaces the old one, a SavedModel comes beside it."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

from bopkit.export.report import ArtifactReport
from bopkit.export.spec import SAVED_MODEL, TFLITE


def existing_ancestor(path: Path) -> Path:
    """The nearest folder on the way to `path` that exists: scratch files there leave nothing behind."""
    path = path.absolute()
    return path if path.is_dir() else existing_ancestor(path.parent)


def publish(artifacts: list[ArtifactReport], output: Path) -> list[ArtifactReport]:
    """Move checked artifacts from their scratch paths into `output`, each by one rename."""
    output.mkdir(parents=True, exist_ok=True)
    placed: dict[str, Path] = {}
    try:
        # A version directory is new and can be taken back; the flatbuffer replaces an earlier one: last.
        for artifact in sorted(artifacts, key=lambda each: each.format == TFLITE.name):
            scratch = Path(artifact.path)
            if artifact.format == SAVED_MODEL.name:
                placed[artifact.format] = _rename_to_next_version(scratch, output / scratch.name)
            else:
                placed[artifact.format] = scratch.replace(output / scratch.name)
    except OSError:
        for path in placed.values():
            shutil.rmtree(path)
        raise
    return [dataclasses.replace(artifact, path=str(placed[artifact.format])) for artifact in artifacts]


def _rename_to_next_version(scratch: Path, folder: Path) -> Path:
    """Rename a version directory to the next free integer in `folder`, also while others do the same."""
    folder.mkdir(exist_ok=True)
    while True:
        taken = [int(each.name) for each in folder.iterdir() if each.name.isdecimal()]
        path = folder / str(max(taken, default=0) + 1)
        try:
            return scratch.rename(path)
        except OSError:
            if not path.exists():
                raise
