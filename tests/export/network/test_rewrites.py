"""The rewrite that both formats share: it changes no output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bopkit.counting import count_weights
from bopkit.export.network.layers import inspect_layers
from bopkit.export.network.rewrites import is_packed, rewrite, to_float32
from bopkit.export.spec import SAVED_MODEL, TFLITE, ExportFormat
from bopkit.keras2 import import_tensorflow

PICTURES = np.random.default_rng(0).uniform(-1, 1, (8, 12, 12, 3)).astype(np.float32)


def constant_kernel(name: str, kernel: np.ndarray) -> Callable[[], Any]:
    constant = import_tensorflow().constant(kernel)
    return lambda: constant


@pytest.mark.integration
@pytest.mark.parametrize("export_format", [TFLITE, SAVED_MODEL], ids=lambda each: each.name)
def test_a_rewritten_network_has_the_same_scores_bit_for_bit(network: Any, export_format: ExportFormat) -> None:
    rewritten = rewrite(network, inspect_layers(network), export_format, constant_kernel)
    kernels = {variable.name for variable in rewritten.variables if "kernel" in variable.name}
    assert kernels == (set() if export_format.packs_real_input else {"real_input/kernel:0"})
    np.testing.assert_array_equal(
        rewritten(PICTURES, training=False).numpy(), network(PICTURES, training=False).numpy()
    )


@pytest.mark.parametrize("shape", [(48,), (5, 48), (2, 3, 48)], ids=str)
def test_a_dense_layer_is_the_same_convolution(shape: tuple[int, ...], randomise: Callable[..., Any]) -> None:
    import larq

    tf = import_tensorflow()
    dense = larq.layers.QuantDense(
        7, input_quantizer="ste_sign", kernel_quantizer="magnitude_aware_sign", activation="softmax"
    )
    network = randomise(tf.keras.Sequential([tf.keras.Input(shape), dense]))
    rewritten = rewrite(network, inspect_layers(network), TFLITE, constant_kernel)
    inputs = np.random.default_rng(0).normal(size=(4, *shape)).astype(np.float32)
    np.testing.assert_allclose(
        rewritten(inputs).numpy(), network(inputs).numpy(), rtol=0, atol=1e-6
    )  # a scaled kernel's products round by the order of summation
    assert {type(layer).__name__ for layer in rewritten.layers} == {"InferenceDenseConvolution"}


@pytest.mark.integration
def test_each_float_layer_has_its_reason(randomise: Callable[..., Any]) -> None:
    import larq

    tf = import_tensorflow()
    sign = {"input_quantizer": "ste_sign", "kernel_quantizer": "ste_sign", "kernel_constraint": "weight_clip"}
    inputs = tf.keras.Input((8, 8, 8))
    layers = {
        "real input": larq.layers.QuantConv2D(8, 3, **{**sign, "input_quantizer": None}),
        "input is not a plain sign: 0 or 1, SteHeaviside": larq.layers.QuantConv2D(
            8, 1, **{**sign, "input_quantizer": "ste_heaviside"}
        ),
        "kernel is not binary: ternary, SteTern": larq.layers.QuantConv2D(
            8, 1, **{**sign, "kernel_quantizer": "ste_tern"}
        ),
        "LCE pads with 0 or 1 only": larq.layers.QuantConv2D(8, 3, padding="same", pad_values=-1, **sign),
        "LCE packs groups of a multiple of 32 channels only": larq.layers.QuantConv2D(8, 1, groups=2, **sign),
        "depthwise: only 2-D convolutions and dense layers are packed": larq.layers.QuantDepthwiseConv2D(
            3,
            input_quantizer="ste_sign",
            depthwise_quantizer="ste_sign",
            depthwise_constraint="weight_clip",
        ),
        "real weights": tf.keras.layers.Conv2D(8, 1),
        "": larq.layers.QuantConv2D(8, 1, **sign),
    }
    x = inputs
    for layer in layers.values():
        x = layer(x)
    network = randomise(tf.keras.Model(inputs, x))
    facts = inspect_layers(network)
    assert [each.float_reason for each in facts] == list(layers)
    assert [is_packed(each, TFLITE) for each in facts] == [False] * 7 + [True]
    assert [is_packed(each, SAVED_MODEL) for each in facts] == [
        True,
        True,
        False,
        True,
        True,
        False,
        False,
        True,
    ]
    rewritten = rewrite(network, facts, SAVED_MODEL, constant_kernel)
    pictures = np.random.default_rng(0).normal(size=(2, 8, 8, 8)).astype(np.float32)
    np.testing.assert_array_equal(
        rewritten(pictures, training=False).numpy(), network(pictures, training=False).numpy()
    )


def test_the_reason_of_a_wrapped_layer_names_the_wrapper() -> None:
    import larq

    tf = import_tensorflow()
    sign = {"input_quantizer": "ste_sign", "kernel_quantizer": "ste_sign", "kernel_constraint": "weight_clip"}
    wrapped = tf.keras.layers.TimeDistributed(larq.layers.QuantDense(8, **sign))
    facts = inspect_layers(tf.keras.Sequential([tf.keras.Input((4, 8)), wrapped]))
    assert [each.float_reason for each in facts] == [
        "a layer inside TimeDistributed is not packed; QuantDense takes [n, t, c] without it"
    ]


def test_binary_weights_are_counted_by_what_they_hold(network: Any) -> None:
    binary = 3 * 3 * (3 * 40 + 40 * 64 + 64 * 64 + 32 * 64 + 64 * 32) + 2 * 2 * 32 * 48 + 48 * (48 + 40) + 40 * 10
    assert count_weights(network) == (network.count_params(), binary)
    kernel = network.get_layer("dense").kernel
    copy = import_tensorflow().keras.models.clone_model(network)
    copy.set_weights(network.get_weights())
    copy.get_layer("dense").kernel.assign(kernel * 0.5)  # +-scale
    assert count_weights(copy) == (network.count_params(), binary)
    copy.get_layer("dense").kernel.assign_add(np.eye(*kernel.shape) * 0.1)
    assert count_weights(copy) == (network.count_params(), binary - int(np.prod(kernel.shape)))


def test_a_mixed_precision_network_is_exported_in_float32(randomise: Callable[..., Any]) -> None:
    import larq

    tf = import_tensorflow()

    def build(dtype: str) -> Any:
        dense = larq.layers.QuantDense(
            6, kernel_quantizer="ste_sign", kernel_constraint="weight_clip", use_bias=False, dtype=dtype
        )
        layers = [tf.keras.Input((9,)), dense, tf.keras.layers.BatchNormalization(dtype=dtype)]
        return randomise(tf.keras.Sequential(layers))

    inputs = np.random.default_rng(0).normal(size=(4, 9)).astype(np.float32)
    plain = build("float32")
    assert to_float32(plain) is plain
    mixed = build("mixed_bfloat16")
    np.testing.assert_array_equal(to_float32(mixed)(inputs), plain(inputs))
    assert count_weights(mixed) == count_weights(plain) == (9 * 6 + 4 * 6, 9 * 6)
