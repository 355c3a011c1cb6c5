"""A training run with every name resolved, before anything is built or written."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bopkit.architecture import Architecture
from bopkit.artifacts.card import ModelCard
from bopkit.data import Dataset, Preprocessing, get_preprocessing, open_dataset
from bopkit.errors import UsageError
from bopkit.hparams import HParams, override
from bopkit.progress import Progress
from bopkit.registry import MODELS
from bopkit.seeds import check_seed
from bopkit.training.devices import Placement, choose_precision, place
from bopkit.versions import package_versions

EVALUATION_BATCH_SIZE = 100


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a run trains, on what, and how.

    Attributes:
        architecture: The network.
        set_name: Name of its hyper-parameter set.
        hparams: The set with the user's changes.
        data: The opened dataset.
        preprocessing: Makes the network's input.
        train_split: Pictures that train.
        validation_split: Pictures that validate.
        steps_per_epoch: Steps an epoch.
        validation_pictures: Pictures a validation.
        seed: Seeds weights, order and augmentation.
        precision: `float32` or `bfloat16`.
        precision_reason: Why that one, in words.
        jit: Compile forward and backward pass with XLA.
        deterministic: Ask for kernels that repeat bit for bit.
        accumulate: Parts that a replica's batch is split into.
        sync_batch_norm: Batch norm over the global batch.
        early_stop: Epochs without a better validation top-1 after which the run ends; None for never.
        placement: Where it computes. Not in the config: a run may be resumed on other devices. It decides how sums
            are rounded and, without `sync_batch_norm`, over how many pictures batch norm is.
    """

    architecture: Architecture
    set_name: str
    hparams: HParams
    data: Dataset
    preprocessing: Preprocessing
    train_split: str
    validation_split: str
    steps_per_epoch: int
    validation_pictures: int
    seed: int
    precision: str
    precision_reason: str
    jit: bool
    deterministic: bool
    accumulate: int
    sync_batch_norm: bool
    early_stop: int | None
    placement: Placement

    @property
    def classes(self) -> int:
        """Number of classes of the dataset."""
        return len(self.data.class_names)

    @property
    def has_validation_pictures(self) -> bool:
        """Whether validation is on pictures of its own, not on those that the accuracy is later measured on."""
        return self.validation_split != self.data.test_split

    def config(self) -> dict[str, Any]:
        """What decides the run's outcome, as plain JSON values: a run is resumed only with the same config."""
        return {
            "model": self.architecture.name,
            "dataset": self.data.identity,
            "preprocessing": self.preprocessing.name,
            "hparams_set": self.set_name,
            "hparams": self.hparams.model_dump(),
            "train_split": self.train_split,
            "train_pictures": self.data.count(self.train_split),
            "validation_split": self.validation_split,
            "steps_per_epoch": self.steps_per_epoch,
            "validation_pictures": self.validation_pictures,
            "seed": self.seed,
            "precision": self.precision,
            "jit": self.jit,
            "deterministic": self.deterministic,
            "accumulate": self.accumulate,
            "sync_batch_norm": self.sync_batch_norm,
            "early_stop": self.early_stop,
        }

    def card(self, metrics: Mapping[str, float]) -> ModelCard:
        """The model card of the trained network, with the figures of the epoch that it is of."""
        return ModelCard(
            architecture=self.architecture.name,
            input_shape=self.preprocessing.input_shape,
            value_range=self.preprocessing.value_range,
            preprocessing=self.preprocessing.name,
            dataset=self.data.name,
            class_names=self.data.class_names,
            hparams_set=self.set_name,
            hparams=self.hparams.model_dump(),
            trained=True,
            accuracy={name: metrics[name] for name in ("val_top1", "val_top5") if name in metrics},
            evaluated_on=self.validation_split,
            evaluated_pictures=self.validation_pictures,
            versions=package_versions(),
        )

    def shortened(self, steps: int) -> Plan:
        """The same run with one epoch of a few steps."""
        return dataclasses.replace(
            self,
            hparams=override(self.hparams, {"epochs": 1}),
            steps_per_epoch=min(self.steps_per_epoch, steps),
            validation_pictures=min(self.validation_pictures, steps * EVALUATION_BATCH_SIZE),
        )


def plan_run(
    model: str,
    dataset: str,
    *,
    hparams_set: str | None,
    hparams: Mapping[str, Any],
    preprocess_fn: str,
    data_dir: str | Path | None,
    dataset_version: str | None,
    validationset: bool,
    device: str,
    strategy: str,
    precision: str | None,
    jit: bool,
    deterministic: bool,
    accumulate: int,
    sync_batch_norm: bool,
    early_stop: int | None,
    limit_steps: int | None,
    seed: int,
    computes: bool,
    progress: Progress,
) -> Plan:
    """Resolve the names of a request; arguments as for `train_model`. Names that need no TensorFlow come first.

    With `computes=False` no device is chosen and no other worker is waited for: enough to look a finished run up.

    Raises:
        UsageError: A name or value is wrong.
        BopkitError: The dataset is not prepared and cannot be.
    """
    check_seed(seed)
    for name, count in (("limit_steps", limit_steps), ("accumulate", accumulate), ("early_stop", early_stop)):
        if count is not None and count < 1:
            raise UsageError(f"{name} is {count}.", "Use a number from 1.")
    if early_stop is not None and not validationset:
        raise UsageError(
            "early_stop would choose the epoch by the pictures that the accuracy is measured on.",
            "Add --validationset to keep a tenth of the training split for that.",
        )
    architecture: Architecture = MODELS.load(model)
    set_name = hparams_set or architecture.default_set
    settings = override(architecture.hparams(set_name), hparams)
    if preprocess_fn != "default":
        get_preprocessing(preprocess_fn, architecture.input_shape)  # a wrong name is told before a download begins
    placement = place(strategy, device) if computes else Placement(strategy=None, name="one")
    chosen = choose_precision(precision, placement)
    _check_parts(settings.batch_size, placement, accumulate, sync_batch_norm, jit)
    data = open_dataset(dataset, data_dir, dataset_version, prepare=True, progress=progress)
    preprocessing = choose_preprocessing(data, preprocess_fn)
    architecture.check_input_shape(preprocessing.input_shape, "Enlarge them with `--preprocess-fn imagenet`.")
    train_split, validation_split = _choose_splits(data, validationset)
    data.check_labels(validation_split)
    count = data.count(validation_split)
    return Plan(
        architecture=architecture,
        set_name=set_name,
        hparams=settings,
        data=data,
        preprocessing=preprocessing,
        train_split=train_split,
        validation_split=validation_split,
        steps_per_epoch=_count_steps(data, train_split, settings, limit_steps),
        validation_pictures=min(count, limit_steps * EVALUATION_BATCH_SIZE) if limit_steps else count,
        seed=seed,
        precision=chosen.name,
        precision_reason=chosen.reason,
        jit=jit,
        deterministic=deterministic,
        accumulate=accumulate,
        sync_batch_norm=sync_batch_norm,
        early_stop=early_stop,
        placement=placement,
    )


def _check_parts(batch_size: int, placement: Placement, accumulate: int, sync_batch_norm: bool, jit: bool) -> None:
    """Refuse a global batch that does not fall into equal parts, and parts that cannot wait for each other."""
    parts = placement.replicas * accumulate
    if batch_size % parts:
        fitting = max(batch_size // parts, 1) * parts
        raise UsageError(
            f"A batch of {batch_size} is not divisible by {placement.replicas} replica(s) x {accumulate} part(s).",
            f"Add for instance --hparams batch_size={fitting}.",
        )
    if sync_batch_norm and placement.replicas > 1 and (accumulate > 1 or jit):
        raise UsageError(
            f"--sync-batch-norm and {'--jit' if jit else '--accumulate'} exclude each other on several replicas.",
            "Leave out one of the two.",
        )


def choose_preprocessing(data: Dataset, name: str) -> Preprocessing:
    """The named preprocessing at the dataset's size; `default` is the dataset's own, `imagenet` makes 224 x 224."""
    if name == "default":
        name = data.default_preprocessing
    input_shape = (224, 224, 3) if name == "imagenet" else data.input_shape
    return get_preprocessing(name, input_shape)


def _choose_splits(data: Dataset, validationset: bool) -> tuple[str, str]:
    """Training and validation split: a tenth of the training split, or as the paper's code did the test split."""
    if validationset:
        return "train[:90%]", "train[90%:]"
    if not data.test_split:
        raise UsageError(
            f"Dataset {data.name} has neither a test nor a validation split.",
            "Add --validationset to keep a tenth of the training split for validation.",
        )
    return "train", data.test_split


def _count_steps(data: Dataset, split: str, hparams: HParams, limit_steps: int | None) -> int:
    pictures = data.count(split)
    steps = pictures // hparams.batch_size
    if steps == 0:
        raise UsageError(
            f"{data.name} {split} has {pictures} pictures, fewer than one batch of {hparams.batch_size}.",
            f"Add --hparams batch_size={max(1, pictures // 10)}.",
        )
    return min(steps, limit_steps) if limit_steps else steps
