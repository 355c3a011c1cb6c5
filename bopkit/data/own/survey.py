"""A look at every picture of a list, before anything is done with them: sizes, and which ones cannot be used.

The headers and the ends of files are read, which takes some 30 microseconds a file. What does not end as its format
says is decoded. A thorough survey decodes every picture, which takes a hundred times as long; its result is kept:

~/.cache/bopkit/surveys/KEY.npz        $XDG_CACHE_HOME in place of ~/.cache; one for each list of files
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import os
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bopkit import files, keras2
from bopkit.data.decoding import decode
from bopkit.data.picture_formats import END_BYTES, read_header, refusal, seems_whole
from bopkit.host import usable_cores
from bopkit.keras2 import import_tensorflow
from bopkit.picture_meter import PictureMeter
from bopkit.progress import Progress

FILES_AT_ONCE = 1000
KEPT_SURVEYS = 20
KEPT_MEANING = b"sizes as seen\0"
"""Tells kept surveys from those of versions that kept other figures under the same names."""


@dataclasses.dataclass(frozen=True)
class Survey:
    """What is known of the pictures of a list.

    Attributes:
        sizes_px: Height and width of each as it is seen, int32 [n, 2]; zeros of one that cannot be used.
        are_grey: Whether all colours of a picture are grey, as far as its header tells, bool [n].
        checksums: Of the size and the first and last bytes of each file, uint32 [n]: most changes change them.
        problems: Why a picture cannot be used, by its place in the list.
    """

    sizes_px: np.ndarray
    are_grey: np.ndarray
    checksums: np.ndarray
    problems: dict[int, str]


def survey_pictures(root: Path, paths: Sequence[bytes], is_thorough: bool, progress: Progress) -> Survey:
    """Look at every picture.

    Args:
        root: The folder that the paths begin in.
        paths: Of the files.
        is_thorough: Whether to decode each.
        progress: Called with one line every few seconds.
    """
    states = [_state(root, path) for path in paths]
    kept = _kept_file(root, paths, states) if is_thorough else None
    survey = _read_kept(kept, len(paths)) if kept else None
    if survey is not None:
        return survey
    sizes, are_grey = np.zeros((len(paths), 2), np.int32), np.zeros(len(paths), bool)
    checksums = np.zeros(len(paths), np.uint32)
    problems: dict[int, str] = {}
    meter = PictureMeter(len(paths), len(paths), progress)
    meter.begin()
    with concurrent.futures.ThreadPoolExecutor(usable_cores()) as pool:
        for begin in range(0, len(paths), FILES_AT_ONCE):
            places = range(begin, min(begin + FILES_AT_ONCE, len(paths)))
            looked = [(place, _look(os.path.join(os.fsencode(root), paths[place]), states[place])) for place in places]
            unsure = [(place, look) for place, look in looked if not look.problem and (is_thorough or look.is_unsure)]
            decoded = _decoding_problems([look.path for _, look in unsure], pool)
            for place, look in looked:
                sizes[place], are_grey[place], checksums[place] = look.size_px, look.is_grey, look.checksum
                if look.problem:
                    problems[place] = look.problem
            problems |= {place: problem for (place, _), problem in zip(unsure, decoded, strict=True) if problem}
            meter.count(len(places))
    survey = Survey(sizes, are_grey, checksums, dict(sorted(problems.items())))
    if kept:
        _keep(kept, survey)
    return survey


@dataclasses.dataclass(frozen=True)
class _Look:
    path: bytes
    size_px: tuple[int, int] = (0, 0)
    is_grey: bool = False
    checksum: int = 0
    problem: str = ""
    is_unsure: bool = False


def _state(root: Path, path: bytes) -> tuple[int, int] | str:
    """Size in bytes and time of the last change of a file, or why it is none."""
    try:
        found = os.stat(os.path.join(os.fsencode(root), path))
    except FileNotFoundError:
        return "does not exist, or is a link to nothing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return found.st_size, found.st_mtime_ns


def _look(path: bytes, state: tuple[int, int] | str) -> _Look:
    """What the header and the end of a file tell."""
    if isinstance(state, str):
        return _Look(path, problem=state)
    if not os.path.isfile(path):  # reading a pipe may never end
        return _Look(path, problem="is not a file of bytes on a disk")
    if not state[0]:
        return _Look(path, problem="is empty")
    try:
        with open(path, "rb") as file:
            header = read_header(file)
            file.seek(0)
            head = file.read(END_BYTES)
            file.seek(max(0, state[0] - END_BYTES))
            tail = file.read(END_BYTES)
    except OSError as error:
        return _Look(path, problem=f"cannot be read: {error.strerror}")
    problem = refusal(header, head)
    if header is None or problem:
        return _Look(path, problem=problem)
    return _Look(
        path,
        (header.height, header.width),
        header.is_grey,
        zlib.crc32(b"%d" % state[0], zlib.crc32(tail, zlib.crc32(head))),
        is_unsure=not seems_whole(head, tail, state[0], header),
    )


@keras2.quiet_stderr()
def _decoding_problems(paths: Sequence[bytes], pool: concurrent.futures.Executor) -> list[str]:
    """Why each picture cannot be decoded; empty for those that can. What decoders print of damage is no answer."""
    if paths:
        import_tensorflow()  # on one thread
    return list(pool.map(_decoding_problem, paths))


def _decoding_problem(path: bytes) -> str:
    """Why a picture cannot be decoded; empty where it can."""
    tf = import_tensorflow()
    try:
        with open(path, "rb") as file:
            decode(tf.constant(file.read()), 3)
    except tf.errors.OpError:
        return "is damaged"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return ""


def _kept_file(root: Path, paths: Sequence[bytes], states: Sequence[tuple[int, int] | str]) -> Path | None:
    """Where the survey of these files, as they are, is kept; None where nothing can be kept."""
    digest = hashlib.sha256(KEPT_MEANING + os.fsencode(root.absolute()))
    for path, state in zip(paths, states, strict=True):
        digest.update(path + repr(state).encode() + b"\0")
    with contextlib.suppress(RuntimeError):
        return files.user_folder("XDG_CACHE_HOME", ".cache") / "surveys" / f"{digest.hexdigest()[:32]}.npz"
    return None


def _read_kept(kept: Path, count: int) -> Survey | None:
    """A kept survey of so many pictures; None where there is none, or a damaged one."""
    with contextlib.suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile), np.load(kept) as arrays:
        survey = Survey(
            arrays["sizes_px"],
            arrays["are_grey"],
            arrays["checksums"],
            dict(zip(arrays["places"].tolist(), arrays["problems"].tolist(), strict=True)),
        )
        return survey if survey.sizes_px.shape == (count, 2) and survey.are_grey.shape == (count,) else None
    return None


def _keep(kept: Path, survey: Survey) -> None:
    """Keep a survey and forget the oldest ones; where that fails, the next command surveys anew."""
    places, problems = list(survey.problems), list(survey.problems.values())
    with contextlib.suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        with files.replacing(kept) as scratch:
            np.savez_compressed(
                scratch,
                sizes_px=survey.sizes_px,
                are_grey=survey.are_grey,
                checksums=survey.checksums,
                places=np.array(places, np.int64),
                problems=np.array(problems, str),
            )
        by_age = sorted(kept.parent.glob("*.npz"), key=lambda each: each.stat().st_mtime)
        for old in by_age[:-KEPT_SURVEYS]:
            old.unlink(missing_ok=True)
