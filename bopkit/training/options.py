"""What a user may choose about a training."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bopkit.data.dataset import Dataset, opened_already
from bopkit.data.own.naming import skipping_damaged
from bopkit.errors import UsageError, unknown_name
from bopkit.seeds import check_seed


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Settings of one training; each has the default of the command line.

    Attributes:
        model: Name of an architecture, or of a module with an `ARCHITECTURE`.
        dataset: Name of a dataset, or of a module with `open_dataset`; or an opened dataset.
        hparams_set: Name of a hyper-parameter set; None for the architecture's first (`bop`).
        hparams: Values that differ from the set.
        preprocess_fn: Name of a preprocessing, or `default` for the dataset's own.
        from_model: A model file, a run, a pulled network or `pull:NAME`, of the same architecture, whose weights the
            network starts with, as far as they fit; None for a new one.
        freeze: Names of layers that are not trained, with `*` and `?` as in a shell; None for none.
        freeze_batch_norm: Keep the batch norms that another network brought as they are, statistics included.
        input_shape: Height, width, channels of the network's input; None for those of the dataset.
        skip_damaged: Look at every picture of a dataset of files, and leave out those that cannot be used.
        data_dir: Where TFDS keeps prepared datasets.
        data_cache: `memory`, or a folder, to cache the encoded pictures in.
        dataset_version: Version of the TFDS builder.
        output_prefix: A new run is written to prefix/dataset/model/date_time.
        output_dir: The run's own folder; an unfinished run in it is resumed.
        extend: Train the run in `output_dir`, finished or not, for more epochs than it was asked for: see
            `bopkit.training.length`.
        teacher: Networks whose answers the network learns: model files or runs of bopkit, other Keras classifiers,
            SavedModels, or `pull:NAME`; None for none. `teacher_weight` and `teacher_temperature` among the
            hyper-parameters say how.
        teacher_preprocess_fn: Name of the preprocessing of teachers that carry no model card.
        train_split: The split that trains, or a slice of one as `train[:80%]`; None for `train`.
        validation_split: The split that validates, or a slice of one; None for the dataset's test split.
        validationset: Validate on a tenth of the training split, not on the test split.
        tensorboard: Write TensorBoard logs.
        device: `auto` (GPUs if there are any), `cpu`, `gpu`, `gpu:N`, or `cpu*N` for N virtual CPU devices.
        strategy: `auto` (every GPU, every worker), `one`, `mirrored`, `multiworker` or `tpu`.
        precision: `float32`, or `bfloat16` for layers that compute in it; None for that of the resumed run, else
            bfloat16 where the device has instructions for it.
        jit: Compile the forward and backward pass with XLA; a run is resumed only with the same value.
        accumulate: Parts that a replica's batch is split into, for batches that do not fit into memory; Bop steps
            once a batch.
        sync_batch_norm: Batch norm over the global batch of all replicas, not over each replica's part.
        batch_norm_pictures: Training pictures over which batch-norm statistics are estimated anew, for the weights as
            they are, before each validation and in model files; 0 for the moving averages of training; None for 1,000
            where weights flip and 0 elsewhere, or for that of the resumed run.
        deterministic: Ask TensorFlow for kernels that repeat bit for bit; on a GPU they are slower. A run is resumed
            only with the same value.
        seed: Seeds weights, order and augmentation.
        checkpoint_every_minutes: Minutes between two checkpoints inside an epoch.
        keep: Number of checkpoints to keep.
        best_by: The figure by which the best epoch is chosen, for `model.h5` and `early_stop`: `val_top1`,
            `val_balanced_accuracy` (each class counts alike, however many pictures it has) or `val_loss`.
        early_stop: Stop after that many epochs without a better one; needs `validationset` or
            `validation_split`.
        log_every: Steps between two rows with flips in metrics.jsonl.
        limit_steps: Largest number of steps per epoch, and of batches per validation.
        dry_run: Build everything, run two steps, keep nothing.

    Raises:
        UsageError: A number is out of its range, `early_stop` lacks pictures for validation, or there are two kinds of
            them. Names of models, datasets, splits and devices are checked when the training begins.
    """

    model: str
    dataset: str | Dataset
    hparams_set: str | None = None
    hparams: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    preprocess_fn: str = "default"
    from_model: str | Path | None = None
    freeze: Sequence[str] | None = None
    freeze_batch_norm: bool = False
    input_shape: tuple[int, int, int] | None = None
    skip_damaged: bool = False
    data_dir: str | Path | None = None
    data_cache: str | None = None
    dataset_version: str | None = None
    output_prefix: str | Path = "runs"
    output_dir: str | Path | None = None
    extend: bool = False
    teacher: Sequence[str | Path] | None = None
    teacher_preprocess_fn: str | None = None
    train_split: str | None = None
    validation_split: str | None = None
    validationset: bool = False
    tensorboard: bool = True
    device: str = "auto"
    strategy: str = "auto"
    precision: str | None = None
    jit: bool = False
    accumulate: int = 1
    sync_batch_norm: bool = False
    batch_norm_pictures: int | None = None
    deterministic: bool = False
    seed: int = 0
    checkpoint_every_minutes: float = 10.0
    keep: int = 2
    best_by: str = "val_top1"
    early_stop: int | None = None
    log_every: int = 50
    limit_steps: int | None = None
    dry_run: bool = False

    def __post_init__(self) -> None:
        """Refuse values that no training can have."""
        if isinstance(self.freeze, str):
            raise UsageError(f"freeze is {self.freeze!r}, not a list.", f"Write [{self.freeze!r}].")
        object.__setattr__(self, "freeze", tuple(self.freeze) if self.freeze else None)
        if self.skip_damaged:
            if not isinstance(self.dataset, str):
                raise UsageError("skip_damaged is for names of datasets.", "Open the dataset without what is damaged.")
            object.__setattr__(self, "dataset", skipping_damaged(self.dataset))
        if self.input_shape is not None:
            object.__setattr__(self, "input_shape", checked_input_shape(self.input_shape))
        if not self.checkpoint_every_minutes > 0:  # also NaN
            raise UsageError(f"checkpoint_every_minutes is {self.checkpoint_every_minutes}.", "Use a number above 0.")
        check_seed(self.seed)
        if isinstance(self.teacher, str | Path):
            raise UsageError(f"teacher is {str(self.teacher)!r}, not a list.", f"Write [{str(self.teacher)!r}].")
        object.__setattr__(self, "teacher", tuple(self.teacher) if self.teacher else None)  # a tuple can be compared
        if self.teacher_preprocess_fn and not self.teacher:
            raise UsageError("There is no teacher that --teacher-preprocess-fn could be for.", "Add --teacher MODEL.")
        for name in ("keep", "log_every", "limit_steps", "accumulate", "early_stop"):
            count = getattr(self, name)
            if count is not None and count < 1:
                raise UsageError(f"{name} is {count}.", "Use 1 or more.")
        if self.batch_norm_pictures is not None and self.batch_norm_pictures < 0:
            raise UsageError(f"batch_norm_pictures is {self.batch_norm_pictures}.", "Use 0 or more.")
        if self.validationset and self.validation_split:
            raise UsageError(
                "--validationset and --validation-split both choose the pictures for validation.",
                "Leave out one of the two.",
            )
        if self.best_by not in BEST_BY:
            raise unknown_name("metric", self.best_by, BEST_BY, "bopkit train --help")

    @property
    def dataset_name(self) -> str:
        """The name that opens the dataset.

        Raises:
            UsageError: There is none.
        """
        if isinstance(self.dataset, str):
            return self.dataset
        raise opened_already(self.dataset)

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain JSON values; `TrainOptions(**values)` makes them options again.

        Raises:
            UsageError: The dataset has no name that opens it again.
        """
        values = {**vars(self), "dataset": self.dataset_name, "hparams": dict(self.hparams)}
        if self.teacher:
            values["teacher"] = [str(path) for path in self.teacher]
        if self.freeze:
            values["freeze"] = list(self.freeze)
        return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}


BEST_BY = ("val_top1", "val_balanced_accuracy", "val_loss")
"""Figures of an epoch that the best one may be chosen by."""


def checked_input_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """Height, width, channels of a network's input.

    Raises:
        UsageError: They are none.
    """
    if len(shape) != 3 or min(shape) < 1:
        text = ",".join(map(str, shape))
        raise UsageError(f"The input shape {text} is not height, width, channels.", "Write for instance 96,96,3.")
    height, width, channels = shape
    return height, width, channels
