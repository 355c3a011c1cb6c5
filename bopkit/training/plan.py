"""A training run with every name resolved, before anything is built or written."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bopkit.architecture import Architecture
from bopkit.artifacts.card import ModelCard
from bopkit.batch_norm import default_pictures
from bopkit.data import Dataset, Preprocessing, get_preprocessing, open_dataset
from bopkit.data.own.naming import with_splits_of
from bopkit.errors import UsageError
from bopkit.hparams import HParams, default_values, override
from bopkit.progress import Progress
from bopkit.registry import MODELS
from bopkit.runs.directory import OF_BEFORE, PICTURES_FILE, has_progress, is_finished, is_run, read_config
from bopkit.training.devices import Placement, PrecisionChoice, choose_devices, choose_precision
from bopkit.training.length import RunLength, run_length
from bopkit.training.options import BEST_BY, TrainOptions
from bopkit.training.splits import choose_splits, is_of_test_split
from bopkit.training.teacher_files import TeacherFile, check_same_teachers, find_teachers
from bopkit.training.transfer import StartFile, find_start
from bopkit.versions import package_versions

EVALUATION_BATCH_SIZE = 100


@dataclasses.dataclass(frozen=True)
class TrainingPlan:
    """What a run trains, on what, and how.

    Attributes:
        options: What was asked for.
        architecture: The network.
        set_name: Name of its hyper-parameter set.
        hparams: The set with the user's changes.
        data: The opened dataset.
        preprocessing: Makes the network's input.
        train_split: Pictures that train.
        validation_split: Pictures that validate.
        steps_per_epoch: Steps an epoch.
        validation_pictures: Pictures a validation.
        batch_norm_pictures: Training pictures over which batch-norm statistics are estimated anew; 0 for none.
        precision: `float32` or `bfloat16`, and why that one.
        length: Whether and when it was made longer.
        teachers: Networks whose answers it learns.
        start: The network that it starts from; None for a new one.
        placement: Where it computes. Not in the config: a run may be resumed on other devices. It decides how sums
            are rounded and, without `sync_batch_norm`, over how many pictures batch norm is.
    """

    options: TrainOptions
    architecture: Architecture
    set_name: str
    hparams: HParams
    data: Dataset
    preprocessing: Preprocessing
    train_split: str
    validation_split: str
    steps_per_epoch: int
    validation_pictures: int
    batch_norm_pictures: int
    precision: PrecisionChoice
    length: RunLength
    teachers: tuple[TeacherFile, ...]
    start: StartFile | None
    placement: Placement

    @property
    def classes(self) -> int:
        """Number of classes of the dataset."""
        return len(self.data.class_names)

    @property
    def has_validation_pictures(self) -> bool:
        """Whether validation is on pictures of its own, not on those that the accuracy is later measured on."""
        return not is_of_test_split(self.data, self.validation_split)

    @property
    def schedule_hparams(self) -> HParams:
        """The hyper-parameters with the epochs that schedules over the whole run take."""
        return self.hparams.model_copy(update={"epochs": self.length.schedule_epochs})

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
            "seed": self.options.seed,
            "precision": self.precision.name,
            "jit": self.options.jit,
            "deterministic": self.options.deterministic,
            "accumulate": self.options.accumulate,
            "sync_batch_norm": self.options.sync_batch_norm,
            "batch_norm_pictures": self.batch_norm_pictures,
            "early_stop": self.options.early_stop,
            **({"input_shape": self.options.input_shape} if self.options.input_shape else {}),
            **self.length.config(),
            **({"best_by": self.options.best_by} if self.options.best_by != BEST_BY[0] else {}),
            **({"from": {"sha256": self.start.sha256}} if self.start else {}),
            **({"freeze": list(self.options.freeze)} if self.options.freeze else {}),
            **({"freeze_batch_norm": True} if self.options.freeze_batch_norm else {}),
            **({"teachers": [teacher.config() for teacher in self.teachers]} if self.teachers else {}),
        }

    def default_config(self) -> dict[str, Any]:
        """What a setting stands for that a config of an earlier version lacks; without those that have no default."""
        fields = dataclasses.fields(self.options)
        defaults = {field.name: field.default for field in fields if field.default is not dataclasses.MISSING}
        known = {name: defaults[name] for name in self.config() if name in defaults}
        return {**known, **OF_BEFORE, "hparams": default_values(type(self.hparams))}

    def card(self, metrics: Mapping[str, float]) -> ModelCard:
        """The model card of the trained network, with the figures of the epoch that it is of."""
        return ModelCard(
            architecture=self.architecture.name,
            input_shape=self.preprocessing.input_shape,
            value_range=self.preprocessing.value_range,
            preprocessing=self.preprocessing.name,
            dataset=self.data.name,
            dataset_identity=self.data.identity,
            class_names=self.data.class_names,
            hparams_set=self.set_name,
            hparams=self.hparams.model_dump(exclude_none=True),
            schedule_epochs=self.length.schedule_epochs if self.length.held else None,
            trained=True,
            accuracy={name: metrics[name] for name in ("val_top1", "val_top5") if name in metrics},
            trained_on=self.train_split,
            evaluated_on=self.validation_split,
            evaluated_pictures=self.validation_pictures,
            versions=package_versions(),
        )

    def shortened(self, steps: int) -> TrainingPlan:
        """The same run with one epoch of a few steps."""
        return dataclasses.replace(
            self,
            hparams=self.hparams.model_copy(update={"epochs": 1}),  # unchecked: a warm-up may be longer
            length=RunLength(schedule_epochs=1),
            steps_per_epoch=min(self.steps_per_epoch, steps),
            validation_pictures=min(self.validation_pictures, steps * EVALUATION_BATCH_SIZE),
        )


def plan_run(options: TrainOptions, progress: Progress) -> TrainingPlan:
    """Resolve the names of a request. Names that need no TensorFlow come first.

    For a finished run no device is chosen and no other worker is waited for: it is only looked up.

    Raises:
        UsageError: A name or value is wrong.
        BopkitError: The dataset is not prepared and cannot be.
    """
    before = Path(options.output_dir) if options.output_dir and is_run(Path(options.output_dir)) else None
    config_before = read_config(before) if before else {}
    batch_norm_pictures = options.batch_norm_pictures
    if batch_norm_pictures is None and before and has_progress(before):  # else other hyper-parameters may come
        batch_norm_pictures = {**OF_BEFORE, **config_before}["batch_norm_pictures"]
    architecture: Architecture = MODELS.load(options.model)
    set_name = options.hparams_set or architecture.default_set
    hparams = override(architecture.hparams(set_name), options.hparams)
    if options.preprocess_fn != "default":  # a wrong name is told before a download begins
        get_preprocessing(options.preprocess_fn, options.input_shape or architecture.input_shape)
    length = run_length(Path(options.output_dir) if options.output_dir else None, hparams, options.extend)
    computes = options.dry_run or before is None or length.extends or not is_finished(before)
    placement = choose_devices(options.strategy, options.device) if computes else Placement(strategy=None, name="one")
    if options.precision is None and config_before.get("precision"):
        precision = choose_precision(config_before["precision"], placement)._replace(reason="as the run began")
    else:
        precision = choose_precision(options.precision, placement)
    _check_parts(hparams.batch_size, placement, options)
    _check_recipe(hparams, options, is_new=before is None)
    if not config_before.get("teachers"):  # else they are asked for below, by name
        _check_teacher_hparams(hparams, options)
    data = _open_dataset(options, before, progress)
    preprocessing = data.preprocessing(options.preprocess_fn, options.input_shape)
    least_px, channels = architecture.min_size_px, preprocessing.input_shape[2]
    architecture.check_input_shape(
        preprocessing.input_shape, f"Enlarge them with --input-shape {least_px},{least_px},{channels} or more."
    )
    train_split, validation_split = choose_splits(data, options)
    for split in (train_split, validation_split):
        data.check_labels(split)
    start = find_start(options.from_model, architecture, progress) if options.from_model else None
    teachers = find_teachers(options.teacher or (), options.teacher_preprocess_fn, data, progress)
    if before:
        check_same_teachers(before, teachers)
    return TrainingPlan(
        options=options,
        architecture=architecture,
        set_name=set_name,
        hparams=hparams,
        data=data,
        preprocessing=preprocessing,
        train_split=train_split,
        validation_split=validation_split,
        steps_per_epoch=_count_steps(data, train_split, hparams, options.limit_steps),
        validation_pictures=_count_validation_pictures(data, validation_split, options.limit_steps),
        batch_norm_pictures=(
            default_pictures(hparams.optimizer) if batch_norm_pictures is None else batch_norm_pictures
        ),
        precision=precision,
        length=length,
        teachers=teachers,
        start=start,
        placement=placement,
    )


def _open_dataset(options: TrainOptions, before: Path | None, progress: Progress) -> Dataset:
    """The dataset that is asked for; for a run that goes on, with the pictures that it began with."""
    name = options.dataset
    if isinstance(name, Dataset):
        return name
    if before and (before / PICTURES_FILE).exists() and has_progress(before):  # else other settings may come
        name = with_splits_of(name, before)
    return open_dataset(name, options.data_dir, options.dataset_version, prepare=True, progress=progress)


def _check_recipe(hparams: HParams, options: TrainOptions, is_new: bool) -> None:
    """Refuse what would change no picture: to mix one with itself, or in a new run a strength of no operations."""
    for name in ("mixup", "cutmix"):
        if getattr(hparams, name) and hparams.batch_size == 1:
            raise UsageError(
                f"{name} mixes the pictures of a batch, and batch_size is 1.",
                f"Use larger batches, or leave {name} out.",
            )
    if is_new and not hparams.randaugment_count and "randaugment_magnitude" in options.hparams:
        if "randaugment_count" not in options.hparams:  # else it is off on purpose, as in some trials of a sweep
            raise UsageError(
                "randaugment_magnitude has no effect without operations.",
                "Add --hparams randaugment_count=2, or leave it out.",
            )


def _check_teacher_hparams(hparams: HParams, options: TrainOptions) -> None:
    """Refuse settings of teachers where there are none, and of labels that count nothing: they would change nothing."""
    for name in ("teacher_weight", "teacher_temperature"):
        if not options.teacher and getattr(hparams, name) != type(hparams).model_fields[name].default:
            raise UsageError(f"{name} has no effect without a teacher.", "Add --teacher MODEL, or leave it out.")
    if options.teacher and hparams.teacher_weight == 1 and hparams.label_smoothing:
        raise UsageError(
            "label_smoothing has no effect where only teachers count, and teacher_weight is 1.",
            "Add --hparams teacher_weight=0.5, or leave label_smoothing out.",
        )


def _check_parts(batch_size: int, placement: Placement, options: TrainOptions) -> None:
    """Refuse a global batch that does not fall into equal parts, and parts that cannot wait for each other."""
    parts = placement.replicas * options.accumulate
    if batch_size % parts:
        fitting = max(batch_size // parts, 1) * parts
        raise UsageError(
            f"A batch of {batch_size} is not divisible by {placement.replicas} replica(s) x {options.accumulate} "
            "part(s).",
            f"Add for instance --hparams batch_size={fitting}.",
        )
    if options.sync_batch_norm and placement.replicas > 1 and (options.accumulate > 1 or options.jit):
        raise UsageError(
            f"--sync-batch-norm and {'--jit' if options.jit else '--accumulate'} cannot be combined on several "
            "replicas.",
            "Leave out one of the two.",
        )


def _count_steps(data: Dataset, split: str, hparams: HParams, limit_steps: int | None) -> int:
    pictures = data.count(split)
    steps = pictures // hparams.batch_size
    if steps == 0:
        raise UsageError(
            f"{data.name} {split} has {pictures} pictures, fewer than one batch of {hparams.batch_size}.",
            f"Add --hparams batch_size={max(1, pictures // 10)}.",
        )
    return min(steps, limit_steps) if limit_steps else steps


def _count_validation_pictures(data: Dataset, split: str, limit_steps: int | None) -> int:
    pictures = data.count(split)
    return min(pictures, limit_steps * EVALUATION_BATCH_SIZE) if limit_steps else pictures
