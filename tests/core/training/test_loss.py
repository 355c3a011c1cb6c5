"""The loss and its gradient against NumPy, for every combination of mixed, smoothed, weighted and taught labels."""

import itertools

import numpy as np
import pytest

from bopkit.data import open_dataset
from bopkit.data.class_counts import count_classes
from bopkit.data.mixing import MixedLabels
from bopkit.keras2 import import_tensorflow
from bopkit.training.loss import Loss, TaughtLabels, balanced_weights, true_labels

PICTURES, CLASSES = 6, 5


def softmax(values):
    exponentials = np.exp(values - values.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


@pytest.fixture
def numbers():
    """Logits, labels, partners, shares and a teacher's probabilities, in float64."""
    rng = np.random.default_rng(0)
    own, partner = rng.integers(0, CLASSES, (2, PICTURES))
    share = rng.uniform(0.5, 1, PICTURES)
    return rng.normal(0, 3, (PICTURES, CLASSES)), own, partner, share, softmax(rng.normal(0, 2, (PICTURES, CLASSES)))


@pytest.mark.parametrize(
    "mixed, smoothing, weights, teacher_weight, temperature",
    [
        *itertools.product([False, True], [0.0, 0.2], [None, (0.5, 1.0, 2.0, 1.5, 0.1)], [None, 0.0, 0.3, 1.0], [1.0]),
        *itertools.product([False, True], [0.2], [None, (0.5, 1.0, 2.0, 1.5, 0.1)], [0.3, 1.0], [4.0]),
    ],
)
def test_loss_and_gradient_are_those_of_the_formula(numbers, mixed, smoothing, weights, teacher_weight, temperature):
    tf = import_tensorflow()
    logits, own, partner, share, taught = numbers
    identity, teacher_share = np.eye(CLASSES), teacher_weight or 0.0
    share = share if mixed else np.ones(PICTURES)
    said = share[:, None] * identity[own] + (1 - share)[:, None] * identity[partner]
    said = (1 - smoothing) * said + smoothing / CLASSES
    of_class = np.ones(CLASSES) if weights is None else np.array(weights)
    weight = share * of_class[own] + (1 - share) * of_class[partner]
    cooled = softmax(logits / temperature)
    losses = (1 - teacher_share) * -(said * np.log(softmax(logits))).sum(axis=1)
    losses += teacher_share * temperature**2 * -(taught * np.log(cooled)).sum(axis=1)
    gradient = (1 - teacher_share) * (softmax(logits) - said) + teacher_share * temperature * (cooled - taught)

    labels = MixedLabels(own, partner, np.float32(share)) if mixed else own
    if teacher_weight is not None:
        labels = TaughtLabels(labels, np.float32(taught))
    loss = Loss(smoothing, weights, teacher_share, temperature)
    variable = tf.Variable(np.float32(logits))
    with tf.GradientTape() as tape:
        found = loss(labels, tf.nn.softmax(variable))
    np.testing.assert_allclose(found, weight * losses, rtol=1e-4)
    np.testing.assert_allclose(tape.gradient(found, variable), weight[:, None] * gradient, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(true_labels(labels), own)


def test_without_a_recipe_it_is_keras_own(numbers):
    tf = import_tensorflow()
    probabilities = tf.constant(softmax(numbers[0]), tf.float32)
    expected = tf.keras.losses.sparse_categorical_crossentropy(numbers[1], probabilities)
    np.testing.assert_array_equal(Loss()(numbers[1], probabilities), expected)


def test_a_probability_of_zero_has_a_finite_loss_and_gradient():
    tf = import_tensorflow()
    variable = tf.Variable([[200.0, -200.0, 0.0]])
    for temperature in (1.0, 3.0):
        with tf.GradientTape() as tape:
            labels = TaughtLabels(np.array([1]), np.float32([[0.0, 1.0, 0.0]]))
            loss = Loss(temperature=temperature)(labels, tf.nn.softmax(variable))
        assert np.isfinite(loss).all() and np.isfinite(tape.gradient(loss, variable)).all()


def test_balanced_weights_make_classes_count_alike():
    counts = np.array([30, 10, 0, 60])
    weights = np.array(balanced_weights(counts))
    np.testing.assert_allclose((weights * counts)[[0, 1, 3]], 100 / 3)
    assert (weights * counts).sum() / counts.sum() == pytest.approx(1)
    assert weights[2] == 1
    assert balanced_weights(np.array([7, 7])) == (1.0, 1.0)


def test_classes_are_counted_in_the_split_that_trains():
    digits = open_dataset("digits")
    labels = np.array([int(label) for _, label in digits.read("train[:50%]")])
    np.testing.assert_array_equal(count_classes(digits, "train[:50%]"), np.bincount(labels, minlength=10))
