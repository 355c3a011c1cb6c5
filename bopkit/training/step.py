"""One training step and one evaluation pass, on one device or on many.

Pictures are [n, H, W, C] as the input pipeline gives them: float32 for evaluation, and for training what `finish` makes
float32 on the device, such as uint8. Labels are int64 [n], or in training `MixedLabels`. Figures come back as sums, so
that replicas, steps and resumed parts of an epoch add up exactly.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from bopkit.keras2 import import_tensorflow
from bopkit.metrics import TOP_K
from bopkit.training.loss import Loss, TaughtLabels, true_labels


@dataclasses.dataclass(frozen=True)
class Sums:
    """Figures added up over pictures.

    Attributes:
        pictures: Number of pictures.
        loss: Sum of their losses.
        top1: How many of them were classified right.
        top5: For how many the class was among the five highest scores.
        by_class: How many pictures of each class were classified right, then how many there are of each; empty where
            that was not counted.
    """

    pictures: float = 0.0
    loss: float = 0.0
    top1: float = 0.0
    top5: float = 0.0
    by_class: tuple[float, ...] = ()

    def __add__(self, other: Sums) -> Sums:
        # Written out: it runs every step, and `dataclasses.astuple` takes several times longer.
        by_class = self.by_class or other.by_class
        if self.by_class and other.by_class:
            by_class = tuple(map(operator.add, self.by_class, other.by_class))
        return Sums(
            self.pictures + other.pictures,
            self.loss + other.loss,
            self.top1 + other.top1,
            self.top5 + other.top5,
            by_class,
        )

    @classmethod
    def of_values(cls, values: Sequence[float]) -> Sums:
        """The sums that `values` tells in a row."""
        pictures, loss, top1, top5, *by_class = values
        return cls(pictures, loss, top1, top5, tuple(by_class))

    @property
    def values(self) -> list[float]:
        """The four figures, then those by class."""
        return [self.pictures, self.loss, self.top1, self.top5, *self.by_class]

    def means(self, classes: int, prefix: str = "") -> dict[str, float]:
        """Mean loss, and accuracies from 0 to 1.

        Top-5 only where there are more than five classes; balanced accuracy, the mean of the classes' shares of right
        answers, only where classes were counted.
        """
        means = {"loss": self.loss / self.pictures, "top1": self.top1 / self.pictures}
        if classes > TOP_K:
            means["top5"] = self.top5 / self.pictures
        if self.by_class:
            right, pictures = np.array(self.by_class).reshape(2, classes)
            means["balanced_accuracy"] = float((right[pictures > 0] / pictures[pictures > 0]).mean())
        return {prefix + name: value for name, value in means.items()}


@dataclasses.dataclass(frozen=True)
class StepResult:
    """What a step leaves, still on the device: reading it waits for the step.

    Attributes:
        vector: float32 [4 + signals]: pictures, loss, top-1, top-5 of the global batch as in `Sums`, then the signals
            of all workers, added up.
    """

    vector: Any

    def read(self) -> tuple[Sums, list[bool]]:
        """The figures, and for each signal whether any worker gave it."""
        values = np.asarray(self.vector, np.float64)
        return Sums(*values[:4].tolist()), [value > 0 for value in values[4:].tolist()]


class TrainStep:
    """Trains and evaluates a network under a distribution strategy.

    Args:
        network: A built `tf.keras.Model` from pictures to float32 probabilities.
        optimizer: A legacy Keras optimizer, made in the scope of `strategy`.
        strategy: A `tf.distribute.Strategy`; the global batch is the union of its replicas' batches.
        accumulate: Parts that a replica's batch is split into: their gradients are added up, and the optimizer
            steps once. Memory is that of one part; batch norm sees one part at a time.
        jit: Compile the forward and backward pass with XLA.
        finish: Makes a batch of training pictures the network's input; None where they are that already.
        loss: What is minimised; None for cross-entropy with the labels.
        teacher: Makes probabilities, float32 [n, classes], of a batch of training pictures as the pipeline gives them;
            None where labels alone teach.
        evaluated: The network that `evaluate` runs; None for `network` itself.
    """

    def __init__(
        self,
        network: Any,
        optimizer: Any,
        strategy: Any,
        *,
        accumulate: int = 1,
        jit: bool = False,
        finish: Callable[[Any], Any] | None = None,
        loss: Loss | None = None,
        teacher: Callable[[Any], Any] | None = None,
        evaluated: Any = None,
    ):
        tf = import_tensorflow()
        self._network = network
        self._evaluated = network if evaluated is None else evaluated
        self._classes = int(tf.nest.flatten(self._evaluated.outputs)[0].shape[-1])
        self._optimizer = optimizer
        self._strategy = strategy
        self._accumulate = accumulate
        self._finish = finish or (lambda pictures: pictures)
        self._loss = loss or Loss()
        self._teacher = teacher
        # Nothing here branches on tensors in Python: AutoGraph would rewrite it for seconds and change nothing. Keras
        # still calls it for the layers of a user's own.
        function = functools.partial(tf.function, autograph=False)
        self._gradients = function(self._gradients_of_part, jit_compile=True) if jit else self._gradients_of_part
        self._train_next = function(lambda batches, signals: self._train_replicas(batches.get_next(), signals))
        self._evaluate = function(self._evaluate_replicas, reduce_retracing=True)

    def train_next(self, batches: Any, signals: Iterable[float] = ()) -> StepResult:
        """Run one step on the next batch of a `tf.data` iterator, distributed or not: fetched within the step's graph.

        Args:
            batches: The iterator over pictures and labels.
            signals: Numbers from 0 that this worker tells all workers, e.g. that it has to stop.
        """
        tf = import_tensorflow()
        return StepResult(self._train_next(batches, tf.constant(list(signals), tf.float32)))

    def evaluate(self, batches: Iterable[tuple[Any, Any]], stop: Callable[[], bool] = lambda: False) -> Sums:
        """Evaluate this worker's batches.

        Args:
            batches: Pictures and labels, or their per-replica values.
            stop: Asked before each batch whether to leave it at that.
        """
        self._share_statistics()
        sums = Sums(by_class=(0.0,) * 2 * self._classes)
        for batch in batches:
            if stop():
                break
            sums += Sums.of_values(np.asarray(self._evaluate(batch), np.float64).tolist())
        return sums

    def _train_replicas(self, batch: tuple[Any, Any], signals: Any) -> Any:
        results = self._strategy.run(self._train_one_replica, (*batch, signals))
        return self._strategy.reduce("sum", results, axis=None)

    def _train_one_replica(self, pictures: Any, labels: Any, signals: Any) -> Any:
        tf = import_tensorflow()
        variables = self._network.trainable_variables
        replicas = self._strategy.num_replicas_in_sync
        if self._accumulate == 1:
            gradients, sums = self._gradients(pictures, self._taught(pictures, labels), replicas)
        else:
            gradients, sums = self._accumulated(pictures, labels, replicas * self._accumulate)
        self._optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return tf.concat([sums, signals], 0)

    def _accumulated(self, pictures: Any, labels: Any, parts_in_all: int) -> tuple[list[Any], Any]:
        """Gradients and sums of the parts, one part after the other: that is what saves memory."""
        tf = import_tensorflow()

        def split(values: Any) -> Any:
            return tf.reshape(values, [self._accumulate, -1, *values.shape[1:]])

        batch = tf.nest.map_structure(split, (pictures, labels))

        def add(part: Any, so_far: list[Any]) -> tuple[Any, list[Any]]:
            pictures, labels = tf.nest.map_structure(lambda values: values[part], batch)
            gradients, sums = self._gradients(pictures, self._taught(pictures, labels), parts_in_all)
            return part + 1, [a + b for a, b in zip(so_far, [*gradients, sums], strict=True)]

        zeros = [tf.zeros(variable.shape) for variable in self._network.trainable_variables] + [tf.zeros(4)]
        _, (*gradients, sums) = tf.while_loop(
            lambda part, so_far: part < self._accumulate, add, (0, zeros), parallel_iterations=1
        )
        return gradients, sums

    def _taught(self, pictures: Any, labels: Any) -> Any:
        """The labels, with what the teachers say of the pictures; outside of XLA, which cannot compile all teachers."""
        return TaughtLabels(labels, self._teacher(pictures)) if self._teacher else labels

    def _gradients_of_part(self, pictures: Any, labels: Any, parts_in_all: int) -> tuple[list[Any], Any]:
        """Gradients of this part's share of the global mean loss, and its sums."""
        tf = import_tensorflow()
        with tf.GradientTape() as tape:
            probabilities = self._network(self._finish(pictures), training=True)
            losses = self._loss(labels, probabilities)
            share = (tf.reduce_mean(losses) + tf.add_n([*self._network.losses, 0.0])) / parts_in_all
        # Zero, not None, where the loss does not depend on a variable: parts of a batch are added up.
        gradients = tape.gradient(share, self._network.trainable_variables, unconnected_gradients="zero")
        return gradients, _sums(probabilities, true_labels(labels), losses)

    def _evaluate_replicas(self, batch: tuple[Any, Any]) -> Any:
        tf = import_tensorflow()

        def one_replica(pictures: Any, labels: Any) -> Any:
            def compute() -> Any:
                probabilities = self._evaluated(pictures, training=False)
                losses = tf.keras.losses.sparse_categorical_crossentropy(labels, probabilities)
                return tf.concat([_sums(probabilities, labels, losses), _sums_by_class(probabilities, labels)], 0)

            if self._strategy.num_replicas_in_sync == 1:
                return compute()
            # In the last round a replica may get an empty batch, which convolutions on a CPU refuse.
            nothing = tf.zeros(4 + 2 * self._classes)
            return tf.cond(tf.size(labels) > 0, compute, lambda: nothing)

        # Summed on this worker alone: the loop adds the workers' sums up.
        results = self._strategy.experimental_local_results(self._strategy.run(one_replica, batch))
        return tf.add_n(results)

    def _share_statistics(self) -> None:
        """Give every replica the mean of all replicas' batch-norm statistics: what a saved network has."""
        if self._strategy.num_replicas_in_sync > 1:
            for variable in self._evaluated.non_trainable_variables:
                variable.assign(variable.read_value())


def _sums(probabilities: Any, labels: Any, losses: Any) -> Any:
    """float32 [4]: number of pictures, sum of losses, how many are right, how many are among the highest five."""
    tf = import_tensorflow()
    ahead = _classes_ahead(probabilities, labels)
    counts = [tf.reduce_sum(tf.cast(ahead < k, tf.float32)) for k in (1, TOP_K)]
    return tf.stack([tf.cast(tf.size(labels), tf.float32), tf.reduce_sum(losses), *counts])


def _sums_by_class(probabilities: Any, labels: Any) -> Any:
    """float32 [2 classes]: pictures of each class that are right, then all of it."""
    tf = import_tensorflow()
    is_right = tf.cast(_classes_ahead(probabilities, labels) < 1, tf.float32)
    counts = [
        tf.math.unsorted_segment_sum(each, labels, probabilities.shape[-1])
        for each in (is_right, tf.ones_like(is_right))
    ]
    return tf.concat(counts, 0)


def _classes_ahead(scores: Any, labels: Any) -> Any:
    """int32 [n]: how many classes come before a picture's own, by the rule of `bopkit.metrics`.

    Of equal scores the first class wins, so that a network that answers all classes alike is no better than chance.
    Scores that are no numbers are behind none: such a picture is a miss.
    """
    tf = import_tensorflow()
    classes = scores.shape[-1]
    of_label = tf.gather(scores, labels, batch_dims=1)[:, None]
    is_own_or_later = tf.range(classes, dtype=labels.dtype) >= labels[:, None]
    behind = (scores < of_label) | ((scores == of_label) & is_own_or_later)
    return classes - tf.reduce_sum(tf.cast(behind, tf.int32), axis=1)
