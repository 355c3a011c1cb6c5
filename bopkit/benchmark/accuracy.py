"""Evaluation of an artifact on a dataset: which pictures, whether they fit, and its scores of them.

TensorFlow, which reads the pictures, is imported inside `write_scores`. Figures are made of the scores in
`bopkit.benchmark.accuracy_figures`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bopkit.artifacts import checksum
from bopkit.artifacts.card import ModelCard
from bopkit.benchmark.evaluation_checkpoint import SAVE_EVERY_S, EvaluationCheckpoint
from bopkit.benchmark.job import LABELS_FILE, SCORES_FILE, EvaluationPlan
from bopkit.benchmark.runtimes.parallel import Predictor, predicted
from bopkit.data import evaluation_batches, get_preprocessing, open_dataset, readable
from bopkit.data.pipeline import DRAW_SEED
from bopkit.data.scaling import unknown_preprocessing
from bopkit.data.splits import last_tenth, measuring_split
from bopkit.errors import BopkitError, UsageError
from bopkit.picture_meter import PictureMeter
from bopkit.progress import Progress
from bopkit.text import shortened_list
from bopkit.versions import RUNTIME_PACKAGES, package_versions


class PreprocessingChoice(NamedTuple):
    """The name of a preprocessing, and who chose it: `preprocess_fn` or `model card`."""

    name: str
    source: str


def plan_evaluation(
    name: str,
    data_dir: str | Path | None,
    split: str | None,
    preprocess_fn: str | None,
    limit: int | None,
    batch_size: int,
    resume: bool = False,
    card: ModelCard | None = None,
    own_modules: bool = True,
) -> EvaluationPlan:
    """Open a dataset and check what is asked of it, before any artifact is loaded.

    Args:
        name: Name of a prepared dataset.
        data_dir: Where TFDS keeps prepared datasets; None for its default.
        split: Split of the dataset; None for its test split, or where it has none the one that the card names.
        preprocess_fn: Name of a preprocessing, `default` for the dataset's; None for each artifact's own.
        limit: Measure on that many pictures; None for all.
        batch_size: Pictures at a time.
        resume: Whether to keep a checkpoint, and to go on with that of an interrupted evaluation.
        card: Of the network, or of one of them.
        own_modules: Whether the name may be that of a module of the user's own: not where a card chose it.

    Raises:
        UsageError: An unknown name, or a split without pictures.
        BopkitError: The dataset is not prepared.
    """
    dataset = open_dataset(name, data_dir, own_modules=own_modules)
    split = split or measuring_split(dataset, card)
    if not split:
        raise UsageError(
            f"Dataset {name} has no test split.", f"Name a split, for instance --split '{last_tenth(dataset)}'."
        )
    if preprocess_fn == "default":
        preprocess_fn = dataset.default_preprocessing
    if preprocess_fn is not None:
        get_preprocessing(preprocess_fn, (*dataset.input_shape[:2], 3))  # of the name; artifacts may be grey
    pictures = dataset.count(split)
    if pictures == 0:
        raise UsageError(f"Split {split} of dataset {name} is empty.", "Name another split.")
    return EvaluationPlan(
        dataset=name,
        data_dir=str(data_dir) if data_dir else None,
        split=split,
        pictures=min(pictures, limit or pictures),
        batch_size=batch_size,
        class_names=tuple(dataset.class_names),
        input_shape=dataset.input_shape,
        default_preprocessing=dataset.default_preprocessing,
        preprocess_fn=preprocess_fn,
        dataset_name=dataset.name,
        dataset_identity=dataset.identity,
        resume=resume,
    )


def count_classes(scores: np.ndarray, path: Path) -> int:
    """The number of classes of an artifact, by its scores of one picture.

    Raises:
        BopkitError: It is no classifier.
    """
    if scores.ndim != 2 or len(scores) != 1:
        raise BopkitError(
            f"{path} returns an array of shape {list(scores.shape)} for one picture, not [1, classes].",
            "bopkit measures classifiers: one vector of scores for each picture.",
        )
    return scores.shape[1]


def check_classes(plan: EvaluationPlan, classes: int, card: ModelCard | None) -> None:
    """Make sure that an artifact with that many scores can be measured on the dataset.

    Raises:
        BopkitError: The dataset has other classes: another number of them, or by the names in its card.
    """
    dataset, names = plan.shown_dataset, plan.class_names
    hint = "Choose the dataset that it was trained on; `bopkit benchmark` without --dataset measures all but accuracy."
    if plan.classes != classes:
        raise BopkitError(f"It has {classes} classes, and dataset {dataset} has {plan.classes}.", hint)
    own = card.class_names if card is not None else ()
    difference = _difference(own, names) if own and not (are_numbers(own) or are_numbers(names)) else ""
    if difference:
        raise BopkitError(f"Its classes are not those of dataset {dataset}: {difference}.", hint)


def are_numbers(names: Sequence[str]) -> bool:
    """Whether classes are numbered in place of names, as those of cifar10_1 are: they show nothing."""
    return list(names) == [str(number) for number in range(len(names))]


def _difference(own: Sequence[str], names: Sequence[str]) -> str:
    """What tells the class names of a network from those of a dataset; empty where they are the same, in this order."""
    theirs, ours = ({name.casefold() for name in each} for each in (names, own))
    missing, new = (
        [name for name in each if name.casefold() not in other] for each, other in ((own, theirs), (names, ours))
    )
    if missing or new:
        return f"there is no {shortened_list(missing)}, but {shortened_list(new)}"
    return "" if [name.casefold() for name in own] == [name.casefold() for name in names] else "they have another order"


def artifact_preprocessing(plan: EvaluationPlan, card: ModelCard | None) -> PreprocessingChoice:
    """The preprocessing that the user names, else that of the card.

    A training run starts from the dataset's default, as it decides what the network sees; an artifact must be
    shown what it was trained on, and pictures of another range give accuracy that looks sound and is wrong.

    Args:
        plan: The dataset, and the user's choice.
        card: The artifact's card, if it carries one.

    Raises:
        BopkitError: Nobody named one.
    """
    if plan.preprocess_fn is not None:
        return PreprocessingChoice(plan.preprocess_fn, "preprocess_fn")
    if card is not None and card.preprocessing:
        return PreprocessingChoice(card.preprocessing, "model card")
    raise unknown_preprocessing("Accuracy")


def checkpoint_identity(
    plan: EvaluationPlan, preprocessing: str, runtime: str, settings: Mapping[str, Any], path: Path
) -> dict[str, Any]:
    """All that decides the scores of an artifact, as JSON values: a checkpoint is used only for the same ones.

    Args:
        plan: Which pictures.
        preprocessing: Name of the preprocessing.
        runtime: Name of the runtime.
        settings: Its settings.
        path: The artifact.
    """
    return {
        # Its place too: a copy that is measured beside it is not an interrupted evaluation.
        "artifact": [str(path.resolve()), checksum.source_checksum(path)],
        "dataset": open_dataset(plan.dataset, plan.data_dir).cache_identity,
        "pictures": [plan.split, plan.pictures, plan.batch_size, DRAW_SEED],
        "preprocessing": preprocessing,
        "runtime": [runtime, dict(settings)],
        "versions": package_versions(RUNTIME_PACKAGES),
    }


class WrittenScores(NamedTuple):
    """What `write_scores` wrote, and how fast.

    Attributes:
        pictures: Number of pictures that there are scores of.
        computed: Those of them that were not restored from a checkpoint.
        images_per_second: Computed pictures a second, reading and preprocessing included; None without any.
    """

    pictures: int
    computed: int
    images_per_second: float | None


def write_scores(
    predictors: Sequence[Predictor],
    plan: EvaluationPlan,
    preprocessing: str,
    folder: Path,
    progress: Progress,
    checkpoint: EvaluationCheckpoint | None = None,
    watch: Callable[[np.ndarray, np.ndarray, np.ndarray], None] | None = None,
) -> WrittenScores:
    """Write the scores and labels of the dataset's pictures to `SCORES_FILE` and `LABELS_FILE` in `folder`.

    Scores do not depend on the number of predictors, nor on interruptions.

    Args:
        predictors: Hold the loaded artifact; each computes batches on a thread of its own.
        plan: Which pictures.
        preprocessing: Name of the preprocessing.
        folder: Where the two files go.
        progress: Called with one line every `PROGRESS_EVERY_S` seconds.
        checkpoint: Scores that it holds are not computed again; new ones are added to it. None to keep nothing.
        watch: Called with pictures, scores and labels of each batch that is computed, in their order.

    Raises:
        BopkitError: A score is no finite number, a picture has no label, or the dataset holds fewer pictures than
            it says.
    """
    dataset = open_dataset(plan.dataset, plan.data_dir)
    transform = get_preprocessing(preprocessing, predictors[0].input_shape)
    shape = (plan.pictures, plan.classes)
    scores = np.lib.format.open_memmap(folder / SCORES_FILE, "w+", np.float32, shape)
    labels = np.lib.format.open_memmap(folder / LABELS_FILE, "w+", np.int64, shape[:1])
    missing = [(0, plan.pictures)] if checkpoint is None else checkpoint.restore(scores, labels)
    meter = PictureMeter(plan.pictures, sum(end - begin for begin, end in missing), progress)
    for begin, end in missing:
        batches = evaluation_batches(
            dataset, plan.split, transform, plan.batch_size, limit=plan.pictures, skip=begin, stop=end
        )
        unsaved = done = begin
        saved_s = time.monotonic()
        numbered = readable(batches.as_numpy_iterator(), dataset, plan.split)
        watched = ((pictures, (pictures if watch else None, labels)) for pictures, labels in numbered)
        meter.begin()
        for batch_scores, (batch_pictures, batch_labels) in predicted(predictors, watched):
            until = done + len(batch_labels)
            scores[done:until] = _check_finite(batch_scores, done)
            labels[done:until] = _check_labels(batch_labels, plan)
            if watch is not None and batch_pictures is not None:
                watch(batch_pictures, batch_scores, batch_labels)
            done = until
            meter.count(len(batch_labels))
            if checkpoint is not None and (done == end or time.monotonic() > saved_s + SAVE_EVERY_S):
                checkpoint.save(unsaved, scores[unsaved:done], labels[unsaved:done])
                unsaved, saved_s = done, time.monotonic()
        if done != end:
            raise BopkitError(
                f"Dataset {plan.shown_dataset} holds {done} pictures instead of {plan.pictures}.",
                f"Prepare it again with `bopkit data prepare {plan.dataset}`.",
            )
    scores.flush()
    labels.flush()
    return WrittenScores(plan.pictures, meter.computed, meter.images_per_second)


def _check_labels(labels: np.ndarray, plan: EvaluationPlan) -> np.ndarray:
    """The labels of a batch; TFDS gives the pictures of a split without labels the label -1."""
    if labels.min() < 0 or labels.max() >= plan.classes:
        raise BopkitError(
            f"Split {plan.split} of dataset {plan.shown_dataset} has no labels.", "Name another with --split."
        )
    return labels


def _check_finite(scores: np.ndarray, first_picture: int) -> np.ndarray:
    """The scores of a batch; accuracy of scores that are no numbers would mean nothing."""
    is_finite = np.isfinite(scores).all(axis=1)
    if not is_finite.all():
        picture = first_picture + int(np.argmin(is_finite))
        raise BopkitError(
            f"A score of picture {picture} is not a finite number.",
            "The weights are damaged, or the training diverged: export or train it again.",
        )
    return scores
