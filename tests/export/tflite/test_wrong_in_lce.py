"""Layers that LCE's converter or its kernels get wrong: the file is written so that every runtime answers as Keras."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import bopkit_runtime
import numpy as np
import pytest

from bopkit.export import ExportOptions
from bopkit.export.network.layers import inspect_layers
from bopkit.export.network.signature import Signature, call
from bopkit.export.reference import Reference
from bopkit.export.tflite.build import build_flatbuffer
from bopkit.keras2 import import_tensorflow

pytestmark = pytest.mark.integration

SIZE, CHANNELS = 4, 32
PICTURES = np.random.default_rng(0).normal(0, 1, (6, SIZE, SIZE, CHANNELS)).astype(np.float32)


def _heads(tf: Any, larq: Any) -> dict[str, Callable[[Any], Any]]:
    """What is made of a map of 4 x 4 pixels, by name."""
    keras = tf.keras.layers
    binary = {"input_quantizer": "ste_sign", "kernel_quantizer": larq.quantizers.NoOp(precision=1), "use_bias": False}

    def conv(filters: int = 16, size: Any = 3, **settings: Any) -> Callable[[Any], Any]:
        return lambda x: larq.layers.QuantConv2D(filters, size, **{**binary, "padding": "same", **settings})(x)

    def after(layer: Callable[[Any], Any], *steps: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def make(x: Any) -> Any:
            for step in (layer, *steps):
                x = step(x)
            return x

        return make

    of_rows = np.linspace(0, 1, SIZE, dtype=np.float32).reshape(1, SIZE, 1, 1)
    of_channels = np.linspace(-0.7, 0.9, CHANNELS, dtype=np.float32)
    twice = larq.layers.QuantConv2D(CHANNELS, 3, padding="same", **binary)
    small = keras.MaxPooling2D(2)
    return {
        "kernel beyond the map": after(small, conv()),
        "wide kernel": after(small, conv(16, (1, 3))),
        "dilated": conv(dilation_rate=3),
        "strides": conv(16, 5, strides=2),
        "uneven strides": conv(16, (5, 2), strides=(2, 1)),
        "bias and activation": after(small, conv(use_bias=True, activation="relu")),
        "scales": after(small, conv(kernel_quantizer="magnitude_aware_sign", kernel_constraint="weight_clip")),
        "batch norm after": after(small, conv(), keras.BatchNormalization()),
        "sign after": after(small, conv(), keras.BatchNormalization(), conv(16, 2)),
        "batch norm of every place": after(conv(), keras.BatchNormalization(axis=[1, 2, 3])),
        "batch norm of rows": after(conv(), keras.BatchNormalization(axis=1)),
        "batch norm of columns, as many as filters": after(conv(SIZE), keras.BatchNormalization(axis=2)),
        "constant of rows": after(conv(), lambda x: x * of_rows),
        "constant of rows, as many as filters": after(conv(SIZE), keras.ReLU(), lambda x: x + of_rows),
        "constant of rows after both calls": after(twice, lambda x: x * of_rows, twice, lambda x: x + of_rows),
        "factors of channels before a sign": after(conv(CHANNELS), lambda x: x * of_channels, conv()),
        "factors before a pool and a sign": after(conv(CHANNELS), lambda x: x / 3 * of_channels, small, conv(16, 2)),
    }


def test_every_runtime_answers_as_keras(randomise: Callable[..., Any], tmp_path: Path) -> None:
    import larq
    from larq_compute_engine.tflite.python.interpreter import Interpreter

    tf = import_tensorflow()
    inputs = tf.keras.Input(PICTURES.shape[1:])
    heads = _heads(tf, larq)
    network = randomise(tf.keras.Model(inputs, [make(inputs) for make in heads.values()]))
    expected = [each.numpy() for each in call(network, [PICTURES])]
    reference = Reference(network, None, inspect_layers(network), [], Signature.of_model(network), 0)
    built = build_flatbuffer(reference, ExportOptions(), tmp_path / "scratch")
    (report,) = [each for each in built.passes if each.name == "zero padding on a map smaller than the kernel"]
    assert len(report.layers) == 9
    file = tmp_path / "net.tflite"
    file.write_bytes(built.content)
    answers = {
        "LCE": Interpreter(built.content).predict(PICTURES),
        "LCE, indirect": Interpreter(built.content, use_indirect_bgemm=True).predict(PICTURES),
        "LCE, reference": Interpreter(built.content, use_reference_bconv=True).predict(PICTURES),
        "LiteRT": bopkit_runtime.Interpreter(file).predict(PICTURES),
    }
    for runtime, outputs in answers.items():
        for name, output, values in zip(heads, outputs, expected, strict=True):
            np.testing.assert_allclose(output, values, rtol=1e-4, atol=1e-4, err_msg=f"{name} in {runtime}")
