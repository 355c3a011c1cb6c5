"""Accuracy of a trained network, by Keras: in this process, on any device, without timing single pictures.

`bopkit benchmark` measures exported files too, and their latency; both share pictures, checks and formulas.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from bopkit.artifacts import artifact
from bopkit.artifacts.card import ModelCard
from bopkit.benchmark.accuracy import (
    artifact_preprocessing,
    check_classes,
    count_classes,
    plan_evaluation,
    write_scores,
)
from bopkit.benchmark.job import LABELS_FILE, SCORES_FILE, EvaluationPlan
from bopkit.benchmark.mistakes import MostWrong, check_figure_file, draw_confusion, draw_most_wrong
from bopkit.benchmark.row_notes import training_data_note
from bopkit.benchmark.runtimes.keras import KerasRuntime
from bopkit.benchmark.worker import random_picture
from bopkit.data import get_preprocessing, open_dataset
from bopkit.data.fit import describe_fit
from bopkit.data.run_dataset import find_run_data
from bopkit.errors import UsageError
from bopkit.files import temporary_directory
from bopkit.metrics import (
    TOP_K,
    balanced_accuracy,
    class_top1,
    cross_entropy,
    predicted_classes,
    top_k_accuracy,
    wilson_interval,
)
from bopkit.metrics import confusion as confused_pairs
from bopkit.pretrained import model_path
from bopkit.progress import Progress, silent
from bopkit.runs.directory import MODEL_FILE, is_run
from bopkit.runs.run_data import RunData
from bopkit.tabular import Column, Tabular
from bopkit.text import percent_text, printable
from bopkit.training.devices import choose_devices, gpu_name

BATCH_SIZE = 100


@dataclasses.dataclass(frozen=True, repr=False)
class Evaluation(Tabular):
    """What `evaluate_model` found; plain JSON values.

    Attributes:
        model: Path of the model file.
        architecture: Name of the network; empty without a model card.
        dataset: Name of the dataset.
        split: Its split.
        pictures: Number of pictures that all figures are of.
        preprocessing: Name of the preprocessing that made the network's input.
        preprocessing_source: `preprocess_fn` or `model card`.
        top1: Share of them whose class has the highest score, 0 to 1.
        top1_interval: Ends of the 95 % Wilson interval of `top1`, 0 to 1: what other pictures of the same kind
            might have given.
        top5: Share of them whose class is among the five highest scores; None with fewer than six classes.
        loss: Mean cross-entropy (natural logarithm); None where the scores are no probabilities.
        images_per_second: Reading and preprocessing included, loading and tracing not.
        device: `CPU`, or the name of the GPU.
        batch_size: Pictures at a time.
        class_names: Name of each class.
        class_top1: `top1` of the pictures of each class, its recall; None for a class without pictures.
        balanced_accuracy: Mean of `class_top1`, 0 to 1: each class counts alike, however many pictures it has.
        confusion: Class, predicted class and number of pictures of each pair that occurs, in ascending order.
        mistakes: With `most_wrong` the wrong predictions of that sheet: `picture`, its number from 0 among those that
            were evaluated, in the order of the split; `label`, `predicted` and `confidence`, 0 to 1.
        figures: Pictures that were drawn.
    """

    model: str
    architecture: str
    dataset: str
    split: str
    pictures: int
    preprocessing: str
    preprocessing_source: str
    top1: float
    top1_interval: tuple[float, float]
    top5: float | None
    loss: float | None
    images_per_second: float
    device: str
    batch_size: int
    class_names: tuple[str, ...] = ()
    class_top1: tuple[float | None, ...] = ()
    balanced_accuracy: float | None = None
    confusion: tuple[tuple[int, int, int], ...] = ()
    mistakes: tuple[dict[str, int | float], ...] = ()
    figures: tuple[str, ...] = ()

    _columns = (
        Column("top-1", "top1", percent_text),
        Column("95 % from", "top1_low", percent_text),
        Column("to", "top1_high", percent_text),
        Column("top-5", "top5", percent_text),
        Column("loss", "loss", "{:.4f}".format),
        Column("pictures", "pictures"),
        Column("images/s", "images_per_second", "{:,.0f}".format),
    )

    def _title(self) -> str:
        return f"{self.model} on {self.dataset} {self.split}, preprocessing {self.preprocessing}"


def evaluate_model(
    model: str | Path,
    dataset: str | None = None,
    *,
    data_dir: str | Path | None = None,
    split: str | None = None,
    preprocess_fn: str | None = None,
    limit: int | None = None,
    device: str = "auto",
    batch_size: int = BATCH_SIZE,
    confusion: str | Path | None = None,
    most_wrong: str | Path | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Measure a trained network's accuracy.

    Args:
        model: A run directory or a pulled network, whose `model.h5` is meant, a `.h5` or `.keras` file, or `pull:NAME`.
        dataset: Name of a prepared dataset; None for the one that the run was trained on, or that the card names.
        data_dir: Where TFDS keeps prepared datasets; None for its default.
        split: Split of the dataset; None for its test split, or where it has none for the one that validated.
        preprocess_fn: Name of the preprocessing, `default` for the dataset's; None for what the card names.
        limit: Measure on that many pictures; None for all.
        device: `auto`, `cpu`, `gpu` or `gpu:N`.
        batch_size: Pictures at a time.
        confusion: File for a picture of the confusion matrix, `.png`, `.svg` or `.pdf`; None to draw none.
        most_wrong: File for a sheet of the wrong predictions of which the network is surest.
        progress: Called with one line now and then.

    Returns:
        The figures.

    Raises:
        UsageError: A name or number cannot be right, or no dataset or preprocessing is known.
        BopkitError: The run has no model yet, the file cannot be read, or it does not fit the dataset.
    """
    for name, value in (("limit", limit), ("batch_size", batch_size)):
        if value is not None and value < 1:
            raise UsageError(f"{name} is {value}.", "Use a number above 0.")
    confusion_file, sheet_file = (Path(file) if file else None for file in (confusion, most_wrong))
    check_figure_file(confusion_file, "--confusion")
    check_figure_file(sheet_file, "--most-wrong")
    if confusion_file and sheet_file and confusion_file.resolve() == sheet_file.resolve():
        raise UsageError(f"{sheet_file} would be both pictures.", "Name two files with --confusion and --most-wrong.")
    say = progress or silent
    path = find_model(model_path(model, say))
    card = artifact.read_card(path)
    data, is_of_card = find_data(path, card, dataset, data_dir, say)
    with data.as_in_the_run():
        plan = plan_evaluation(
            data.dataset,
            data.data_dir,
            split=split,
            preprocess_fn=preprocess_fn,
            limit=limit,
            batch_size=batch_size,
            card=card,
            own_modules=not is_of_card,
        )
    preprocessing = artifact_preprocessing(plan, card)
    note = training_data_note(card, plan)
    if note:
        say(f"Warning: {printable(str(path))} was measured on {printable(plan.shown_dataset)}. {printable(note)}")
    choose_devices("one", device)
    runtime = _load(path, plan, card)
    with temporary_directory("evaluate") as folder, data.as_in_the_run():
        transform = get_preprocessing(preprocessing.name, runtime.input_shape)
        for line in describe_fit(open_dataset(plan.dataset, plan.data_dir), plan.split, transform):
            say(line)
        mistakes = MostWrong(transform)
        watch = mistakes.add if sheet_file is not None else None
        written = write_scores([runtime], plan, preprocessing.name, Path(folder), say, watch=watch)
        scores = np.load(Path(folder, SCORES_FILE), mmap_mode="r")  # of ImageNet 200 MB; lives on without its folder
        labels = np.load(Path(folder, LABELS_FILE))
    pictures = written.pictures
    assert written.images_per_second is not None
    top1 = top_k_accuracy(scores, labels, 1)
    predicted = predicted_classes(scores)
    pairs = confused_pairs(predicted, labels)
    shares = class_top1(predicted, labels, plan.classes)
    names = card.class_names if card is not None and len(card.class_names or ()) == plan.classes else plan.class_names
    pictures_text = f"top-1 {percent_text(top1)} of {pictures:,} pictures"
    title = f"{printable(str(path))} on {plan.shown_dataset} {plan.split}: {pictures_text}"
    if confusion_file is not None:
        draw_confusion(pairs, names, title, confusion_file)
    if sheet_file is not None:
        draw_most_wrong(
            mistakes.mistakes,
            names,
            f"{title}\nwrong predictions, the surest first: number of the picture, class, prediction, confidence",
            sheet_file,
        )
    return Evaluation(
        model=str(path),
        architecture=card.architecture if card else "",
        dataset=plan.shown_dataset,
        split=plan.split,
        pictures=pictures,
        preprocessing=preprocessing.name,
        preprocessing_source=preprocessing.source,
        top1=top1,
        top1_interval=wilson_interval(top1, pictures),
        top5=top_k_accuracy(scores, labels, TOP_K) if plan.classes > TOP_K else None,
        loss=cross_entropy(scores, labels),
        class_names=tuple(names),
        class_top1=tuple(shares),
        balanced_accuracy=balanced_accuracy(shares),
        images_per_second=written.images_per_second,
        device=gpu_name() or "CPU",
        batch_size=batch_size,
        confusion=tuple(pairs),
        mistakes=tuple(each.record() for each in mistakes.mistakes),
        figures=tuple(str(file) for file in (confusion_file, sheet_file) if file is not None),
    )


def find_model(path: Path) -> Path:
    """The model file that a path means: the `model.h5` of a run or of a pulled network, or the file itself.

    Raises:
        BopkitError: A folder without a model, or no Keras file.
    """
    if path.is_dir() and (is_run(path) or (path / MODEL_FILE).is_file()):
        return artifact.resolve(path)
    if path.is_dir() or artifact.kind(path) != "keras":
        raise UsageError(
            f"{path} is neither a run directory nor a Keras file.",
            "Give a run, a pulled network or a .h5 file; `bopkit benchmark` measures SavedModels, .tflite files and C "
            "sources.",
        )
    return path


def find_data(
    path: Path, card: ModelCard | None, dataset: str | None, data_dir: str | Path | None, say: Progress
) -> tuple[RunData, bool]:
    """Where the pictures are: as the user says, else as the run does, else as the card does; and whether it is that."""
    if dataset is None:
        of_run, note = find_run_data(path, data_dir)
        if of_run is not None:
            return of_run, False
        if note and not (card and card.names_stock_dataset):
            raise UsageError(note)
        if note:
            say(note)
    name = dataset or _dataset_of(card, path)
    return RunData.named_here(name, data_dir), dataset is None


def _load(path: Path, plan: EvaluationPlan, card: ModelCard | None) -> KerasRuntime:
    """The network, checked against the dataset and traced, so that the speed is that of the pictures."""
    runtime = KerasRuntime(threads=None)
    runtime.load(path)
    scores = runtime.predict(random_picture(runtime.input_shape, card.value_range if card else (-1.0, 1.0)))
    check_classes(plan, count_classes(scores, path), card)
    return runtime


def _dataset_of(card: ModelCard | None, path: Path) -> str:
    """The dataset that the card names, unless opening it would run code of the card's choice."""
    if card is None or not card.dataset:
        raise UsageError(f"{path} does not say what it was trained on.", "Name a dataset with --dataset.")
    return card.stock_dataset()
