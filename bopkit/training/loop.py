"""The loop of a run: steps, validations, rows, checkpoints, and the reasons to stop.

A checkpoint holds the run's place and the epoch's sums so far, so that a run that goes on in the middle of an epoch
writes the same rows.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from collections.abc import Callable
from typing import Any, TypeVar

from bopkit.data import BatchOptions, evaluation_batches, readable, reading, training_batches
from bopkit.errors import BopkitError
from bopkit.keras2 import import_tensorflow
from bopkit.optim import hyper_values
from bopkit.progress import silent
from bopkit.runs.directory import Place, RunDirectory
from bopkit.training.checkpoints import Checkpoints
from bopkit.training.display import TrainingDisplay
from bopkit.training.flips import FlipMeter, flip_ratio
from bopkit.training.metrics_writer import Recorder
from bopkit.training.observer import Observer
from bopkit.training.plan import EVALUATION_BATCH_SIZE, TrainingPlan
from bopkit.training.step import StepResult, Sums, TrainStep
from bopkit.training.stop_signals import StopRequest

T = TypeVar("T")

VALIDATION_ROUND_BATCHES = 10
"""Batches of a validation after which several workers tell each other of signals."""


class Position:
    """Where a run is, as variables that a checkpoint holds."""

    def __init__(self) -> None:
        tf = import_tensorflow()
        self.epoch = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.sums = tf.Variable([0.0] * 4, dtype=tf.float64, trainable=False)

    def set(self, place: Place, sums: Sums) -> None:
        """Remember a place, and the sums of the steps that are trained of its unfinished epoch."""
        self.epoch.assign(place.epoch)
        self.step.assign(place.step)
        self.sums.assign(dataclasses.astuple(sums))

    def read(self) -> tuple[Place, Sums]:
        """What was remembered."""
        return Place(int(self.epoch), int(self.step)), Sums(*self.sums.numpy().tolist())


class Loop:
    """Trains what is left of a run.

    Args:
        plan: The run.
        run: Its directory.
        network: The network, built in the scope of the plan's strategy.
        optimizer: Its optimizer.
        position: Where the run is.
        checkpoints: Where its state goes.
        save_best: Called with the row of an epoch whose validation top-1 is the best so far.
        observer: Who is told of it.
    """

    def __init__(
        self,
        plan: TrainingPlan,
        run: RunDirectory,
        network: Any,
        optimizer: Any,
        position: Position,
        checkpoints: Checkpoints,
        save_best: Callable[[dict[str, Any]], None],
        observer: Observer,
    ):
        self._plan = plan
        self._run = run
        self._optimizer = optimizer
        self._position = position
        self._checkpoints = checkpoints
        self._save_best = save_best
        self._observer = observer
        options, strategy = plan.options, plan.placement.strategy
        self._step = TrainStep(
            network,
            optimizer,
            strategy,
            accumulate=options.accumulate,
            jit=options.jit,
            finish=plan.preprocessing.finish,
        )
        # Listed at the first check: an optimizer's averages are there from the first step on. Batch norm's statistics
        # are left out: reading them is an exchange between workers.
        self._weights_are_finite = import_tensorflow().function(
            lambda: _all_finite([*network.trainable_weights, *optimizer.variables()]), autograph=False
        )
        self._flips = FlipMeter(network)
        self._log_every = min(options.log_every, plan.steps_per_epoch)  # at least one row an epoch
        self._stop = StopRequest()
        self._saved_at = time.monotonic()
        (epoch, step), self._sums = position.read()
        trained_steps = epoch * plan.steps_per_epoch + step
        rows = run.metrics()
        self._epochs = [row for row in rows if row["kind"] == "epoch" and row["epoch"] <= epoch]
        measured = [row for row in rows if row["kind"] == "step" and row["epoch"] == epoch + 1]
        measured = [row for row in measured if row["step"] <= trained_steps]
        self._flip_ratios = [row["flip_ratio"] for row in measured]
        self._images_per_second = measured[-1]["images_per_second"] if measured else 0.0
        self._training = self._distributed(
            training_batches(
                plan.data,
                plan.train_split,
                plan.preprocessing,
                BatchOptions(
                    batch_size=plan.hparams.batch_size,
                    steps_per_epoch=plan.steps_per_epoch,
                    epochs=plan.hparams.epochs,
                    seed=options.seed,
                    first_epoch=epoch,
                    first_step=step,
                    replicas=plan.placement.replicas,
                    worker=plan.placement.worker,
                    workers=plan.placement.workers,
                ),
                cache=options.data_cache,
                progress=observer.progress,
            )
        )
        self._validation = self._distributed(
            evaluation_batches(
                plan.data,
                plan.validation_split,
                plan.preprocessing,
                EVALUATION_BATCH_SIZE,
                limit=plan.validation_pictures,
                worker=plan.placement.worker,
                workers=plan.placement.workers,
            )
        )
        is_chief = plan.placement.is_chief
        self._recorder = Recorder(run, options.tensorboard, trained_steps) if is_chief else None
        self._display = TrainingDisplay(
            plan.hparams.epochs,
            plan.steps_per_epoch,
            plan.hparams.batch_size,
            trained_steps,
            observer.progress if is_chief else silent,
            observer.live_bar and is_chief,
        )

    def run(self) -> list[dict[str, Any]]:
        """Train until the last epoch, or until early stopping, Ctrl-C or SIGTERM.

        Returns:
            The rows of all epochs, those before a resume included: also on a worker that writes none.

        Raises:
            BopkitError: A loss or a weight is not finite.
            KeyboardInterrupt, SystemExit: After a checkpoint.
        """
        (epoch, step), _ = self._position.read()
        batches = iter(self._training)
        try:
            with self._stop:
                while epoch < self._plan.hparams.epochs and not self._is_exhausted():
                    self._one_epoch(epoch, step, batches)
                    epoch, step = epoch + 1, 0
        finally:
            self._display.stop()
            if self._recorder:
                self._recorder.close()
        return self._epochs

    def _one_epoch(self, epoch: int, first_step: int, batches: Any) -> None:
        """Train what is left of an epoch, validate, write its row, then its checkpoint."""
        plan = self._plan
        began = time.perf_counter()
        self._train_epoch(epoch, first_step, batches)
        trained_s = time.perf_counter() - began
        validation = self._validate(epoch)
        self._check_weights(epoch, plan.steps_per_epoch)
        if first_step < plan.steps_per_epoch:  # else the last measured step's has to do
            trained = plan.steps_per_epoch - first_step
            self._images_per_second = trained * plan.hparams.batch_size / trained_s
        row: dict[str, Any] = {
            "kind": "epoch",
            "step": (epoch + 1) * plan.steps_per_epoch,
            "epoch": epoch + 1,
            **self._sums.means(plan.classes),
            **validation.means(plan.classes, "val_"),
            "flip_ratio": sum(self._flip_ratios) / max(len(self._flip_ratios), 1),
            "images_per_second": self._images_per_second,
            "epoch_seconds": time.perf_counter() - began,
            **hyper_values(self._optimizer, steps_back=1),
        }
        if plan.has_validation_pictures and row["val_top1"] > max(self._history(), default=-1.0):
            self._save_best(row)
        self._epochs.append(row)
        if self._recorder:
            self._recorder.epoch(row)
        self._sums, self._flip_ratios = Sums(), []
        self._save(Place(epoch + 1, 0))
        if self._recorder:
            self._recorder.show_epoch(row)
        self._display.epoch_end(row)
        if self._observer.on_epoch:
            self._observer.on_epoch(row)

    def _validate(self, epoch: int) -> Sums:
        """Validate on all workers, in rounds after which they tell each other of signals.

        TensorFlow counts to get a batch as an exchange between workers: each has to ask for the same number of them.

        Raises:
            BopkitError: The loss is not finite.
        """
        batches = readable(self._validation, self._plan.data, self._plan.validation_split)
        sums, is_over = Sums(), False
        while not is_over:
            here = self._step.evaluate(itertools.islice(batches, VALIDATION_ROUND_BATCHES), stop=self._may_break_off)
            told = self._plan.placement.gather([*dataclasses.astuple(here), float(bool(self._stop))])
            if any(stop for *_, stop in told):
                self._leave(epoch, self._plan.steps_per_epoch)
            of_all = sum((Sums(*values) for *values, _ in told), Sums())
            sums += of_all
            is_over = of_all.pictures == 0
        if not math.isfinite(sums.loss):
            after = f"after step {self._plan.steps_per_epoch} of epoch {epoch + 1}"
            raise _diverged(f"The validation loss is {sums.loss / sums.pictures} {after}.")
        return sums

    def _train_epoch(self, epoch: int, first_step: int, batches: Any) -> None:
        """Train the steps that are left of an epoch; the figures of a step are read while the next one is computed."""
        steps = self._plan.steps_per_epoch
        unread: StepResult | None = None
        rate_since, rate_steps = time.perf_counter(), 0
        for step in range(first_step + 1, steps + 1):
            is_measured = (epoch * steps + step) % self._log_every == 0
            if is_measured:
                self._flips.before_step()
            signals = (float(self._checkpoint_is_due()), float(bool(self._stop)))
            with reading(self._plan.data, self._plan.train_split, self._plan.options.data_cache):
                result = self._step.train_next(batches, signals)
            rate_steps += 1
            save, stop = self._read(unread, epoch, step - 1)
            unread = result
            stop = stop or self._may_break_off()
            if is_measured or save or stop or step == steps:
                wanted = self._read(unread, epoch, step)
                save, stop, unread = save or wanted[0], stop or wanted[1], None
            if is_measured:
                seconds = time.perf_counter() - rate_since
                self._measure(epoch, step, rate_steps * self._plan.hparams.batch_size / seconds)
                rate_since, rate_steps = time.perf_counter(), 0
            if self._sums.pictures:
                figures = self._sums.means(self._plan.classes)
                self._display.step(epoch, step, figures, self._flip_ratios[-1] if self._flip_ratios else None)
            if stop:
                self._leave(epoch, step)
            if save:
                self._check_weights(epoch, step)
                self._save(Place(epoch, step))

    def _read(self, result: StepResult | None, epoch: int, step: int) -> tuple[bool, bool]:
        """Add up a step's figures; says whether any worker wants a checkpoint, and whether any has to stop.

        Raises:
            BopkitError: The loss is not finite.
        """
        if result is None:
            return False, False
        sums, (save, stop) = result.read()
        if not math.isfinite(sums.loss):
            raise _diverged(f"The loss is {sums.loss / sums.pictures} at step {step} of epoch {epoch + 1}.")
        self._sums += sums
        return save, stop

    def _check_weights(self, epoch: int, step: int) -> None:
        """Never keep weights or averages that are no numbers: a sign hides them from later layers, and from the loss.

        Raises:
            BopkitError: A weight is not finite.
        """
        if not self._weights_are_finite():
            raise _diverged(f"A weight is not finite after step {step} of epoch {epoch + 1}.")

    def _measure(self, epoch: int, step: int, images_per_second: float) -> None:
        """Write the row of a measured step."""
        layers = self._flips.after_step()
        self._flip_ratios.append(flip_ratio(layers))
        self._images_per_second = images_per_second
        if self._recorder:
            row = {
                "step": epoch * self._plan.steps_per_epoch + step,
                "epoch": epoch + 1,
                **self._sums.means(self._plan.classes),
                "images_per_second": images_per_second,
                **hyper_values(self._optimizer, steps_back=1),
            }
            self._recorder.step(row, layers)

    def _save(self, place: Place) -> None:
        """Write a checkpoint, after the rows that it has behind it; every worker takes part."""
        if self._recorder:
            self._run.sync_metrics()
        self._position.set(place, self._sums)
        self._checkpoints.save(place)
        self._saved_at = time.monotonic()

    def _leave(self, epoch: int, step: int) -> None:
        """End the program after a checkpoint, as Ctrl-C or SIGTERM asked for."""
        self._check_weights(epoch, step)
        self._save(Place(epoch, step))
        self._observer.progress(f"stopping after step {step} of epoch {epoch + 1}; the same command goes on from there")
        self._stop.leave()

    def _checkpoint_is_due(self) -> bool:
        """Whether the last one is old; the chief's clock decides, since all workers must agree."""
        age_s = time.monotonic() - self._saved_at
        return self._plan.placement.is_chief and age_s >= 60 * self._plan.options.checkpoint_every_minutes

    def _may_break_off(self) -> bool:
        """Whether to stop right now: several workers first have to tell each other."""
        return self._plan.placement.workers == 1 and bool(self._stop)

    def _is_exhausted(self) -> bool:
        """Whether the last epochs brought no better validation top-1."""
        history = self._history()
        if self._plan.options.early_stop is None or not history:
            return False
        return len(history) - 1 - history.index(max(history)) >= self._plan.options.early_stop

    def _history(self) -> list[float]:
        """Validation top-1 of each epoch."""
        return [row["val_top1"] for row in self._epochs]

    def _distributed(self, batches: Any) -> Any:
        """Batches of this worker, one for each of its replicas at a time, prefetched to their devices."""
        return self._plan.placement.strategy.distribute_datasets_from_function(lambda context: batches)


def _diverged(what: str) -> BopkitError:
    """The error for a run that training has ruined: other settings make it another run."""
    return BopkitError(
        what, "Start anew with another --output-dir, and a lower `--hparams learning_rate=` or another --seed."
    )


def _all_finite(variables: list[Any]) -> Any:
    tf = import_tensorflow()
    values = [tf.convert_to_tensor(variable) for variable in variables if variable.dtype.is_floating]
    return tf.reduce_all([tf.reduce_all(tf.math.is_finite(value)) for value in values])
