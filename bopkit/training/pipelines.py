"""The batches of a run: those it trains on and those it validates on, given to the devices of its strategy."""

from __future__ import annotations

from typing import Any

from bopkit.data import BatchOptions, PictureRecipe, evaluation_batches, training_batches
from bopkit.progress import Progress
from bopkit.runs.directory import Place
from bopkit.training.plan import EVALUATION_BATCH_SIZE, TrainingPlan


def distributed_training_batches(plan: TrainingPlan, start: Place, progress: Progress) -> Any:
    """Batches of what is left of a run, one for each replica of this worker at a time, prefetched to its device.

    Args:
        plan: The run.
        start: Where it begins or goes on.
        progress: Called with one line before a cache is filled.
    """
    options = BatchOptions(
        batch_size=plan.hparams.batch_size,
        steps_per_epoch=plan.steps_per_epoch,
        epochs=plan.hparams.epochs,
        seed=plan.options.seed,
        first_epoch=start.epoch,
        first_step=start.step,
        replicas=plan.placement.replicas,
        worker=plan.placement.worker,
        workers=plan.placement.workers,
    )
    cache, recipe = plan.options.data_cache, PictureRecipe.of(plan.hparams)
    return _distributed(
        plan, training_batches(plan.data, plan.train_split, plan.preprocessing, options, cache, progress, recipe)
    )


def distributed_validation_batches(plan: TrainingPlan) -> Any:
    """This worker's share of the validation pictures, one batch for each of its replicas at a time."""
    return _distributed(plan, validation_batches(plan, plan.placement.worker, plan.placement.workers))


def validation_batches(plan: TrainingPlan, worker: int = 0, workers: int = 1) -> Any:
    """The validation pictures in their own order; of several workers the share of one, as `evaluation_batches` says."""
    return evaluation_batches(
        plan.data,
        plan.validation_split,
        plan.preprocessing,
        EVALUATION_BATCH_SIZE,
        limit=plan.validation_pictures,
        worker=worker,
        workers=workers,
        is_repeated=True,
    )


def _distributed(plan: TrainingPlan, batches: Any) -> Any:
    return plan.placement.strategy.distribute_datasets_from_function(lambda context: batches)
