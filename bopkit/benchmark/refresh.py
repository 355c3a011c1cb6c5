"""A trained network with batch-norm statistics estimated anew, measured before and after."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from bopkit.artifacts.card import ModelCard
from bopkit.artifacts.keras_file import LoadedModel, open_model, save_model
from bopkit.batch_norm import BATCH_SIZE, DEFAULT_PICTURES, BatchNormEstimator, has_trainable_norms
from bopkit.benchmark.evaluate import Evaluation, evaluate_model, find_data, find_model
from bopkit.data import Dataset, PictureRecipe, get_preprocessing, open_dataset, readable
from bopkit.data.splits import training_split
from bopkit.data.statistics_batches import statistics_batches
from bopkit.errors import BopkitError, UsageError
from bopkit.files import temporary_directory
from bopkit.keras2 import import_tensorflow
from bopkit.pretrained import is_pulled, model_path
from bopkit.progress import Progress, silent
from bopkit.seeds import check_seed
from bopkit.tabular import Column, Tabular, record
from bopkit.text import count_text, percent_text
from bopkit.versions import package_versions


@dataclasses.dataclass(frozen=True, repr=False)
class Refreshed(Tabular):
    """What `refresh_model` did; plain JSON values.

    Attributes:
        model: Path of the model file.
        output: Path of the file that was written.
        trained_on: The split whose pictures the statistics are of.
        batch_norm_pictures: Number of these pictures.
        before: Accuracy of the file as it was.
        after: Accuracy of the file that was written, on the same pictures.
    """

    model: str
    output: str
    trained_on: str
    batch_norm_pictures: int
    before: Evaluation
    after: Evaluation

    _columns = (
        Column("top-1 before", "before_top1", percent_text),
        Column("after", "after_top1", percent_text),
        Column("pictures", "after_pictures"),
    )

    def _records(self) -> list[dict[str, Any]]:
        measured = (("before", self.before), ("after", self.after))
        return [
            record(self) | {f"{when}_{key}": value for when, each in measured for key, value in record(each).items()}
        ]

    def _title(self) -> str:
        return f"{self.output}: statistics of {count_text(self.batch_norm_pictures, 'picture')} of {self.trained_on}"


def refresh_model(
    model: str | Path,
    output: str | Path | None = None,
    dataset: str | None = None,
    *,
    data_dir: str | Path | None = None,
    train_split: str | None = None,
    split: str | None = None,
    preprocess_fn: str | None = None,
    pictures: int = DEFAULT_PICTURES,
    limit: int | None = None,
    device: str = "auto",
    seed: int = 0,
    progress: Progress | None = None,
) -> Refreshed:
    """Estimate the batch-norm statistics of a model file anew, for the weights that it holds, and write another file.

    Args:
        model: A run directory or a pulled network, whose `model.h5` is meant, or a `.h5` or `.keras` file, of bopkit
            or not; or `pull:NAME`.
        output: The `.h5` file to write, which must not exist; None for `NAME_refreshed.h5` beside the model file, and
            in the working folder where that is `pull:NAME`.
        dataset: Name of a prepared dataset; None for the one that the run was trained on, or that the card names.
        data_dir: Where TFDS keeps prepared datasets; None for its default.
        train_split: Split whose pictures are looked at; None for the one that the card names, or `train`.
        split: Split that accuracy is measured on; None for the dataset's test split.
        preprocess_fn: Name of the preprocessing, `default` for the dataset's; None for what the card names.
        pictures: How many training pictures are looked at.
        limit: Measure on that many pictures; None for all.
        device: `auto`, `cpu`, `gpu` or `gpu:N`.
        seed: Seeds the augmentation of the training pictures.
        progress: Called with one line now and then.

    Returns:
        The accuracy before and after.

    Raises:
        UsageError: A name or number cannot be right, `output` exists, no dataset or preprocessing is known, or the two
            splits share pictures.
        BopkitError: The file cannot be read or written, does not fit the dataset, or has no batch norm to estimate.
    """
    if pictures < 1:
        raise UsageError(f"pictures is {pictures}.", "Use a number above 0.")
    check_seed(seed)
    say = progress or silent
    found = find_model(model_path(model, say))
    beside = Path() if is_pulled(model) else found.parent  # nothing of the user's is written into the cache folder
    written = Path(output) if output else beside / f"{found.stem}_refreshed.h5"
    path = found.absolute()  # the run's folder may be another than this
    if written.suffix != ".h5":
        raise UsageError(f"{written} does not end in .h5.", f"Try {written.with_suffix('.h5')}.")
    if written.exists():
        raise UsageError(f"{written} exists already.", "Name another file with --output, or delete that one.")
    loaded = open_model(path)
    if not has_trainable_norms(loaded.model):
        raise BopkitError(
            f"{path} has no batch norm, or only frozen ones.", "There is nothing to estimate: use it as it is."
        )
    data, is_of_card = find_data(path, loaded.card, dataset, data_dir, say)
    measured: dict[str, Any] = {"dataset": None if is_of_card else data.dataset, "data_dir": data.data_dir}
    measured |= {"split": split, "preprocess_fn": preprocess_fn, "limit": limit, "device": device, "progress": say}
    with data.as_in_the_run(), temporary_directory("refresh") as folder:
        before = evaluate_model(path, **measured)
        opened = open_dataset(data.dataset, data.data_dir, own_modules=not is_of_card)
        trained_on = _training_pictures(opened, train_split, before.split, loaded.card)
        pictures = min(pictures, opened.count(trained_on))
        _estimate(loaded, opened, trained_on, before.preprocessing, pictures, seed)
        card = loaded.card or _new_card(loaded.model, opened, before)
        refreshed = Path(folder, written.name)
        save_model(loaded.model, card, refreshed)
        after = evaluate_model(refreshed, **{**measured, "progress": None})
    figures = {"val_top1": after.top1} if after.top5 is None else {"val_top1": after.top1, "val_top5": after.top5}
    card = dataclasses.replace(
        card,
        accuracy=figures,
        evaluated_on=after.split,
        evaluated_pictures=after.pictures,
        versions=package_versions(),
    )
    save_model(loaded.model, card, written)
    before, after = (dataclasses.replace(each, model=str(of)) for each, of in ((before, found), (after, written)))
    return Refreshed(str(found), str(written), trained_on, pictures, before, after)


def _training_pictures(dataset: Dataset, asked: str | None, measured: str, card: ModelCard | None) -> str:
    """The split whose pictures are looked at.

    Raises:
        UsageError: It is unknown or empty, or accuracy is measured on pictures of it.
    """
    split = asked or training_split(dataset, card)
    if dataset.count(split) == 0:
        raise UsageError(f"Split {split} of dataset {dataset.name} is empty.", "Name another with --train-split.")
    if dataset.share_pictures(split, measured):
        raise UsageError(
            f"Splits {split} and {measured} of dataset {dataset.name} share pictures: accuracy would be measured on "
            "pictures that the statistics are of.",
            "Name others with --train-split and --split, for instance 'train[:90%]' and 'train[90%:]'.",
        )
    return split


def _estimate(
    loaded: LoadedModel, dataset: Dataset, split: str, preprocessing_name: str, pictures: int, seed: int
) -> None:
    network = loaded.model
    preprocessing = get_preprocessing(preprocessing_name, network.input_shape[1:])
    recipe = _recipe_of(loaded.card)
    batches = statistics_batches(dataset, split, preprocessing, pictures, BATCH_SIZE, seed, recipe)
    strategy = import_tensorflow().distribute.get_strategy()
    BatchNormEstimator(network, strategy, preprocessing.finish).estimate(readable(batches, dataset, split))


def _recipe_of(card: ModelCard | None) -> PictureRecipe:
    """What the run of a model card did to its pictures; nothing where the card does not say."""
    fields = {field.name for field in dataclasses.fields(PictureRecipe)}
    hparams = card.hparams if card else {}
    return PictureRecipe.of_values({name: value for name, value in hparams.items() if name in fields})


def _new_card(network: Any, dataset: Dataset, measured: Evaluation) -> ModelCard:
    """The card of a stranger's file: what its user has named, and what the dataset says."""
    preprocessing = get_preprocessing(measured.preprocessing, network.input_shape[1:])
    return ModelCard(
        architecture=network.name,
        input_shape=network.input_shape[1:],
        value_range=preprocessing.value_range,
        preprocessing=measured.preprocessing,
        dataset=dataset.name,
        class_names=dataset.class_names,
        trained=True,
    )
