"""Networks that cannot learn are refused before the first step, and one that parts from its validation is told of."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import pytest

from bopkit.errors import UsageError
from bopkit.keras2 import import_tensorflow
from bopkit.training.divergence import parting_warning
from bopkit.training.network import build_training_network


def built(last: Callable[[Any], Any]) -> Any:
    """The network for training whose last layers are made by `last`, for ten classes."""
    tf = import_tensorflow()

    def build(hparams: Any, input_shape: tuple[int, ...], classes: int) -> Any:
        inputs = tf.keras.Input(input_shape)
        return tf.keras.Model(inputs, last(tf.keras.layers.Flatten()(inputs)))

    architecture: Any = types.SimpleNamespace(build_network=build)
    return build_training_network(architecture, None, (4, 4, 1), 10)  # type: ignore[arg-type]


@pytest.mark.parametrize("activation", [None, "sigmoid", "tanh"])
def test_scores_that_are_no_probabilities(activation: str | None) -> None:
    with pytest.raises(UsageError, match="no probabilities.*softmax"):
        built(lambda x: import_tensorflow().keras.layers.Dense(10, activation=activation)(x))


def test_another_number_of_scores() -> None:
    dense = import_tensorflow().keras.layers.Dense
    with pytest.raises(UsageError, match=r"answers a picture with 1 value\(s\), and the dataset has 10 classes"):
        built(lambda x: dense(1, activation="sigmoid")(x))
    with pytest.raises(UsageError, match=r"with 10 and 10 value\(s\)"):
        built(lambda x: [dense(10, activation="softmax")(x), dense(10, activation="softmax")(x)])


def test_probabilities_by_any_layer() -> None:
    tf = import_tensorflow()
    built(lambda x: tf.nn.softmax(tf.keras.layers.Dense(10)(x)))


@pytest.mark.parametrize(
    ("top1", "val_top1", "warns"), [(0.65, 0.0989, True), (0.65, 0.3, False), (0.2, 0.1, False), (0.9, 0.1, True)]
)
def test_training_and_validation_that_part(top1: float, val_top1: float, warns: bool) -> None:
    warning = parting_warning({"top1": top1, "val_top1": val_top1}, 10, has_new_statistics=False)
    assert bool(warning) is warns
    assert not warning or f"{val_top1:.1%} in validation" in warning
