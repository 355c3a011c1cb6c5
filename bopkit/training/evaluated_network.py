"""The network that is validated and saved, beside the one that is trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bopkit.batch_norm import BATCH_SIZE, BatchNormEstimator, has_trainable_norms
from bopkit.data import PictureRecipe, readable
from bopkit.data.statistics_batches import statistics_batches
from bopkit.training.network import build_planned_network
from bopkit.training.plan import TrainingPlan


class EvaluatedNetwork:
    """A float32 network with the weights of the trained one, and with batch-norm statistics of its own where asked for.

    Training goes on with its moving averages: what is estimated here never reaches it, nor a checkpoint.

    Args:
        plan: The run; this is made in the scope of its strategy.
        trained: The network that is trained.
        plain: What `build_first_network` made for it: the same, or what it is a copy of.
        frozen: Its layers that are not trained.

    Attributes:
        model: The network.
        estimated_pictures: Training pictures that its statistics are estimated over, never more than an epoch trains
            on; 0 where it has the moving averages of training, or no batch norm that is trained.
        has_weights: Whether it ever took over weights: a run that is only finished here has validated nothing before.
    """

    def __init__(self, plan: TrainingPlan, trained: Any, plain: Any, frozen: Sequence[int] = ()):
        self._plan = plan
        self._frozen = frozen
        self._trained = trained
        self._estimator: BatchNormEstimator | None = None
        self.estimated_pictures = 0
        self.has_weights = False
        if plan.batch_norm_pictures and has_trainable_norms(trained):
            self.model = self.another() if plain is trained else plain
            self.estimated_pictures = min(plan.batch_norm_pictures, plan.steps_per_epoch * plan.hparams.batch_size)
            self._estimator = BatchNormEstimator(self.model, plan.placement.strategy, plan.preprocessing.finish)
            self._batches = statistics_batches(
                plan.data,
                plan.train_split,
                plan.preprocessing,
                self.estimated_pictures,
                BATCH_SIZE,
                plan.options.seed,
                PictureRecipe.of(plan.hparams),
            )
        else:
            # Model files hold float32 networks: such a one is validated, so that the best epoch's file is the best.
            self.model = trained if plan.precision.name == "float32" else plain

    def another(self) -> Any:
        """One more network like the trained one in float32, with other weights."""
        return build_planned_network(self._plan, self._frozen)

    def update(self) -> None:
        """Take over the weights of the trained network as they are now; every worker takes part."""
        if self.model is not self._trained:
            self.model.set_weights(self._trained.get_weights())
        if self._estimator is not None:
            self._estimator.estimate(readable(self._batches, self._plan.data, self._plan.train_split))
        self.has_weights = True
