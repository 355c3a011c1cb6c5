"""The loop of a run: steps, validations, rows, checkpoints, and the reasons to stop.

A checkpoint holds the run's place and the epoch's sums so far, so that a run that goes on in the middle of an epoch
writes the same rows.
"""

from __future__ import annotations

import itertools
import shlex
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from bopkit.data import readable, reading
from bopkit.optim import hyper_values
from bopkit.progress import silent
from bopkit.runs.directory import Place, RunDirectory
from bopkit.training.callbacks import Callbacks
from bopkit.training.checkpoints import Checkpoints, Start
from bopkit.training.display import TrainingDisplay
from bopkit.training.divergence import WeightCheck, check_loss, parting_warning
from bopkit.training.evaluated_network import EvaluatedNetwork
from bopkit.training.flips import FlipMeter, flip_ratio
from bopkit.training.history import read_history
from bopkit.training.loss import make_loss
from bopkit.training.metrics_writer import MetricsWriter
from bopkit.training.observer import Observer
from bopkit.training.pipelines import distributed_training_batches, distributed_validation_batches
from bopkit.training.plan import TrainingPlan
from bopkit.training.step import StepResult, Sums, TrainStep
from bopkit.training.stop_signals import StopRequest
from bopkit.training.teachers import Teachers

VALIDATION_ROUND_BATCHES = 10
"""Batches of a validation after which several workers tell each other of signals."""


class Wishes(NamedTuple):
    """What workers ask for between two steps; what one of them asks for, all do.

    Attributes:
        save: A checkpoint.
        stop: To end the program, after a checkpoint.
    """

    save: bool = False
    stop: bool = False

    def joined_with(self, other: Wishes) -> Wishes:
        """What either asks for."""
        return Wishes(self.save or other.save, self.stop or other.stop)


class Loop:
    """Trains what is left of a run.

    Args:
        plan: The run.
        run: Its directory.
        network: The network, built in the scope of the plan's strategy.
        evaluated: The network that is validated, which is what model files hold.
        optimizer: Its optimizer.
        checkpoints: Where its state goes.
        start: Where the run begins or goes on.
        teachers: Networks whose answers are learned; None where there are none.
        save_best: Called with the row of an epoch whose validation top-1 is the best so far.
        observer: Who is told of it.
    """

    def __init__(
        self,
        plan: TrainingPlan,
        run: RunDirectory,
        network: Any,
        evaluated: EvaluatedNetwork,
        optimizer: Any,
        checkpoints: Checkpoints,
        start: Start,
        teachers: Teachers | None,
        save_best: Callable[[dict[str, Any]], None],
        observer: Observer,
    ):
        options, placement = plan.options, plan.placement
        self._plan = plan
        self._run_path = run.path
        self._evaluated = evaluated
        self._optimizer = optimizer
        self._checkpoints = checkpoints
        self._start, self._sums = start.place, start.sums
        self._save_best = save_best
        self._observer = observer
        self._callbacks = observer.callbacks if placement.is_chief else Callbacks()
        self._step = TrainStep(
            network,
            optimizer,
            placement.strategy,
            accumulate=options.accumulate,
            jit=options.jit,
            finish=plan.preprocessing.finish,
            loss=make_loss(plan.hparams, plan.data, plan.train_split),
            teacher=teachers,
            evaluated=evaluated.model,
        )
        self._training = distributed_training_batches(plan, self._start, observer.progress)
        self._validation = distributed_validation_batches(plan)
        self._history = read_history(run, self._start, plan.steps_per_epoch, plan.options.best_by)
        own_optimizer = plan.hparams.optimizer if plan.hparams.own_optimizer else ""
        self._weight_check = WeightCheck(network, optimizer, own_optimizer)
        self._flips = FlipMeter(network)
        self._log_every = min(options.log_every, plan.steps_per_epoch)  # at least one row an epoch
        trained_steps = self._start.epoch * plan.steps_per_epoch + self._start.step
        self._writer = MetricsWriter(run, options.tensorboard, trained_steps, writes=placement.is_chief)
        self._display = TrainingDisplay(
            plan.hparams.epochs,
            plan.steps_per_epoch,
            plan.hparams.batch_size,
            trained_steps,
            observer.progress if placement.is_chief else silent,
            observer.live_bar and placement.is_chief,
            shows_balanced=options.best_by == "val_balanced_accuracy",
        )
        self._has_warned = False
        self._stop = StopRequest()

    def run(self) -> list[dict[str, Any]]:
        """Train until the last epoch, or until early stopping, Ctrl-C or SIGTERM.

        Returns:
            The rows of all epochs, those before a resume included: also on a worker that writes none.

        Raises:
            BopkitError: A loss or a weight is not finite.
            KeyboardInterrupt, SystemExit: After a checkpoint.
        """
        epoch, step = self._start
        epochs, early_stop = self._plan.hparams.epochs, self._plan.options.early_stop
        batches = iter(self._training)
        try:
            with self._stop:
                while epoch < epochs and not self._history.has_stalled(early_stop):
                    self._one_epoch(epoch, step, batches)
                    epoch, step = epoch + 1, 0
        finally:
            self._display.stop()
            self._writer.close()
        if epoch < epochs and self._plan.placement.is_chief:
            self._observer.progress(
                f"stopped early after epoch {epoch} of {epochs}: no better validation top-1 in {early_stop} epochs"
            )
        return self._history.epochs

    def _one_epoch(self, epoch: int, first_step: int, batches: Any) -> None:
        """Train what is left of an epoch, validate, write its row, then its checkpoint."""
        plan, history = self._plan, self._history
        began = time.perf_counter()
        self._train_epoch(epoch, first_step, batches)
        trained_s = time.perf_counter() - began
        self._weight_check(epoch, plan.steps_per_epoch)
        validation = self._validate(epoch)
        images = (plan.steps_per_epoch - first_step) * plan.hparams.batch_size
        row: dict[str, Any] = {
            "kind": "epoch",
            "step": (epoch + 1) * plan.steps_per_epoch,
            "epoch": epoch + 1,
            **self._sums.means(plan.classes),
            **validation.means(plan.classes, "val_"),
            "flip_ratio": history.mean_flip_ratio,
            # Resumed after its last step, the epoch has only the speed of the last step that was measured.
            "images_per_second": images / trained_s if images else history.resumed_images_per_second,
            "epoch_seconds": time.perf_counter() - began,
            **hyper_values(self._optimizer, steps_back=1),
        }
        if plan.has_validation_pictures and history.is_improved_by(row):
            self._save_best(row)
        history.add_epoch(row)
        self._writer.append_epoch_row(row)
        self._sums = Sums()
        self._save(Place(epoch + 1, 0))
        self._writer.show_in_tensorboard(row)
        self._display.print_epoch(row)
        self._warn_once(parting_warning(row, plan.classes, self._evaluated.estimated_pictures > 0))
        self._callbacks.call("on_epoch", row)
        if self._observer.on_epoch:
            self._observer.on_epoch(row)

    def _warn_once(self, warning: str | None) -> None:
        if warning and not self._has_warned and self._plan.placement.is_chief:
            self._observer.progress(warning)
            self._has_warned = True

    def _train_epoch(self, epoch: int, first_step: int, batches: Any) -> None:
        """Train the steps that are left of an epoch; the figures of a step are read while the next one is computed."""
        plan = self._plan
        unread: StepResult | None = None  # the newest step: to read its figures is to wait for it
        rate_since, rate_steps = time.perf_counter(), 0
        for step in range(first_step + 1, plan.steps_per_epoch + 1):
            is_measured = (epoch * plan.steps_per_epoch + step) % self._log_every == 0
            if is_measured:
                self._flips.before_step()
            with reading(plan.data, plan.train_split, plan.options.data_cache):
                result = self._step.train_next(batches, map(float, self._own_wishes()))
            rate_steps += 1
            wishes = self._add_up(unread, epoch, step - 1)
            unread = result
            if self._can_stop_alone():
                wishes = wishes._replace(stop=True)
            if is_measured or any(wishes) or step == plan.steps_per_epoch:  # what follows needs this step's figures too
                wishes, unread = wishes.joined_with(self._add_up(unread, epoch, step)), None
            if is_measured:
                seconds = time.perf_counter() - rate_since
                self._write_step_row(epoch, step, rate_steps * plan.hparams.batch_size / seconds)
                rate_since, rate_steps = time.perf_counter(), 0
            if self._sums.pictures:
                self._display.show_step(epoch, step, self._sums.means(plan.classes), self._history.last_flip_ratio)
            if wishes.stop:
                self._leave(epoch, step)
            if wishes.save:
                self._weight_check(epoch, step)
                self._save(Place(epoch, step))

    def _own_wishes(self) -> Wishes:
        """What this worker asks for, to tell the others with its next step."""
        return Wishes(save=self._checkpoint_is_due(), stop=bool(self._stop))

    def _add_up(self, result: StepResult | None, epoch: int, step: int) -> Wishes:
        """Add the figures of a step to the epoch's; returns what the workers asked for with it.

        Raises:
            BopkitError: The loss is not finite.
        """
        if result is None:
            return Wishes()
        sums, signals = result.read()
        check_loss(sums, "loss", f"at step {step} of epoch {epoch + 1}")
        self._sums += sums
        return Wishes(*signals)

    def _write_step_row(self, epoch: int, step: int, images_per_second: float) -> None:
        """Write the row of a measured step."""
        layers = self._flips.after_step()
        self._history.flip_ratios.append(flip_ratio(layers))
        row = {
            "step": epoch * self._plan.steps_per_epoch + step,
            "epoch": epoch + 1,
            **self._sums.means(self._plan.classes),
            "images_per_second": images_per_second,
            **hyper_values(self._optimizer, steps_back=1),
        }
        self._callbacks.call("on_step", self._writer.write_step_row(row, layers))

    def _validate(self, epoch: int) -> Sums:
        """Validate on all workers, in rounds after which they tell each other of signals.

        TensorFlow counts to get a batch as an exchange between workers: each has to ask for the same number of them.

        Raises:
            BopkitError: The loss is not finite.
        """
        plan = self._plan
        batches = readable(self._validation, plan.data, plan.validation_split)
        self._evaluated.update()
        sums, is_over = Sums(), False
        while not is_over:
            here = self._step.evaluate(itertools.islice(batches, VALIDATION_ROUND_BATCHES), stop=self._can_stop_alone)
            told = plan.placement.gather([*here.values, float(bool(self._stop))])
            if any(stop for *_, stop in told):
                self._leave(epoch, plan.steps_per_epoch)
            of_all = sum((Sums.of_values(values) for *values, _ in told), Sums())
            sums += of_all
            is_over = of_all.pictures == 0
        check_loss(sums, "validation loss", f"after step {plan.steps_per_epoch} of epoch {epoch + 1}")
        return sums

    def _save(self, place: Place) -> None:
        """Write a checkpoint, after the rows that it has behind it; every worker takes part."""
        self._writer.sync()
        self._checkpoints.save(place, self._sums)

    def _leave(self, epoch: int, step: int) -> None:
        """End the program after a checkpoint, as Ctrl-C or SIGTERM asked for."""
        self._weight_check(epoch, step)
        self._save(Place(epoch, step))
        named = "" if self._plan.options.output_dir else f" with --output-dir {shlex.quote(str(self._run_path))}"
        self._observer.progress(
            f"stopping after step {step} of epoch {epoch + 1}; the same command{named} resumes from there"
        )
        self._stop.leave()

    def _checkpoint_is_due(self) -> bool:
        """Whether the last one is old; the chief's clock decides, since all workers must agree."""
        every_s = 60 * self._plan.options.checkpoint_every_minutes
        return self._plan.placement.is_chief and self._checkpoints.age_s >= every_s

    def _can_stop_alone(self) -> bool:
        """Whether to stop right now: several workers first have to tell each other."""
        return self._plan.placement.workers == 1 and bool(self._stop)
