"""The checkpoint of an evaluation: its scores so far, so that the same command goes on where it was interrupted.

~/.cache/bopkit/evaluations/KEY/        $XDG_CACHE_HOME in place of ~/.cache; one for each evaluation
    lock                                held by the process that evaluates
    000000000256-000000000512.chunk     of these pictures: SHA-256, int64 [n] labels, float32 [n, classes] scores

KEY is the SHA-256 of all that decides the scores (`checkpoint_identity`). Chunks are written under another name and
renamed; one that is damaged counts as missing. No error here ends an evaluation: where the folder cannot be made or
written, the evaluation goes on without a checkpoint.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bopkit import files
from bopkit.failures import translate
from bopkit.progress import Progress

KEEP_DAYS = 30
"""A checkpoint that nobody went on with for so long is removed."""

SAVE_EVERY_S = 2.0
"""What an interruption costs at most, but for the batch that was being computed."""

LOCK_PATIENCE_S = 3.0
"""A process that was killed holds its lock for a moment longer."""

_LOCK_FILE = "lock"
_CHUNK = re.compile(r"(\d{12})-(\d{12})\.chunk")
_DIGEST_BYTES = hashlib.sha256().digest_size


class EvaluationCheckpoint:
    """The saved scores of one evaluation.

    Args:
        folder: Where the chunks are; it exists.
        pictures: Number of pictures of the evaluation.
        classes: Number of scores of each.
        progress: Called with one line if nothing can be written any more.
    """

    def __init__(self, folder: Path, pictures: int, classes: int, progress: Progress):
        self.folder = folder
        self._pictures, self._classes = pictures, classes
        self._progress = progress
        self._can_write = True

    def restore(self, scores: np.ndarray, labels: np.ndarray) -> list[tuple[int, int]]:
        """Copy the saved scores and labels into arrays.

        Args:
            scores: float32 [pictures, classes], written to.
            labels: int64 [pictures], written to.

        Returns:
            What is still missing: ranges `(begin, end)` of pictures, in ascending order.
        """
        missing, done = [], 0
        for begin, end, path in self._chunks():
            if not done <= begin < end <= self._pictures:
                continue
            if not self._restore_chunk(path, scores[begin:end], labels[begin:end]):
                continue
            if begin > done:
                missing.append((done, begin))
            done = end
        if done < self._pictures:
            missing.append((done, self._pictures))
        return missing

    def save(self, begin: int, scores: np.ndarray, labels: np.ndarray) -> None:
        """Save the scores of the pictures from `begin` on; once that has failed, nothing is saved any more.

        Args:
            begin: The first picture.
            scores: float32 [n, classes].
            labels: int64 [n].
        """
        if not self._can_write:
            return
        path = self.folder / f"{begin:012d}-{begin + len(labels):012d}.chunk"
        content = labels.astype("<i8").tobytes() + scores.astype("<f4").tobytes()
        try:
            files.write_bytes(path, _digest(path, content) + content)
        except OSError as error:
            self._can_write = False
            self._progress(_cannot_keep(error))

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _chunks(self) -> list[tuple[int, int, Path]]:
        matches = [_CHUNK.fullmatch(path.name) for path in self.folder.glob("*.chunk")]
        return sorted((int(each[1]), int(each[2]), self.folder / each[0]) for each in matches if each)

    def _restore_chunk(self, path: Path, scores: np.ndarray, labels: np.ndarray) -> bool:
        """Copy a chunk into the arrays; False for one that is damaged."""
        try:
            data = path.read_bytes()
        except OSError:
            return False
        content = data[_DIGEST_BYTES:]
        if data[:_DIGEST_BYTES] != _digest(path, content) or len(content) != labels.nbytes + scores.nbytes:
            return False
        labels[:] = np.frombuffer(content, "<i8", len(labels))
        scores[:] = np.frombuffer(content, "<f4", offset=labels.nbytes).reshape(-1, self._classes)
        return True


@contextlib.contextmanager
def open_checkpoint(
    identity: Mapping[str, Any], pictures: int, classes: int, progress: Progress
) -> Iterator[EvaluationCheckpoint | None]:
    """Open the checkpoint of an evaluation and lock it; None where none can be kept, which one line of progress says.

    Args:
        identity: All that decides the scores, as JSON values.
        pictures: Number of pictures.
        classes: Number of classes.
        progress: Called with that line.
    """
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    with contextlib.ExitStack() as stack:
        saved = None
        try:
            folder = evaluations_folder() / key
            folder.mkdir(parents=True, exist_ok=True)
            _remove_old(folder.parent)
            if stack.enter_context(_locked(folder)):
                folder.mkdir(exist_ok=True)  # who held it before has removed it
                for left_by_killed in folder.glob(f"{files.SCRATCH_PREFIX}*"):
                    shutil.rmtree(left_by_killed, ignore_errors=True)
                saved = EvaluationCheckpoint(folder, pictures, classes, progress)
            else:
                progress("another process is measuring the same: this one saves no checkpoint")
        except (OSError, RuntimeError) as error:  # RuntimeError: a user without a home
            progress(_cannot_keep(error))
        yield saved


def evaluations_folder() -> Path:
    """The folder of all checkpoints of this user."""
    return files.user_folder("XDG_CACHE_HOME", ".cache") / "evaluations"


def _digest(path: Path, content: bytes) -> bytes:
    """SHA-256 of a chunk and its name, which says of which pictures its scores are."""
    return hashlib.sha256(path.name.encode() + content).digest()


def _cannot_keep(error: Exception) -> str:
    return f"{translate(error).message} No checkpoint is saved, so an interrupted evaluation starts over."


def _remove_old(evaluations: Path) -> None:
    oldest_s = time.time() - KEEP_DAYS * 24 * 3600
    for folder in evaluations.iterdir():
        with contextlib.suppress(OSError):  # another process may be removing it, too
            if folder.stat().st_mtime < oldest_s:
                shutil.rmtree(folder)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Hold the lock of a folder, whose date it renews; it ends with the process. Yields whether nobody else has it."""
    import fcntl

    os.utime(folder)
    with open(folder / _LOCK_FILE, "w") as file:
        deadline_s = time.monotonic() + LOCK_PATIENCE_S
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline_s:
                    yield False
                    return
                time.sleep(0.05)
            except OSError:  # a disk without locks: two processes would write the same chunks, each by a rename
                break
        yield True
