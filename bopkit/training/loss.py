"""What a training step minimises: cross-entropy with labels that may be mixed, smoothed, weighted, or a teacher's.

Without any of that it is Keras' sparse categorical cross-entropy of int64 labels. Evaluation always uses that one.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from bopkit.data import Dataset
from bopkit.data.class_counts import count_classes
from bopkit.data.mixing import MixedLabels
from bopkit.hparams import HParams
from bopkit.keras2 import import_tensorflow

Tensor = Any  # TensorFlow is imported inside the functions
Labels = Any  # int64 [n], `MixedLabels` or `TaughtLabels`


class TaughtLabels(NamedTuple):
    """Labels of pictures that teachers have seen.

    Attributes:
        labels: int64 [n] or `MixedLabels`.
        teacher: float32 [n, classes]: the teachers' probabilities, at the temperature of the loss.
    """

    labels: Any
    teacher: Tensor


@dataclasses.dataclass(frozen=True)
class Loss:
    """The loss of each picture.

    Attributes:
        label_smoothing: Share of each label that all classes get alike, 0 to below 1.
        class_weights: Weight of each class; None where all count alike.
        teacher_weight: Weight of the teachers' part, 0 to 1, where there are teachers; the labels' part has the rest.
        temperature: Divides the logits of the network where they are compared with a teacher's. The teachers' part is
            multiplied by its square, so that its gradient keeps its size (Hinton et al. 2015, arXiv 1503.02531).
    """

    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] | None = None
    teacher_weight: float = 1.0
    temperature: float = 1.0

    def __call__(self, labels: Labels, probabilities: Tensor) -> Tensor:
        """The loss of each picture.

        Args:
            labels: int64 [n], `MixedLabels` or `TaughtLabels`.
            probabilities: float32 [n, classes].

        Returns:
            float32 [n].
        """
        tf = import_tensorflow()
        teacher = None
        if isinstance(labels, TaughtLabels):
            labels, teacher = labels
        if teacher is None and not isinstance(labels, MixedLabels) and not self.label_smoothing:
            losses = tf.keras.losses.sparse_categorical_crossentropy(labels, probabilities)
        else:
            losses = self._of_distributions(labels, teacher, probabilities)
        return losses if self.class_weights is None else losses * self._weights(labels)

    def _of_distributions(self, labels: Labels, teacher: Tensor | None, probabilities: Tensor) -> Tensor:
        tf = import_tensorflow()
        cross_entropy = tf.keras.losses.categorical_crossentropy
        of_labels = self._distribution(labels, probabilities.shape[-1])
        if teacher is None:
            return cross_entropy(of_labels, probabilities)
        if self.temperature == 1:  # cross-entropy is linear in what it is with: one of the mean is the mean of two
            return cross_entropy(self.teacher_weight * teacher + (1 - self.teacher_weight) * of_labels, probabilities)
        logits = tf.math.log(tf.maximum(probabilities, np.finfo(np.float32).tiny))  # but for a constant a picture
        of_teacher = tf.nn.softmax_cross_entropy_with_logits(teacher, logits / self.temperature)
        return self.teacher_weight * self.temperature**2 * of_teacher + (1 - self.teacher_weight) * cross_entropy(
            of_labels, probabilities
        )

    def _distribution(self, labels: Labels, classes: int) -> Tensor:
        """What the labels say of each class: float32 [n, classes], of sum 1."""
        tf = import_tensorflow()
        if isinstance(labels, MixedLabels):
            own, partner = (tf.one_hot(each, classes) for each in (labels.own, labels.partner))
            said = labels.share[:, None] * own + (1 - labels.share)[:, None] * partner
        else:
            said = tf.one_hot(labels, classes)
        return (1 - self.label_smoothing) * said + self.label_smoothing / classes

    def _weights(self, labels: Labels) -> Tensor:
        """float32 [n]: the weight of each picture's class; of a mixed one those of both, by their shares."""
        tf = import_tensorflow()
        weights = tf.constant(self.class_weights, tf.float32)
        if isinstance(labels, MixedLabels):
            own, partner = (tf.gather(weights, each) for each in (labels.own, labels.partner))
            return labels.share * own + (1 - labels.share) * partner
        return tf.gather(weights, labels)


def make_loss(hparams: HParams, data: Dataset, train_split: str) -> Loss:
    """The loss that hyper-parameters ask for; balanced classes are counted in the training split."""
    is_balanced = hparams.class_weights == "balanced"
    return Loss(
        label_smoothing=hparams.label_smoothing,
        class_weights=balanced_weights(count_classes(data, train_split)) if is_balanced else None,
        teacher_weight=hparams.teacher_weight,
        temperature=hparams.teacher_temperature,
    )


def true_labels(labels: Labels) -> Tensor:
    """int64 [n]: the classes that accuracy is counted by."""
    if isinstance(labels, TaughtLabels):
        labels = labels.labels
    return labels.own if isinstance(labels, MixedLabels) else labels


def balanced_weights(counts: np.ndarray) -> tuple[float, ...]:
    """Weights of classes that make each class count alike: 1 on the mean of all training pictures.

    Args:
        counts: int64 [classes]: training pictures of each class.

    Returns:
        pictures / (classes with pictures x pictures of the class); 1 for a class without pictures.
    """
    occur = counts > 0
    weights = counts.sum() / (np.count_nonzero(occur) * np.maximum(counts, 1))
    return tuple(np.where(occur, weights, 1.0).tolist())
