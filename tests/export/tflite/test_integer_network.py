"""Networks without floats: what stays float, that no sign of a first layer is lost, and both interpreters' answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bopkit.export.network.layers import inspect_layers
from bopkit.export.network.signature import Signature
from bopkit.export.options import ExportOptions
from bopkit.export.reference import Reference
from bopkit.export.tflite import inputs_and_outputs, integer_network, quantize, signs
from bopkit.export.tflite import schema as fb
from bopkit.export.tflite.build import build_flatbuffer
from bopkit.export.tflite.run import has_native_runtime, predict_flatbuffer, predict_natively
from bopkit.keras2 import import_tensorflow

SHAPE = (12, 12, 3)
PICTURES = np.random.default_rng(0).uniform(-1, 1, (32, *SHAPE)).astype(np.float32)
PIXELS = np.random.default_rng(0).integers(0, 256, (32, *SHAPE)).astype(np.uint8)


def convert(network: Any, tmp_path: Path, pixels: bool = False) -> Any:
    """The network as `schema.parse` gives it, in float32."""
    reference = Reference(network, None, inspect_layers(network), [], Signature.of_model(network), 0)
    model = fb.parse(build_flatbuffer(reference, ExportOptions(), tmp_path / "scratch").content)
    if pixels:
        inputs_and_outputs.take_pixels(model)
    return model


def to_integers(model: Any, shown: np.ndarray = PICTURES) -> bytes:
    integer_network.prepare(model)
    tensors = integer_network.activations(model)
    tapped = fb.with_outputs(model, tensors)
    ranges = quantize.measure_ranges(tensors, iter([shown]), lambda batch: predict_flatbuffer(tapped, batch))
    integer_network.to_integers(model, ranges)
    return fb.serialise(model)


def binary(filters: int, **settings: Any) -> Any:
    import larq as lq

    quantizer = lq.quantizers.NoOp(precision=1)
    return lq.layers.QuantConv2D(
        filters, 3, padding="same", kernel_quantizer=quantizer, input_quantizer="ste_sign", use_bias=False, **settings
    )


def normalised(x: Any) -> Any:
    return import_tensorflow().keras.layers.BatchNormalization()(x)


@pytest.fixture(name="plain")
def fixture_plain(randomise: Callable[..., Any]) -> Any:
    """A float layer and a pool before signs, binary layers, and a dense layer."""
    tf = import_tensorflow()
    keras = tf.keras.layers
    inputs = tf.keras.Input(SHAPE)
    x = keras.MaxPool2D(2)(normalised(keras.Conv2D(32, 3, padding="same")(inputs)))
    x = normalised(binary(32, pad_values=1)(x))
    x = normalised(binary(32, pad_values=1)(x))
    x = keras.GlobalAveragePooling2D()(keras.ReLU()(x))
    return randomise(tf.keras.Model(inputs, keras.Softmax()(keras.Dense(10)(x))))


@pytest.fixture(name="residual")
def fixture_residual(randomise: Callable[..., Any]) -> Any:
    """Shortcuts around binary layers, which pad with 0 and with 1."""
    tf = import_tensorflow()
    keras = tf.keras.layers
    inputs = tf.keras.Input(SHAPE)
    x = normalised(keras.Conv2D(32, 3, padding="same")(inputs))
    x = keras.Add()([normalised(binary(32)(x)), x])
    x = keras.Add()([normalised(binary(32, pad_values=1)(x)), x])
    x = keras.Concatenate()([keras.AveragePooling2D(2)(x), keras.MaxPool2D(2)(x)])
    x = keras.GlobalAveragePooling2D()(normalised(x))
    return randomise(tf.keras.Model(inputs, keras.Softmax()(keras.Dense(10)(x))))


def names(model: Any) -> list[str]:
    return [signs.name_of(model, each) for each in model.subgraphs[0].operators]


def test_a_plain_network_is_float_at_its_ends_alone(plain: Any, tmp_path: Path) -> None:
    content = to_integers(convert(plain, tmp_path))
    model = fb.parse(content)
    assert integer_network.float_operators(model) == []
    assert names(model)[:2] == ["QUANTIZE", "CONV_2D"] and names(model)[-2:] == ["SOFTMAX", "DEQUANTIZE"]
    (scores,), expected = predict_flatbuffer(content, PICTURES), plain(PICTURES).numpy()
    assert np.abs(scores - expected).max() < 0.3 and np.mean(scores.argmax(1) == expected.argmax(1)) > 0.8


def test_a_residual_network_keeps_sums_of_binary_layers_that_pad_with_zeros(residual: Any, tmp_path: Path) -> None:
    content = to_integers(convert(residual, tmp_path))
    model = fb.parse(content)
    assert integer_network.float_operators(model) == []
    floats = [
        each
        for each in model.subgraphs[0].operators
        if signs.name_of(model, each) == "LceBconv2d"
        and model.subgraphs[0].tensors[int(each.outputs[0])].type == fb.schema().TensorType.FLOAT32
    ]
    assert names(model).count("LceBconv2d") == 2 and len(floats) == 1
    assert names(model).count("CONV_2D") == 2, "signs and sizes of the first layer were stored in one scale"
    (scores,), expected = predict_flatbuffer(content, PICTURES), residual(PICTURES).numpy()
    assert np.mean(scores.argmax(1) == expected.argmax(1)) > 0.8


@pytest.mark.skipif(not has_native_runtime(), reason="bopkit-runtime is not installed")
@pytest.mark.parametrize("network", ["plain", "residual"])
def test_both_interpreters_agree(network: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    content = to_integers(convert(request.getfixturevalue(network), tmp_path))
    (scores,), (natively,) = predict_flatbuffer(content, PICTURES), predict_natively(content, (PICTURES,))
    assert np.mean(scores.argmax(1) == natively.argmax(1)) > 0.9


def test_no_sign_of_a_sum_is_lost(plain: Any, tmp_path: Path) -> None:
    """Channels whose kernels differ by factors of a million keep the signs of their integer sums."""
    layer = next(each for each in plain.layers if type(each).__name__ == "Conv2D")
    kernel, bias = layer.get_weights()
    sizes = np.logspace(-3, 3, 32).astype(np.float32)
    layer.set_weights([kernel * sizes, bias * sizes / 100])
    content = to_integers(convert(plain, tmp_path))
    model = fb.parse(content)
    (graph,) = model.subgraphs
    convolution = next(each for each in graph.operators if signs.name_of(model, each) == "CONV_2D")
    source, weights, biases = (int(each) for each in convolution.inputs)
    result = int(convolution.outputs[0])
    stored, outputs = predict_flatbuffer(fb.with_outputs(model, [source, result]), PICTURES)
    tensor = graph.tensors[source]
    x = np.pad(stored.astype(np.int64) - int(tensor.quantization.zeroPoint[0]), ((0, 0), (1, 1), (1, 1), (0, 0)))
    kernels = model.buffers[graph.tensors[weights].buffer].data.view(np.int8).reshape(graph.tensors[weights].shape)
    sums = model.buffers[graph.tensors[biases].buffer].data.view(np.int32).astype(np.int64)
    for row in range(3):
        for column in range(3):
            taken = x[:, row : row + SHAPE[0], column : column + SHAPE[1]]
            sums = sums + taken @ kernels[:, row, column].T.astype(np.int64)
    assert list(graph.tensors[result].quantization.zeroPoint) == [0]
    np.testing.assert_array_equal(outputs < 0, sums < 0)
    assert 0.2 < np.mean(sums < 0) < 0.8


@pytest.mark.parametrize(("padding", "zero_point"), [("same", 128), ("valid", 0)])  # LCE folds the shift in
def test_pixels_are_shifted_where_one_scale_serves_all_channels(
    padding: str, zero_point: int, randomise: Callable[..., Any], tmp_path: Path
) -> None:
    tf = import_tensorflow()
    keras = tf.keras.layers
    inputs = tf.keras.Input(SHAPE)
    x = normalised(binary(32, pad_values=1)(normalised(keras.Conv2D(32, 3, padding=padding)(inputs / 127.5 - 1))))
    network = randomise(tf.keras.Model(inputs, keras.Dense(10)(keras.GlobalAveragePooling2D()(x))))
    content = to_integers(convert(network, tmp_path, pixels=True), PIXELS)
    model = fb.parse(content)
    assert integer_network.float_operators(model) == [] and names(model)[0] == "QUANTIZE"
    (pixels,) = model.subgraphs[0].inputs
    assert list(model.subgraphs[0].tensors[int(pixels)].quantization.zeroPoint) == [zero_point]
    (scores,), expected = predict_flatbuffer(content, PIXELS), network(PIXELS.astype(np.float32)).numpy()
    assert np.mean(scores.argmax(1) == expected.argmax(1)) > 0.8


def test_operators_that_must_stay_float_are_named(randomise: Callable[..., Any], tmp_path: Path) -> None:
    tf = import_tensorflow()
    inputs = tf.keras.Input(SHAPE)
    x = tf.keras.layers.Conv2DTranspose(8, 3)(tf.keras.layers.Conv2D(8, 3)(inputs))
    network = randomise(tf.keras.Model(inputs, tf.keras.layers.Dense(4)(tf.keras.layers.GlobalAveragePooling2D()(x))))
    model = fb.parse(to_integers(convert(network, tmp_path)))
    assert any(each.startswith("TRANSPOSE_CONV at ") for each in integer_network.float_operators(model))
