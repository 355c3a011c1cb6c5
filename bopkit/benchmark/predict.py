"""What a trained network sees in pictures: their best classes, by an artifact of any kind.

The artifact runs in a process of its own (`predict_worker.py`), which a damaged file may end. What it finds arrives
picture by picture, and is passed on: memory does not grow with the number of pictures.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bopkit.artifacts import artifact
from bopkit.artifacts.card import ModelCard
from bopkit.data.picture_files import survey
from bopkit.data.preprocessing import get_preprocessing
from bopkit.data.scaling import unknown_preprocessing
from bopkit.errors import UsageError
from bopkit.isolation import Child
from bopkit.pretrained import model_path
from bopkit.progress import Progress, silent
from bopkit.tabular import Column, Tabular
from bopkit.text import count_text, percent_text

BATCH_SIZE = 100
TOP = 3
"""Classes of each picture."""

_HINT = "The file is damaged, or memory ran out: export it again, or use a machine with more memory."
_WORKER = "bopkit.benchmark.predict_worker:predict_files"


@dataclasses.dataclass(frozen=True)
class ClassScore:
    """One class of a picture.

    Attributes:
        index: Of the network's output, from 0.
        name: As the model card has it; the index as text where it has none.
        score: float32 of the network.
    """

    index: int
    name: str
    score: float


@dataclasses.dataclass(frozen=True)
class PicturePrediction:
    """What was found for one picture.

    Attributes:
        picture: Its path.
        classes: The best ones, from the highest score; of equal scores the first class wins. Empty where it could not
            be read.
        are_probabilities: Whether the scores of all its classes are from 0 and add up to 1.
        error: Why it could not be read, in one line; None where it was.
    """

    picture: str
    classes: tuple[ClassScore, ...]
    are_probabilities: bool = False
    error: str | None = None


@dataclasses.dataclass(frozen=True)
class PredictionFacts:
    """What is known before the first picture.

    Attributes:
        model: Path of the artifact.
        runtime: Name of the library that runs it.
        preprocessing: Name of the preprocessing; empty where a SavedModel without card prepares pictures itself.
        preprocessing_source: `preprocess_fn`, `model card` or `SavedModel`.
        class_names: Name of each class, or its index as text.
        pictures: Number of pictures.
        longest_path: Characters of the longest path of one.
        left_out: Number of files in the folders that are pictures of formats that are not read, by their names.
        left_out_example: One of them.
    """

    model: str
    runtime: str
    preprocessing: str
    preprocessing_source: str
    class_names: tuple[str, ...]
    pictures: int
    longest_path: int
    left_out: int
    left_out_example: str

    def preprocessing_text(self) -> str:
        """The preprocessing and where it is from, for a person."""
        sources = {"preprocess_fn": "as asked for", "model card": "from the model card"}
        if self.preprocessing_source not in sources:
            return "prepared by the SavedModel itself"
        return f"preprocessing {self.preprocessing} {sources[self.preprocessing_source]}"


@dataclasses.dataclass(frozen=True, repr=False)
class Predictions(Tabular):
    """What `predict_pictures` found.

    Attributes:
        facts: Of the network.
        pictures: One prediction a picture, in order.
    """

    facts: PredictionFacts
    pictures: tuple[PicturePrediction, ...]

    _columns = (
        Column("picture", "picture"),
        Column("class", "class_name"),
        Column("score", "score", "{:.4f}".format),
        Column("error", "error"),
    )

    def _title(self) -> str:
        count = count_text(len(self.pictures), "picture")
        return f"{count} by {self.facts.model}, {self.facts.preprocessing_text()}"

    def _records(self) -> list[dict[str, Any]]:
        """A row for each class of each picture; one without a class for a picture that could not be read."""
        return [row for each in self.pictures for row in _rows(each, len(each.classes))]

    def _shown_records(self) -> list[dict[str, Any]]:
        return [row for each in self.pictures for row in _rows(each, 1)]


def _rows(prediction: PicturePrediction, count: int) -> list[dict[str, Any]]:
    picture, error = prediction.picture, prediction.error
    nothing = {"rank": None, "class_index": None, "class_name": None, "score": None}
    if not prediction.classes:
        return [{"picture": picture, **nothing, "error": error}]
    return [
        {
            "picture": picture,
            "rank": rank,
            "class_index": each.index,
            "class_name": each.name,
            "score": each.score,
            "error": error,
        }
        for rank, each in enumerate(prediction.classes[:count], 1)
    ]


def score_text(score: float, is_probability: bool) -> str:
    """A score for a person: a probability in percent, any other as it is."""
    return percent_text(score) if is_probability else f"{score:.4f}"


def predict_pictures(
    model: str | Path,
    pictures: str | Path | Sequence[str | Path],
    *,
    top: int = TOP,
    preprocess_fn: str | None = None,
    batch_size: int = BATCH_SIZE,
    progress: Progress | None = None,
) -> Predictions:
    """Find the best classes of pictures.

    Args:
        model: A Keras file, a run directory, a SavedModel, a flatbuffer or `pull:NAME`: a classifier of pictures.
        pictures: A picture file, a folder, or several of them. Folders are read with all below, sorted by name.
        top: Classes of each picture.
        preprocess_fn: Name of the preprocessing; None for what the card names.
        batch_size: Pictures at a time, for artifacts that compute batches.
        progress: Called with one line now and then.

    Returns:
        A prediction for each picture, in order; of one that could not be read its `error`.

    Raises:
        UsageError: A path or number cannot be right, or no preprocessing is known.
        BopkitError: The artifact cannot be read, is no classifier of pictures, or gives scores that are no numbers.
    """
    paths = [pictures] if isinstance(pictures, str | Path) else list(pictures)
    found: list[PicturePrediction] = []
    facts = run_predictions(
        model, paths, top, preprocess_fn, batch_size, lambda facts: None, found.append, progress or silent
    )
    return Predictions(facts, tuple(found))


def run_predictions(
    model: str | Path,
    pictures: Sequence[str | Path],
    top: int,
    preprocess_fn: str | None,
    batch_size: int,
    on_start: Callable[[PredictionFacts], None],
    on_prediction: Callable[[PicturePrediction], None],
    progress: Progress,
) -> PredictionFacts:
    """Find the best classes of pictures, and pass each picture's on as soon as it is known.

    Args:
        model: As of `predict_pictures`.
        pictures: Files and folders.
        top: Classes of each picture.
        preprocess_fn: Name of the preprocessing; None for what the card names.
        batch_size: Pictures at a time.
        on_start: Called once the artifact is loaded.
        on_prediction: Called for each picture, in order.
        progress: Called with one line now and then.

    Raises:
        UsageError: As of `predict_pictures`.
        BopkitError: As of `predict_pictures`.
    """
    for name, value in (("top", top), ("batch_size", batch_size)):
        if value < 1:
            raise UsageError(f"{name} is {value}.", "Use a number above 0.")
    found = survey(pictures)
    model = model_path(model, progress)
    kind, card, path = artifact.kind(model), artifact.read_card(model), artifact.resolve(model)
    preprocessing, source = _choose_preprocessing(preprocess_fn, card, kind)
    facts: list[PredictionFacts] = []

    def receive(event: dict[str, Any]) -> None:
        if "rows" not in event:
            facts.append(
                PredictionFacts(
                    model=str(path),
                    runtime=event["runtime"],
                    preprocessing=preprocessing or "",
                    preprocessing_source=source,
                    class_names=_class_names(card, event["classes"]),
                    pictures=found.pictures,
                    longest_path=found.longest,
                    left_out=found.left_out,
                    left_out_example=found.example,
                )
            )
            on_start(facts[0])
            return
        for picture, best, is_probable, error in event["rows"]:
            classes = tuple(ClassScore(index, facts[0].class_names[index], score) for index, score in best)
            on_prediction(PicturePrediction(picture, classes, is_probable, error))

    with Child(name="The process that ran {subject}", hint=_HINT) as process:
        process.call(
            _WORKER,
            {
                "kind": kind,
                "path": str(path),
                "pictures": [os.fspath(each) for each in pictures],
                "count": found.pictures,
                "preprocessing": preprocessing,
                "top": top,
                "batch_size": batch_size,
            },
            subject=str(path),
            progress=progress,
            on_event=receive,
        )
    return facts[0]


def _choose_preprocessing(preprocess_fn: str | None, card: ModelCard | None, kind: str) -> tuple[str | None, str]:
    """The name of the preprocessing and who chose it; no name where a SavedModel may prepare pictures itself.

    Raises:
        UsageError: Nobody did, or there is none of that name.
    """
    if preprocess_fn is not None:
        get_preprocessing(preprocess_fn, (32, 32, 3))  # of the name, before anything is loaded; networks may be grey
        return preprocess_fn, "preprocess_fn"
    if card is not None and card.preprocessing:
        return card.preprocessing, "model card"
    if kind == "savedmodel":
        return None, "SavedModel"
    raise unknown_preprocessing("A prediction")


def _class_names(card: ModelCard | None, classes: int) -> tuple[str, ...]:
    """Those of the card where it has one for each class, else numbers."""
    if card is not None and len(card.class_names) == classes:
        return card.class_names
    return tuple(map(str, range(classes)))
