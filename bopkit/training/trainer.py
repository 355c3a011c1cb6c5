"""One training run, from names to `model.h5`.

Resume rules, for the same command with the same --output-dir:
1. The folder must hold the same config; another run in it is an error.
2. A finished run is left as it is: it is only looked up, without a lock, a device or another worker.
3. No checkpoint is a new run; the newest checkpoint restores network, optimizer, schedules and position.
4. A damaged checkpoint is skipped for the one before, with a warning. If all are damaged, or rows tell of epochs and
   there is no checkpoint, or a checkpoint of epochs without rows, that is an error, never a silent start from epoch 0.
   A run that broke off before its first checkpoint has nothing to lose: it may start with other settings.
5. Order and augmentation depend on seed and position, so that the rest is what it would have been without the break.
6. Each of several workers has the same settings and restores the same checkpoint; only the chief writes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bopkit.artifacts.artifact import read_card
from bopkit.artifacts.keras_file import save_model
from bopkit.data import evaluation_batches, readable
from bopkit.errors import BopkitError, UsageError
from bopkit.keras2 import import_tensorflow
from bopkit.optim import Claim, make_optimizer
from bopkit.progress import Progress, silent
from bopkit.runs.directory import Place, RunDirectory, new_run_path
from bopkit.training.checkpoints import Checkpoints
from bopkit.training.cluster import WorkerLost
from bopkit.training.devices import Placement, describe_environment
from bopkit.training.loop import Loop, Position
from bopkit.training.memory import check_memory
from bopkit.training.network import build_training_network
from bopkit.training.observer import Observer
from bopkit.training.options import TrainOptions
from bopkit.training.plan import EVALUATION_BATCH_SIZE, TrainingPlan, plan_run
from bopkit.training.step import TrainStep

DRY_RUN_STEPS = 2


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """What a run left behind.

    Attributes:
        output_dir: The run directory; None for a dry run.
        model_file: The trained network: the best by validation top-1 where pictures are kept for that, else the
            last; None for a dry run.
        metrics: The row of the epoch that it is of, as in metrics.jsonl, but with the validation accuracy of the
            model file, as its card has it: that of the float32 network, also where bfloat16 was trained.
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
    hparams: Mapping[str, Any] | None = None,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    progress: Progress | None = None,
    live_bar: bool = False,
    **settings: Any,
) -> TrainResult:
    """Train a network of the zoo, or of your own, on a dataset.

    Args:
        model: Name of an architecture, or dotted name of a module with an `ARCHITECTURE`.
        dataset: Name of a dataset.
        hparams: Values that differ from the hyper-parameter set.
        on_epoch: Called with each epoch's row when row and checkpoint are on the disk; what it raises ends the run.
        progress: Called with each line that a person should read; None for silence.
        live_bar: Draw a progress bar on stderr.
        settings: Any other field of `bopkit.training.TrainOptions`, such as `hparams_set`, `output_dir`, `seed`.

    Returns:
        Where the run is, and its last figures.

    Raises:
        UsageError: A name or value is wrong.
        BopkitError: Missing data, a damaged checkpoint, a loss or a weight that is not finite.
    """
    options = TrainOptions(model=model, dataset=dataset, hparams=hparams or {}, **settings)
    return run_training(options, Observer(progress=progress or silent, on_epoch=on_epoch, live_bar=live_bar))


def run_training(options: TrainOptions, observer: Observer) -> TrainResult:
    """Train as `train_model` does, with the settings in one object.

    Args:
        options: What to train, on what, and how.
        observer: Who is told of it.

    Returns:
        Where the run is, and its last figures.

    Raises:
        UsageError: A name or value is wrong.
        BopkitError: Missing data, a damaged checkpoint, a loss or a weight that is not finite.
    """
    plan = plan_run(options, observer.progress)
    with _noticing_lost_workers(plan.placement):
        settings = {**plan.config(), "log_every": options.log_every, "dry_run": options.dry_run}
        _check_same_settings(settings, plan.placement)
        if options.dry_run:
            plan = plan.shortened(DRY_RUN_STEPS)
            with tempfile.TemporaryDirectory() as scratch:  # each worker has its own
                with contextlib.closing(RunDirectory(Path(scratch) / "run", plan.config())) as run:
                    result = _run(plan, run, observer)
            return dataclasses.replace(result, output_dir=None, model_file=None)
        path = _choose_path(plan)
        with contextlib.closing(RunDirectory(path, plan.config(), writes=plan.placement.is_chief)) as run:
            observer.progress(f"run directory {run.path}")
            return _run(plan, run, observer)


@contextlib.contextmanager
def _noticing_lost_workers(placement: Placement) -> Iterator[None]:
    """Tell of TensorFlow's errors that mean that another worker is gone."""
    if placement.workers == 1:
        yield
        return
    errors = import_tensorflow().errors
    try:
        yield
    except (errors.UnavailableError, errors.AbortedError, errors.CancelledError) as error:
        raise WorkerLost(f"Worker {placement.worker} has lost another worker.") from error


def _check_same_settings(settings: Mapping[str, Any], placement: Placement) -> None:
    """Refuse workers that would train different networks together.

    Raises:
        UsageError: A worker's settings are not those of worker 0.
    """
    checksums = placement.gather([zlib.crc32(json.dumps(value).encode()) for value in settings.values()])
    for worker, theirs in enumerate(checksums):
        different = [name for name, one, other in zip(settings, checksums[0], theirs, strict=True) if one != other]
        if different:
            raise UsageError(
                f"Worker {worker} was started with another {', '.join(different)} than worker 0.",
                "Start the same command on every host.",
            )


def _choose_path(plan: TrainingPlan) -> Path:
    """The run's folder."""
    options = plan.options
    if options.output_dir:
        return Path(options.output_dir)
    if plan.placement.workers > 1:
        raise UsageError("Several workers share one folder.", "Name it with --output-dir, the same for each of them.")
    return new_run_path(Path(options.output_prefix), plan.data.name, plan.architecture.name)


def _run(plan: TrainingPlan, run: RunDirectory, observer: Observer) -> TrainResult:
    """Start or resume a run, and bring it to its end."""
    if run.is_finished:
        observer.progress(f"{run.path} is finished: {run.model_file}")
        return _look_up(plan, run)
    tf = import_tensorflow()
    if plan.options.deterministic:
        tf.config.experimental.enable_op_determinism()
    # Not 0: TensorFlow's shuffle compares a global seed of 0 with the epoch's seed, a tensor, and fails.
    tf.keras.utils.set_random_seed(plan.options.seed + 1)
    return _train(plan, run, observer)


def _train(plan: TrainingPlan, run: RunDirectory, observer: Observer) -> TrainResult:
    """Build, restore, train, save."""
    tf = import_tensorflow()
    options, placement, progress = plan.options, plan.placement, observer.progress
    with placement.strategy.scope():
        network = _build(plan)
        optimizer, claims = make_optimizer(network, plan.hparams, plan.steps_per_epoch)
    position = Position()
    check_memory(network, plan.hparams.batch_size, options.accumulate, placement.replicas, placement.workers)
    state = tf.train.Checkpoint(
        network=network, optimizer=optimizer, epoch=position.epoch, step=position.step, sums=position.sums
    )
    checkpoints = Checkpoints(run.checkpoints, state, options.keep, writes=placement.is_chief)
    _restore(run, checkpoints, plan, progress)
    first, _ = position.read()
    if placement.is_chief:
        run.keep_metrics_until(first, plan.steps_per_epoch)
        run.write_environment(describe_environment(placement))
        for line in _opening_lines(plan, claims, first):
            progress(line)

    save = _Saver(plan, network, progress)
    loop = Loop(
        plan,
        run,
        network,
        optimizer,
        position,
        checkpoints,
        save_best=lambda row: save(row, run.model_file),
        observer=observer,
    )
    row = save.finish(run, loop.run())
    # The chief's figures, which only it has measured; and no worker ends well before the run is finished.
    names = [name for name in row if name.startswith("val_")]
    (figures, *_) = placement.gather([row[name] for name in names])
    return _result(plan, run, {**row, **dict(zip(names, figures, strict=True))}, resumed_after_epochs=first.epoch)


def _build(plan: TrainingPlan) -> Any:
    """The network to train."""
    return build_training_network(
        plan.architecture,
        plan.hparams,
        plan.preprocessing.input_shape,
        plan.classes,
        precision=plan.precision.name,
        sync_batch_norm=plan.options.sync_batch_norm and plan.placement.replicas > 1,
    )


class _Saver:
    """Writes model files: float32 networks of one device, however they were trained."""

    def __init__(self, plan: TrainingPlan, network: Any, progress: Progress):
        self._plan = plan
        self._progress = progress
        self._network = self._plain = network
        if plan.placement.replicas > 1 or plan.precision.name != "float32":
            self._plain = plan.architecture.build_network(plan.hparams, plan.preprocessing.input_shape, plan.classes)

    def __call__(self, row: Mapping[str, Any], path: Path) -> None:
        """Save the network as it is now, with the figures of an epoch."""
        if self._take_weights():
            self._write(row, path)

    def finish(self, run: RunDirectory, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Save the network at the end of a run; the last file says that the run is finished.

        Args:
            run: Its directory.
            rows: Those of all epochs.

        Returns:
            The row of the network in `model.h5`; on the chief with that file's own accuracy.
        """
        row, last = _row_of_model(self._plan, rows), rows[-1]
        if not self._take_weights():
            return row
        if self._plan.has_validation_pictures and not run.model_file.exists():
            self._progress(f"warning: the best network is gone with {run.model_file}: the last one takes its place")
            row = last
        last = self._measured(last)
        if row["epoch"] == last["epoch"]:
            row = last
            self._write(row, run.model_file)
        elif self._plan.precision.name != "float32":
            weights = self._plain.get_weights()
            self._plain.load_weights(str(run.model_file))
            row = self._measured(row)
            self._write(row, run.model_file)
            self._plain.set_weights(weights)
        self._write(last, run.last_model_file)
        return row

    def _take_weights(self) -> bool:
        """Give the plain network the weights as they are now; says whether this worker writes."""
        weights = self._network.get_weights()  # every worker takes part: batch-norm statistics are spread over them
        if self._plain is not self._network and self._plan.placement.is_chief:
            self._plain.set_weights(weights)
        return self._plan.placement.is_chief

    def _write(self, row: Mapping[str, Any], path: Path) -> None:
        save_model(self._plain, self._plan.card(row), path)

    def _measured(self, row: dict[str, Any]) -> dict[str, Any]:
        """The row with the validation of the float32 network, where training has validated its bfloat16 twin."""
        plan = self._plan
        if plan.precision.name == "float32":
            return row
        batches = evaluation_batches(
            plan.data, plan.validation_split, plan.preprocessing, EVALUATION_BATCH_SIZE, plan.validation_pictures
        )
        here = TrainStep(self._plain, None, import_tensorflow().distribute.get_strategy())
        sums = here.evaluate(readable(batches, plan.data, plan.validation_split))
        return {**row, **sums.means(plan.classes, "val_")}


def _restore(run: RunDirectory, checkpoints: Checkpoints, plan: TrainingPlan, progress: Progress) -> None:
    """Go back to the newest checkpoint that is whole, on every worker to the same one.

    Raises:
        BopkitError: All are damaged or gone, or the workers do not see the same ones.
    """
    place = checkpoints.restore(progress)
    # A crash while the first checkpoint is written leaves none, and at most one row.
    if place is None and len(run.epochs()) > 1:
        raise BopkitError(
            f"{run.path} has rows of {len(run.epochs())} epochs and no checkpoint.",
            "Restore its checkpoints from a copy, or name another --output-dir to start anew.",
        )
    if place is None and run.epochs():
        progress("WARNING: there is no checkpoint of the epoch that has a row: starting anew")
    here = place or Place(0, 0)
    seen = {Place(int(epoch), int(step)) for epoch, step in plan.placement.gather(here)}
    if len(seen) > 1:
        raise BopkitError(
            f"The workers see different checkpoints in {run.path}: {', '.join(map(str, sorted(seen)))}.",
            "Put --output-dir on a file system that all of them share.",
        )
    run.check_epochs(here.epoch)


def _look_up(plan: TrainingPlan, run: RunDirectory) -> TrainResult:
    """The result of a finished run."""
    rows = run.epochs()
    run.check_epochs(max(len(rows), 1))
    if not run.model_file.exists():
        raise BopkitError(
            f"{run.path} is finished, and its {run.model_file.name} is gone.",
            f"Take {run.last_model_file}, the last network.",
        )
    card = read_card(run.model_file)
    row = {**_row_of_model(plan, rows), **(card.accuracy if card else {})}
    return _result(plan, run, row, resumed_after_epochs=len(rows))


def _row_of_model(plan: TrainingPlan, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Of the rows of all epochs that of the network in `model.h5`."""
    return max(rows, key=lambda row: row["val_top1"]) if plan.has_validation_pictures else rows[-1]


def _result(plan: TrainingPlan, run: RunDirectory, metrics: dict[str, Any], resumed_after_epochs: int) -> TrainResult:
    return TrainResult(
        output_dir=run.path,
        model_file=run.model_file,
        metrics=metrics,
        validation_split=plan.validation_split,
        validation_pictures=plan.validation_pictures,
        resumed_after_epochs=resumed_after_epochs,
    )


def _opening_lines(plan: TrainingPlan, claims: list[Claim], first: Place) -> list[str]:
    """What a person should know before the first step."""
    placement = plan.placement
    xla = "with XLA"
    if not plan.options.jit:
        xla = "without XLA (default: not faster everywhere; bopkit doctor --gpu shows)"
    parts = f", each replica's in {plan.options.accumulate} parts" if plan.options.accumulate > 1 else ""
    lines = [
        f"{plan.architecture.name} with {plan.set_name} on {plan.data.name}, preprocessing {plan.preprocessing.name}, "
        f"input {' x '.join(map(str, plan.preprocessing.input_shape))}, {plan.classes} classes, "
        f"{plan.data.count(plan.train_split)} pictures, {plan.steps_per_epoch} steps an epoch",
        f"on {placement.describe()}, {plan.precision.name} ({plan.precision.reason}), {xla}, "
        f"batches of {plan.hparams.batch_size}{parts}; seed {plan.options.seed}",
        *(f"  {claim.optimizer:6}  {claim.variable}  {list(claim.shape)}" for claim in claims),
    ]
    if placement.on_gpu and not plan.options.deterministic:
        lines.append("GPU kernels add up in any order: this run will not repeat bit for bit; --deterministic makes it")
    if placement.replicas > 1 and not plan.options.sync_batch_norm:
        lines.append("batch norm is over each replica's part of a batch; --sync-batch-norm makes it over the whole")
    if not plan.has_validation_pictures:
        lines.append(
            f"validation is on the {plan.validation_split} split: its figures are seen during training "
            "(--validationset keeps a tenth of the training split for that)"
        )
    if first > Place(0, 0):
        within = f", step {first.step} of the next" if first.step else ""
        lines.append(f"resuming after epoch {first.epoch} of {plan.hparams.epochs}{within}")
    return lines
