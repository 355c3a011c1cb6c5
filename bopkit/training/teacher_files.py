"""Teachers before they are loaded: found, compared with the dataset, and on a resume with those of the run.

The run's config has the SHA-256 of each, so that a run goes on with the same teachers only.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Sequence
from pathlib import Path

from bopkit.artifacts import artifact, checksum
from bopkit.artifacts.card import ModelCard
from bopkit.data import Dataset, get_preprocessing
from bopkit.data.scaling import EXAMPLES
from bopkit.errors import BopkitError, UsageError
from bopkit.pretrained import model_path
from bopkit.progress import Progress
from bopkit.runs.directory import ENVIRONMENT_FILE, has_progress, read_config
from bopkit.text import count_text


@dataclasses.dataclass(frozen=True)
class TeacherFile:
    """A teacher that is not loaded yet.

    Attributes:
        name: Its path, as it was typed.
        path: The file, or the version directory of a SavedModel.
        sha256: Of its content, 64 hexadecimal digits.
        preprocessing: Name of the preprocessing whose scaling makes its input.
        has_card: Whether it has a model card, which names the preprocessing.
        has_class_names: Whether its card names its classes, so that they were compared with the dataset's.
    """

    name: str
    path: Path
    sha256: str
    preprocessing: str
    has_card: bool
    has_class_names: bool

    def config(self) -> dict[str, str]:
        """What of it decides the run's outcome."""
        return {"sha256": self.sha256, "preprocessing": self.preprocessing}


def find_teachers(
    names: Sequence[str | Path], preprocess_fn: str | None, data: Dataset, progress: Progress | None = None
) -> tuple[TeacherFile, ...]:
    """Find teachers, and check as much of them as needs no loading.

    Args:
        names: Model files, runs, SavedModels, or `pull:NAME`.
        preprocess_fn: The preprocessing of those without a card.
        data: What they are to know the classes of.
        progress: Called with one line before something slow, and during a download.

    Raises:
        UsageError: One is no Keras file or SavedModel, has other classes, or nobody names its preprocessing.
        BopkitError: One is missing or damaged.
    """
    found = tuple(_find(Path(name), preprocess_fn, data, progress) for name in names)
    if preprocess_fn and found and all(teacher.has_card for teacher in found):
        raise UsageError(
            "--teacher-preprocess-fn is for teachers without a model card, and every teacher has one.", "Leave it out."
        )
    return found


def teacher_checksum(name: str | Path, progress: Progress | None = None) -> str:
    """SHA-256 of a teacher's content, 64 hexadecimal digits.

    Args:
        name: As of `find_teachers`.
        progress: As of `find_teachers`.

    Raises:
        BopkitError: It cannot be read, or is a folder without a network.
    """
    found = checksum.source_checksum(artifact.resolve(model_path(name, progress)))
    if not found:
        raise BopkitError(f"Teacher {name} does not exist, or cannot be read.", "Check the path.")
    return found


def _find(name: Path, preprocess_fn: str | None, data: Dataset, progress: Progress | None) -> TeacherFile:
    path = artifact.resolve(model_path(name, progress))
    exported = {"tflite": "A flatbuffer", "c": "A folder of C sources"}.get(artifact.kind(path))
    if exported:
        raise UsageError(f"{exported}, as {name}, cannot be a teacher.", "Give the .h5 file that it was made from.")
    card = artifact.read_card(path)
    preprocessing = card.preprocessing if card else preprocess_fn
    if not preprocessing:
        raise UsageError(
            f"Teacher {name} carries no model card that says what it wants to see of a picture.",
            f"Name it with --teacher-preprocess-fn, for instance {EXAMPLES}.",
        )
    get_preprocessing(preprocessing, (224, 224, 3) if card is None else card.input_shape)  # of the name
    return TeacherFile(
        name=str(name),
        path=path,
        sha256=checksum.source_checksum(path),
        preprocessing=preprocessing,
        has_card=card is not None,
        has_class_names=card is not None and _has_same_classes(card, name, data),
    )


def _has_same_classes(card: ModelCard, name: Path, data: Dataset) -> bool:
    """Whether the names of a teacher's classes say that they are the dataset's; False where they say nothing.

    Raises:
        UsageError: It is untrained, or its classes are others, or stand in another order.
    """
    if not card.trained:
        raise UsageError(f"Teacher {name} is untrained: it has nothing to teach.", "Name a trained network.")
    own, theirs = ([each.casefold() for each in names] for names in (card.class_names, data.class_names))
    if not own:
        return False
    if own == theirs:
        return True
    if len(own) != len(theirs):
        what = f"has {len(own)} classes, and dataset {data.name} has {len(theirs)}"
    elif sorted(own) == sorted(theirs):
        what = f"has the classes of dataset {data.name} in another order"
    else:
        place = next(place for place, pair in enumerate(zip(own, theirs, strict=True)) if pair[0] != pair[1])
        what = (
            f"has other classes than dataset {data.name}: class {place} is {card.class_names[place]!r} there and "
            f"{data.class_names[place]!r} here"
        )
    raise UsageError(f"Teacher {name} {what}.", "Name a teacher that was trained on the same classes.")


def check_same_teachers(run: Path, teachers: Sequence[TeacherFile]) -> None:
    """Refuse to go on with a run without its teachers, or with others.

    Args:
        run: The run directory.
        teachers: Those that were named now.

    Raises:
        UsageError: They are not those that it began with.
    """
    before = read_config(run).get("teachers", [])
    now = [teacher.config() for teacher in teachers]
    if before == now or not has_progress(run):
        return
    names = _names_of(run, len(before))
    repeat = shlex.join(word for name in names for word in ("--teacher", name))
    if not before:
        raise UsageError(f"{run} was begun without a teacher.", "Leave out --teacher, or name another --output-dir.")
    if not now:
        raise UsageError(f"{run} learns from {' and '.join(names)}, which is not named now.", f"Add {repeat}.")
    if len(before) == len(now):
        for teacher, name, theirs, ours in zip(teachers, names, before, now, strict=True):
            if theirs != ours:
                key = "sha256" if theirs["sha256"] != ours["sha256"] else "preprocessing"
                raise UsageError(
                    f"Teacher {teacher.name} is not the one that {run} was begun with ({name}): its {key} is "
                    f"{theirs[key]!r} there and {ours[key]!r} here.",
                    "Give the same file and options again, or name another --output-dir.",
                )
    raise UsageError(
        f"{run} was begun with {count_text(len(before), 'teacher')}, and {len(now)} are named now.", f"Type {repeat}."
    )


def _names_of(run: Path, count: int) -> list[str]:
    """The teachers' paths when the run was started last; placeholders where that is not known."""
    try:
        names = json.loads((run / ENVIRONMENT_FILE).read_text())["teachers"]
        if len(names) == count and all(isinstance(name, str) for name in names):
            return names
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return ["MODEL"] * count
