"""One training run, from names to `model.h5`.

Resume rules, for the same command with the same --output-dir:
1. The folder must hold the same config; another run in it is an error.
2. A finished run is left as it is: it is only looked up, without a lock, a device or another worker. `extend` makes it
   longer, from its last checkpoint on.
3. No checkpoint is a new run; the newest checkpoint restores network, optimizer, schedules and place.
4. A damaged checkpoint is skipped for the one before, with a warning. If all are damaged, or rows tell of epochs and
   there is no checkpoint, or a checkpoint of epochs without rows, that is an error, never a silent start from epoch 0.
   A run that broke off before its first checkpoint has nothing to lose: it may start with other settings.
5. Order and augmentation depend on seed and place, so that the rest is what it would have been without the break.
6. Each of several workers has the same settings and restores the same checkpoint; only the chief writes.
"""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

from bopkit.data.own.listed import ListedPictures
from bopkit.data.own.remembered import remember_pictures
from bopkit.data.run_dataset import run_data_record
from bopkit.errors import BopkitError, UsageError
from bopkit.files import temporary_directory
from bopkit.keras2 import import_tensorflow
from bopkit.optim import make_optimizer
from bopkit.progress import Progress
from bopkit.runs.directory import PICTURES_FILE, Place, RunDirectory, new_run_path
from bopkit.training.callbacks import Callbacks
from bopkit.training.checkpoints import Checkpoints, Start
from bopkit.training.devices import describe_environment
from bopkit.training.evaluated_network import EvaluatedNetwork
from bopkit.training.loop import Loop
from bopkit.training.memory import check_memory
from bopkit.training.network import build_first_network, training_copy
from bopkit.training.observer import Observer
from bopkit.training.opening_lines import opening_lines
from bopkit.training.options import TrainOptions
from bopkit.training.plan import TrainingPlan, plan_run
from bopkit.training.result import TrainResult, look_up, make_result
from bopkit.training.saving import ModelSaver
from bopkit.training.teachers import Teachers
from bopkit.training.tensorboard_start import write_start
from bopkit.training.workers import check_same_settings, noticing_lost_workers

DRY_RUN_STEPS = 2


def run_training(options: TrainOptions, observer: Observer) -> TrainResult:
    """Train a network of the zoo, or of your own, on a dataset.

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
    with noticing_lost_workers(plan.placement):
        check_same_settings(plan)
        if options.dry_run:
            silenced = dataclasses.replace(observer, callbacks=Callbacks())  # it leaves nothing, there either
            return _dry_run(plan.shortened(DRY_RUN_STEPS), silenced)
        with contextlib.closing(_open_directory(plan)) as run:
            observer.progress(f"run directory {run.path}")
            if plan.length.extends or not run.is_finished:
                try:
                    return _train(plan, run, observer)
                except UsageError:
                    run.discard_if_unbegun()
                    raise
            observer.progress(f"{run.path} is finished: {run.model_file}")
            return look_up(plan, run)


def _dry_run(plan: TrainingPlan, observer: Observer) -> TrainResult:
    """Train in a folder that is thrown away; each worker has its own."""
    with temporary_directory("dry-run") as scratch:
        with contextlib.closing(RunDirectory(Path(scratch) / "run", plan.config(), {})) as run:
            result = _train(plan, run, observer)
    return dataclasses.replace(result, output_dir=None, model_file=None)


def _open_directory(plan: TrainingPlan) -> RunDirectory:
    """The run's folder, new or that of the same run before.

    Raises:
        UsageError: Something else is in it, or several workers have no common one.
    """
    options, placement = plan.options, plan.placement
    if options.output_dir:
        path = Path(options.output_dir)
    elif placement.workers == 1:
        path = new_run_path(Path(options.output_prefix), plan.data.name, plan.architecture.name)
    else:
        raise UsageError(
            "Several workers need one shared folder.", "Name it with --output-dir, the same for all of them."
        )
    return RunDirectory(
        path, plan.config(), plan.default_config(), writes=placement.is_chief, extends=plan.length.extends
    )


def _train(plan: TrainingPlan, run: RunDirectory, observer: Observer) -> TrainResult:
    """Build, restore, train, save."""
    options, placement, progress = plan.options, plan.placement, observer.progress
    tf = import_tensorflow()
    if options.deterministic:
        tf.config.experimental.enable_op_determinism()
    # Not 0: TensorFlow's shuffle compares a global seed of 0 with the epoch's seed, a tensor, and fails.
    tf.keras.utils.set_random_seed(options.seed + 1)

    with placement.strategy.scope():
        plain, frozen, start_lines = build_first_network(plan)
        network = training_copy(plain, plan.precision.name, options.sync_batch_norm and placement.replicas > 1)
        optimizer, claims = make_optimizer(network, plan.schedule_hparams, plan.steps_per_epoch)
        evaluated = EvaluatedNetwork(plan, network, plain, frozen)
    teachers = _load_teachers(plan)
    check_memory(network, plan.hparams.batch_size, options.accumulate, placement.replicas, placement.workers)

    checkpoints = Checkpoints(run.checkpoints, network, optimizer, options.keep, writes=placement.is_chief)
    start = _restore(plan, run, checkpoints, progress)
    if placement.is_chief:
        if plan.length.extends:
            run.begin_extension()
        run.keep_metrics_until(start.place, plan.steps_per_epoch)
        _remember_pictures(plan, run, is_new=start.place == Place(0, 0))
        data = run_data_record(plan.data, options.dataset, options.dataset_version, options.data_dir)
        names: dict[str, Any] = {"teachers": [teacher.name for teacher in plan.teachers]} if teachers else {}
        names |= {"from": plan.start.name} if plan.start else {}
        run.write_environment({**describe_environment(placement), **data, **names})
        lines = opening_lines(plan, claims, start.place, evaluated.estimated_pictures, observer.verbose)
        for line in [*lines, *(start_lines if start.place == Place(0, 0) else ())]:
            progress(line)
        if options.tensorboard:
            write_start(plan, run.tensorboard, is_new=plan.length.extends or start.place == Place(0, 0))
        observer.callbacks.call("on_start", _start_of(plan, run, start.place))
        for line in teachers.lines if teachers else ():
            progress(line)

    saver = ModelSaver(plan, run, evaluated, progress)
    loop = Loop(plan, run, network, evaluated, optimizer, checkpoints, start, teachers, saver.save_best, observer)
    row = saver.finish(loop.run())
    placement.gather([])  # no worker ends well before the chief has finished the run
    result = make_result(plan, run, row, resumed_after_epochs=start.place.epoch)
    if placement.is_chief:
        observer.callbacks.call("on_end", result)
    return result


def _remember_pictures(plan: TrainingPlan, run: RunDirectory, is_new: bool) -> None:
    """Keep the list of the user's own pictures in the run; one without progress may have left that of others."""
    file = run.path / PICTURES_FILE
    if is_new:
        file.unlink(missing_ok=True)
    if isinstance(plan.data, ListedPictures) and not file.exists():
        remember_pictures(plan.data, run.path)


def _start_of(plan: TrainingPlan, run: RunDirectory, place: Place) -> dict[str, Any]:
    """What callbacks are told at the start of a run."""
    trained_steps = place.epoch * plan.steps_per_epoch + place.step
    return {**plan.config(), "output_dir": str(run.path), "trained_steps": trained_steps}


def _load_teachers(plan: TrainingPlan) -> Teachers | None:
    """The teachers of a run; None where it has none."""
    if not plan.teachers:
        return None
    temperature, strategy = plan.hparams.teacher_temperature, plan.placement.strategy
    return Teachers(plan.teachers, plan.preprocessing.input_shape, plan.classes, temperature, strategy)


def _restore(plan: TrainingPlan, run: RunDirectory, checkpoints: Checkpoints, progress: Progress) -> Start:
    """Go back to the newest checkpoint that is whole, on every worker to the same one.

    Returns:
        Where the run begins or goes on.

    Raises:
        BopkitError: All are damaged or gone, or the workers do not see the same ones.
    """
    restored = checkpoints.restore(progress)
    # A crash while the first checkpoint is written leaves none, and at most one row.
    if restored is None and (plan.length.extends or len(run.epochs()) > 1):
        raise BopkitError(
            f"{run.path} has rows of {len(run.epochs())} epochs but no checkpoint.",
            "Restore its checkpoints from a copy, or name another --output-dir to start over.",
        )
    if restored is None and run.epochs():
        progress("Warning: there is a row of an epoch but no checkpoint: starting over")
    start = restored or Start()
    seen = {Place(int(epoch), int(step)) for epoch, step in plan.placement.gather(start.place)}
    if len(seen) > 1:
        raise BopkitError(
            f"The workers see different checkpoints in {run.path}: {', '.join(map(str, sorted(seen)))}.",
            "Put --output-dir on a file system that all of them share.",
        )
    run.check_epochs(start.place.epoch)
    return start
