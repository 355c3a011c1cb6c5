"""Exact rewrites before the conversion: none changes an output, and each finds what it is for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bopkit.export.network.passes import PASSES, run_passes
from bopkit.export.network.passes.keras_graph import flatten
from bopkit.export.network.passes.thresholds import least_input_without_negative_output
from bopkit.keras2 import import_tensorflow

PICTURES = np.random.default_rng(0).uniform(-1, 1, (8, 12, 12, 3)).astype(np.float32)


@pytest.fixture(name="rewritable")
def fixture_rewritable(randomise: Callable[..., Any]) -> Any:
    """A network with every pattern that a pass looks for, one across the border of a network inside it."""
    import larq

    tf = import_tensorflow()
    keras = tf.keras.layers

    def binary(kind: Any, *arguments: Any, **settings: Any) -> Any:
        kernel = larq.quantizers.NoOp(precision=1)
        return kind(*arguments, input_quantizer="ste_sign", kernel_quantizer=kernel, use_bias=False, **settings)

    inputs = tf.keras.Input((6, 6, 32))
    x = keras.BatchNormalization(name="norm_inside")(inputs)
    x = binary(larq.layers.QuantConv2D, 32, 3, padding="same", name="conv_inside")(x)
    nested = tf.keras.Model(inputs, x, name="nested")

    inputs = tf.keras.Input(PICTURES.shape[1:])
    x = keras.Conv2D(32, 3, padding="same")(inputs)
    x = keras.Dropout(0.5, name="dropout")(x)
    x = keras.MaxPool2D(3, strides=2, padding="same", name="pool_before_nested")(x)
    x = nested(x)
    x = keras.Activation("relu")(x)
    x = keras.MaxPool2D(2, name="pool_after_relu")(x)
    x = keras.BatchNormalization(name="norm_after_relu")(x)
    x = keras.GaussianNoise(1.0, name="noise")(x)
    x = binary(larq.layers.QuantConv2D, 32, 1, name="last_conv")(x)
    x = keras.MaxPool2D(3, name="pool_before_flatten")(x)
    x = keras.BatchNormalization(scale=False, name="norm_before_flatten")(x)
    x = binary(larq.layers.QuantDense, 10, name="dense")(keras.Flatten()(x))
    x = keras.Activation("linear", name="linear")(x)
    return make_increasing(randomise(tf.keras.Model(inputs, keras.Softmax()(x))))


def make_increasing(network: Any) -> Any:
    """Make the scale of every batch norm positive."""
    for layer in network._flatten_layers():
        if getattr(layer, "gamma", None) is not None:
            layer.gamma.assign(np.abs(layer.gamma.numpy()) + 0.1)
    return network


def test_all_passes_together_change_no_output(rewritable: Any) -> None:
    expected = rewritable(PICTURES, training=False).numpy()
    rewritten, changed = run_passes(flatten(rewritable))
    np.testing.assert_array_equal(rewritten(PICTURES, training=False), expected)
    assert len(np.unique(expected)) > 10  # the comparison could fail
    assert changed == {
        "identity removal": ["dropout", "noise", "linear"],
        "max pool after batch norm": ["pool_before_nested", "pool_before_flatten"],
        "batch norm to threshold": ["norm_after_relu"],
    }


@pytest.mark.parametrize("name", PASSES)
def test_each_pass_alone_changes_no_output(name: str, network: Any, rewritable: Any) -> None:
    for each in (network, rewritable):
        rewritten, _ = PASSES[name](each)
        np.testing.assert_array_equal(rewritten(PICTURES, training=False), each(PICTURES, training=False))


def test_a_decreasing_channel_keeps_pool_and_batch_norm(rewritable: Any) -> None:
    for norm in (rewritable.get_layer("norm_after_relu"), rewritable.get_layer("nested").get_layer("norm_inside")):
        norm.gamma.assign(norm.gamma.numpy() * np.where(np.arange(32) == 7, -1, 1))
    rewritten, changed = run_passes(flatten(rewritable))
    np.testing.assert_array_equal(rewritten(PICTURES, training=False), rewritable(PICTURES, training=False))
    assert list(changed.values())[1:] == [["pool_before_flatten"], []]


def test_dropout_that_is_asked_for_stays() -> None:
    tf = import_tensorflow()
    inputs = tf.keras.Input((4,))
    network = tf.keras.Model(inputs, tf.keras.layers.Dropout(0.5)(inputs, training=True))
    assert run_passes(network)[1]["identity removal"] == []


def test_a_threshold_splits_the_floats_where_the_batch_norm_changes_sign() -> None:
    tf = import_tensorflow()
    generator = np.random.default_rng(0)
    norm = tf.keras.layers.BatchNormalization()
    norm.build((None, 1000))
    spread = 10.0 ** generator.uniform(-4, 4, 1000)
    norm.set_weights([spread, *generator.normal(0, 1, (2, 1000)), 10.0 ** generator.uniform(-6, 6, 1000)])
    threshold = least_input_without_negative_output(norm, 2)
    neighbours = np.stack([np.nextafter(threshold, -np.inf), threshold, np.nextafter(threshold, np.inf)])
    negative = norm(neighbours, training=False).numpy() < 0
    np.testing.assert_array_equal(negative, [[True] * 1000, [False] * 1000, [False] * 1000])
    np.testing.assert_array_equal(neighbours - threshold < 0, negative)


@pytest.mark.parametrize("kind", ["Dropout", "BatchNormalization"])
def test_training_that_is_asked_for_by_position_stays(kind: str) -> None:
    import larq

    tf = import_tensorflow()
    layer = {"Dropout": tf.keras.layers.Dropout, "BatchNormalization": tf.keras.layers.BatchNormalization}[kind]
    inputs = tf.keras.Input((4,))
    x = layer(*[0.5] * (kind == "Dropout"))(tf.keras.layers.Activation("relu")(inputs), True)
    network = tf.keras.Model(inputs, larq.layers.QuantDense(3, input_quantizer="ste_sign")(x))
    assert list(run_passes(network)[1].values()) == [[], [], []]


def test_networks_inside_may_use_a_name_twice() -> None:
    tf = import_tensorflow()

    def block(name: str) -> Any:
        inputs = tf.keras.Input((4,))
        return tf.keras.Model(inputs, tf.keras.layers.Dense(4, name="dense")(inputs), name=name)

    inputs = tf.keras.Input((4,), name="dense")
    first = block("first")
    network = tf.keras.Model(inputs, block("second")(first(first(inputs))))
    values = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    expected = network(values).numpy()
    rewritten, _ = run_passes(flatten(network))
    np.testing.assert_array_equal(rewritten(values), expected)
    assert [layer.name for layer in rewritten.layers] == ["dense", "first/dense", "second/dense"]


def test_a_batch_norm_that_is_called_twice_becomes_one_threshold(randomise: Callable[..., Any]) -> None:
    import larq

    tf = import_tensorflow()
    inputs = tf.keras.Input((8, 8, 4))
    norm = tf.keras.layers.BatchNormalization(name="norm")
    conv = larq.layers.QuantConv2D(4, 1, input_quantizer="ste_sign", activation="relu")
    network = make_increasing(randomise(tf.keras.Model(inputs, conv(norm(tf.keras.layers.ReLU()(conv(norm(inputs))))))))
    rewritten, changed = run_passes(flatten(network))
    assert changed["batch norm to threshold"] == ["norm", "norm"]
    pictures = np.random.default_rng(0).normal(size=(4, 8, 8, 4)).astype(np.float32)
    np.testing.assert_array_equal(rewritten(pictures).numpy(), network(pictures).numpy())


def test_a_class_of_the_users_own_stays_as_it_is() -> None:
    """A batch norm that turns its answers around, and a dropout that halves them, are no others."""
    import larq

    tf = import_tensorflow()
    keras = tf.keras.layers

    class Negated(keras.BatchNormalization):
        def call(self, inputs: Any, training: Any = None) -> Any:
            return -super().call(inputs, training=training)

    class Halved(keras.Dropout):
        def call(self, inputs: Any, training: Any = None) -> Any:
            return inputs / 2

    inputs = tf.keras.Input((8, 8, 4))
    x = keras.MaxPool2D(2)(keras.Conv2D(4, 3, padding="same")(inputs))
    x = larq.layers.QuantConv2D(4, 1, input_quantizer="ste_sign")(Negated()(x))
    x = larq.layers.QuantConv2D(4, 1, input_quantizer="ste_sign")(Negated()(Halved(0.5)(x)))
    network, changed = run_passes(flatten(tf.keras.Model(inputs, x)))
    assert not any(changed.values())
