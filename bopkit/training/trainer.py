"""One training run, from names to `model.h5`.

Resume rules, for the same command with the same --output-dir:
1. The folder must hold the same config; another run in it is an error.
2. A finished run is left as it is.
3. No checkpoint is a new run; the newest checkpoint restores network, optimizer, schedules and epoch.
4. A damaged checkpoint is an error that names the file, never a silent start from epoch 0.
   A run that broke off before its first checkpoint has nothing to lose: it may start with other settings.
5. Order and augmentation depend on seed and epoch, so that the rest is what it would have been without the break.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bopkit.benchmark.metrics import TOP_K
from bopkit.data import evaluation_batches, training_batches
from bopkit.errors import BopkitError
from bopkit.keras2 import import_tensorflow
from bopkit.model_file import save_model
from bopkit.optim import Claim, make_optimizer
from bopkit.progress import Progress, silent
from bopkit.training.devices import describe_environment
from bopkit.training.memory import check_memory
from bopkit.training.plan import EVALUATION_BATCH_SIZE, Plan, plan_run
from bopkit.training.run_directory import RunDirectory, new_run_path

CHECKPOINTS_KEPT = 2
DRY_RUN_STEPS = 2


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """What a run left behind.

    Attributes:
        output_dir: The run directory; None for a dry run.
        model_file: The trained network; None for a dry run.
        metrics: The row of the last epoch, as in metrics.jsonl.
        validation_split: The split that its validation figures are of.
        validation_pictures: Number of its pictures that they are of.
        resumed_after_epochs: Epochs that were trained before this call.
    """

    output_dir: Path | None
    model_file: Path | None
    metrics: dict[str, float]
    validation_split: str
    validation_pictures: int
    resumed_after_epochs: int


def train_model(
    model: str,
    dataset: str,
    *,
    hparams_set: str | None = None,
    hparams: Mapping[str, Any] | None = None,
    preprocess_fn: str = "default",
    data_dir: str | Path | None = None,
    data_cache: str | None = None,
    dataset_version: str | None = None,
    output_prefix: str | Path = "runs",
    output_dir: str | Path | None = None,
    validationset: bool = False,
    tensorboard: bool = True,
    device: str = "auto",
    seed: int = 0,
    limit_steps: int | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
    live_bar: bool = False,
) -> TrainResult:
    """Train a network of the zoo, or of your own, on a dataset.

    Args:
        model: Name of an architecture, or dotted name of a module with an `ARCHITECTURE`.
        dataset: Name of a dataset.
        hparams_set: Name of a hyper-parameter set; None for the architecture's first (`bop`).
        hparams: Values that differ from the set.
        preprocess_fn: Name of a preprocessing, or `default` for the dataset's own.
        data_dir: Where TFDS keeps prepared datasets.
        data_cache: `memory`, or a folder, to cache the encoded pictures in.
        dataset_version: Version of the TFDS builder.
        output_prefix: A new run gets the folder prefix/dataset/model/date_time.
        output_dir: The run's own folder; an unfinished run in it is resumed.
        validationset: Validate on a tenth of the training split, not on the test split.
        tensorboard: Write TensorBoard logs.
        device: `auto`, `cpu`, `gpu` or `gpu:N`.
        seed: Seeds weights, order and augmentation.
        limit_steps: At most so many steps an epoch, and batches a validation.
        dry_run: Build everything, run two steps, keep nothing.
        progress: Called with each line that a person should read; None for silence.
        live_bar: Draw a progress bar on stderr.

    Returns:
        Where the run is, and its last figures.

    Raises:
        UsageError: A name or value is wrong.
        BopkitError: Missing data, a damaged checkpoint, a loss that is not finite.
    """
    progress = progress or silent
    plan = plan_run(
        model,
        dataset,
        hparams_set=hparams_set,
        hparams=hparams or {},
        preprocess_fn=preprocess_fn,
        data_dir=data_dir,
        dataset_version=dataset_version,
        validationset=validationset,
        device=device,
        limit_steps=limit_steps,
        seed=seed,
        progress=progress,
    )
    fit_options = _FitOptions(data_cache, tensorboard, live_bar)
    if dry_run:
        plan = plan.shortened(DRY_RUN_STEPS)
        with tempfile.TemporaryDirectory() as scratch:
            result = _run(plan, RunDirectory(Path(scratch) / "run", plan.config()), fit_options, progress)
        return dataclasses.replace(result, output_dir=None, model_file=None)
    path = Path(output_dir) if output_dir else new_run_path(Path(output_prefix), plan.data.name, plan.architecture.name)
    run = RunDirectory(path, plan.config())
    progress(f"run directory {path}")
    return _run(plan, run, fit_options, progress)


@dataclasses.dataclass(frozen=True)
class _FitOptions:
    """What changes how a run is fed and shown, not what comes out of it."""

    data_cache: str | None
    tensorboard: bool
    live_bar: bool


def _run(plan: Plan, run: RunDirectory, options: _FitOptions, progress: Progress) -> TrainResult:
    """Start or resume a run, and bring it to its end."""
    if run.is_finished:
        progress(f"{run.path} is finished: {run.model_file}")
        return _result(plan, run, resumed_after_epochs=plan.hparams.epochs)
    tf = import_tensorflow()
    # Not 0: TensorFlow's shuffle compares a global seed of 0 with the epoch's seed, a tensor, and fails.
    tf.keras.utils.set_random_seed(plan.seed + 1)
    network, claims = _compile(plan)
    check_memory(network, plan.hparams.batch_size)
    checkpoint = tf.train.Checkpoint(network=network, optimizer=network.optimizer, epoch=tf.Variable(0, dtype=tf.int64))
    manager = _restore(checkpoint, run)
    first_epoch = int(checkpoint.epoch)
    run.keep_metrics_before(first_epoch)
    run.write_environment(describe_environment())
    for line in _opening_lines(plan, claims, first_epoch):
        progress(line)
    _fit(plan, run, network, manager, first_epoch, options, progress)
    save_model(network, plan.card(run.last_metrics()), run.model_file)
    return _result(plan, run, resumed_after_epochs=first_epoch)


def _compile(plan: Plan) -> tuple[Any, list[Claim]]:
    """Build the network and give it its optimizer, loss and metrics."""
    metrics = import_tensorflow().keras.metrics
    network = plan.architecture.build_network(plan.hparams, plan.preprocessing.input_shape, plan.classes)
    optimizer, claims = make_optimizer(network, plan.hparams, plan.steps_per_epoch)
    shown = [metrics.SparseCategoricalAccuracy(name="top1")]
    if plan.classes > TOP_K:
        shown.append(metrics.SparseTopKCategoricalAccuracy(TOP_K, name="top5"))
    network.compile(optimizer, loss="sparse_categorical_crossentropy", metrics=shown)
    return network, claims


def _restore(checkpoint: Any, run: RunDirectory) -> Any:
    """Restore the newest checkpoint, if there is one, after reading all of it: damage must not surface later.

    Returns:
        The `tf.train.CheckpointManager` that keeps the next ones.
    """
    tf = import_tensorflow()
    state_file = run.checkpoints / "checkpoint"
    newest: Any = state_file
    try:
        manager = tf.train.CheckpointManager(checkpoint, str(run.checkpoints), max_to_keep=CHECKPOINTS_KEPT)
        latest = manager.latest_checkpoint
        # A crash while the first checkpoint is written leaves no state file, and at most one row.
        if latest is None and (state_file.exists() or len(run.metrics()) > 1):
            raise ValueError("no state")
        if latest is not None:
            newest = latest
            reader = tf.train.load_checkpoint(latest)
            for name in reader.get_variable_to_shape_map():
                reader.get_tensor(name)
            checkpoint.restore(latest).assert_existing_objects_matched()
    except (tf.errors.OpError, AssertionError, IndexError, ValueError, RuntimeError) as error:
        raise BopkitError(
            f"Checkpoint {newest} is damaged.",
            "Name another --output-dir to start anew, or restore its files from a copy.",
        ) from error
    return manager


def _fit(
    plan: Plan,
    run: RunDirectory,
    network: Any,
    manager: Any,
    first_epoch: int,
    options: _FitOptions,
    progress: Progress,
) -> None:
    """Train the epochs that are left; each ends with a row of metrics and a checkpoint."""
    tf = import_tensorflow()
    from bopkit.training.callbacks import EpochRecord, StepWatch
    from bopkit.training.display import TrainingDisplay
    from bopkit.training.flips import FlipMeter

    batch_size, epochs = plan.hparams.batch_size, plan.hparams.epochs
    training = training_batches(
        plan.data,
        plan.train_split,
        plan.preprocessing,
        batch_size=batch_size,
        steps_per_epoch=plan.steps_per_epoch,
        seed=plan.seed,
        first_epoch=first_epoch,
        epochs=epochs,
        cache=options.data_cache,
        progress=progress,
    )
    validation = evaluation_batches(
        plan.data, plan.validation_split, plan.preprocessing, EVALUATION_BATCH_SIZE, limit=plan.validation_pictures
    )
    flips = FlipMeter(network)
    display = TrainingDisplay(epochs, plan.steps_per_epoch, batch_size, first_epoch, progress, options.live_bar)
    callbacks = [
        StepWatch(flips, display),
        EpochRecord(run, flips, display, manager, plan.steps_per_epoch * batch_size),
    ]
    if options.tensorboard:
        callbacks.append(tf.keras.callbacks.TensorBoard(str(run.tensorboard), write_graph=False))
    try:
        network.fit(
            training,
            initial_epoch=first_epoch,
            epochs=epochs,
            steps_per_epoch=plan.steps_per_epoch,
            validation_data=validation,
            callbacks=callbacks,
            verbose=0,
        )
    finally:
        display.stop()


def _result(plan: Plan, run: RunDirectory, resumed_after_epochs: int) -> TrainResult:
    return TrainResult(
        output_dir=run.path,
        model_file=run.model_file,
        metrics=run.last_metrics(),
        validation_split=plan.validation_split,
        validation_pictures=plan.validation_pictures,
        resumed_after_epochs=resumed_after_epochs,
    )


def _opening_lines(plan: Plan, claims: list[Claim], first_epoch: int) -> list[str]:
    """What a person should know before the first step."""
    lines = [
        f"{plan.architecture.name} with {plan.set_name} on {plan.data.name}, preprocessing {plan.preprocessing.name}, "
        f"input {' x '.join(map(str, plan.preprocessing.input_shape))}, {plan.classes} classes, "
        f"{plan.data.count(plan.train_split)} pictures, {plan.steps_per_epoch} steps an epoch",
        *(f"  {claim.optimizer:4}  {claim.variable}  {list(claim.shape)}" for claim in claims),
    ]
    if plan.validates_on_test_pictures:
        lines.append(
            f"validation is on the {plan.validation_split} split: its figures are seen during training "
            "(--validationset keeps a tenth of the training split for that)"
        )
    if first_epoch:
        lines.append(f"resuming after epoch {first_epoch} of {plan.hparams.epochs}")
    return lines
