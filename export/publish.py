"""Putting checked artifacts in place: a flatbuffer replaces the old one, a SavedModel comes beside it."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path

from bopkit.errors import UsageError
from bopkit.export.report import ArtifactReport, CReport
from bopkit.export.serving.server_files import write_server_files
from bopkit.export.spec import SAVED_MODEL, TFLITE
from bopkit.files import sync


def require_folder(path: Path) -> None:
    """Raise UsageError if something else is in the place of a folder for artifacts, or of one on the way to it."""
    for each in (path, *path.parents):
        if each.is_dir():
            return
        if os.path.lexists(each):
            raise UsageError(f"{each} is a file where a folder must be.", "Name another --output.")


def require_free(folder: Path, version: int) -> None:
    """Raise UsageError if `folder` holds that version."""
    if version in _versions(folder):
        raise UsageError(f"{folder / str(version)} exists already.", f"The next free one: --version {_next(folder)}.")


def require_new(folder: Path) -> None:
    """Raise UsageError if something is in the place of a folder that is to be made."""
    if os.path.lexists(folder):
        raise UsageError(
            f"{folder} exists already.", f"Remove it, or name another folder: -o {folder.with_name(f'{folder.name}_2')}"
        )


def place_c_sources(report: CReport, folder: Path) -> CReport:
    """Move checked C sources from their scratch path to their folder, by one rename.

    Raises:
        UsageError: Something is there by now.
    """
    require_new(folder)
    sync(Path(report.path))
    folder.parent.mkdir(parents=True, exist_ok=True)
    return dataclasses.replace(report, path=str(Path(report.path).rename(folder)))


def publish(artifacts: list[ArtifactReport], output: Path, version: int | None) -> list[ArtifactReport]:
    """Move checked artifacts from their scratch paths into `output`, each by one rename.

    Args:
        artifacts: As they were written.
        output: Gets `<stem>.tflite`, and `<stem>/<version>/` beside the settings of the server.
        version: Number of the version directory; None for the next free one.

    Raises:
        UsageError: There is a version of that number by now.
    """
    for artifact in artifacts:
        sync(Path(artifact.path))
    output.mkdir(parents=True, exist_ok=True)
    placed: dict[str, Path] = {}
    try:
        # A version directory is new and can be taken back; the flatbuffer replaces an earlier one: last.
        for artifact in sorted(artifacts, key=lambda each: each.format == TFLITE.name):
            scratch = Path(artifact.path)
            if artifact.format == SAVED_MODEL.name:
                placed[artifact.format] = _place_version(scratch, output / scratch.name, version)
            else:
                placed[artifact.format] = scratch.replace(output / scratch.name)
    except BaseException:  # Ctrl-C too must not leave one artifact without the other
        for path in placed.values():
            shutil.rmtree(path, ignore_errors=True)
        raise
    return [dataclasses.replace(artifact, path=str(placed[artifact.format])) for artifact in artifacts]


def _place_version(scratch: Path, folder: Path, version: int | None) -> Path:
    """Rename a version directory to its number in `folder`, also while others do the same."""
    folder.mkdir(exist_ok=True)
    write_server_files(folder)
    while True:
        if version is not None:
            require_free(folder, version)
        path = folder / str(version or _next(folder))
        try:
            return scratch.rename(path)
        except OSError:
            if not path.exists():
                raise


def _next(folder: Path) -> int:
    return max(_versions(folder), default=0) + 1


def _versions(folder: Path) -> list[int]:
    return [int(each.name) for each in folder.iterdir() if each.name.isdecimal()] if folder.is_dir() else []
