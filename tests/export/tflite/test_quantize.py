"""Kernels in fewer bits: how near they are, that binary ones lose nothing, and what LCE's interpreter makes of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bopkit.artifacts.tflite_file import TfliteFile
from bopkit.export.inspection.lce import binary_convolutions
from bopkit.export.network.layers import inspect_layers
from bopkit.export.network.signature import Signature
from bopkit.export.options import ExportOptions
from bopkit.export.reference import Reference
from bopkit.export.tflite import quantize
from bopkit.export.tflite import schema as fb
from bopkit.export.tflite.build import build_flatbuffer
from bopkit.export.tflite.run import predict_flatbuffer
from bopkit.keras2 import import_tensorflow

PICTURES = np.random.default_rng(0).uniform(-1, 1, (8, 12, 12, 3)).astype(np.float32)


def convert(model: Any, tmp_path: Path) -> bytes:
    reference = Reference(model, None, inspect_layers(model), [], Signature.of_model(model), 0)
    return build_flatbuffer(reference, ExportOptions(), tmp_path / "scratch").content


@pytest.fixture(name="float_network")
def fixture_float_network(randomise: Callable[..., Any]) -> Any:
    """Every operator whose kernel can be quantized; activations of a plausible size."""
    tf = import_tensorflow()
    keras = tf.keras.layers
    layers = [
        tf.keras.Input(PICTURES.shape[1:]),
        keras.Conv2D(16, 3, padding="same", activation="relu"),
        keras.DepthwiseConv2D(3, depth_multiplier=4, use_bias=False),
        keras.Conv2DTranspose(8, 3, strides=2),
        keras.GlobalAveragePooling2D(),
        keras.Dense(40),
    ]
    return randomise(tf.keras.Sequential(layers))


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_rounding_moves_a_weight_by_half_a_step_and_a_binary_one_not_at_all(axis: int) -> None:
    kernel = np.random.default_rng(axis).normal(0, 3, (5, 4, 6, 7)).astype(np.float32)
    channels = np.moveaxis(kernel, axis, 0)
    channels[0] = 0
    channels[1] = np.where(channels[1] < 0, -0.3, 0.3)
    values, scales = quantize.quantize_kernel(kernel, axis)
    restored = values * scales.reshape([-1 if each == axis else 1 for each in range(4)])
    error = np.moveaxis(np.abs(restored - kernel), axis, 0).reshape(len(scales), -1).max(axis=1)
    assert np.all(error <= scales / 2 * 1.001) and np.all(error[:2] == 0) and np.all(error[2:] > 0)
    assert values.min() >= -127 and restored.dtype == np.float32


def test_binary_kernels_of_any_scale_lose_nothing() -> None:
    generator = np.random.default_rng(0)
    signs = np.where(generator.normal(size=(1000, 9)) < 0, -1, 1)
    kernel = (signs * generator.uniform(0, 1, (1000, 1))).astype(np.float32)
    values, scales = quantize.quantize_kernel(kernel, 0)
    np.testing.assert_array_equal(values * scales[:, np.newaxis], kernel)


@pytest.mark.parametrize(("float_weights", "largest"), [("float16", 2e-3), ("int8", 2e-2)])
def test_the_interpreter_expands_what_was_stored(
    float_weights: str, largest: float, float_network: Any, tmp_path: Path
) -> None:
    flatbuffer = convert(float_network, tmp_path)
    model = fb.parse(flatbuffer)
    stored = quantize.store_kernels(model, float_weights)
    assert len(stored) == 4 and not any(each.exact for each in stored)
    smaller = fb.serialise(model)
    assert len(flatbuffer) - len(smaller) == pytest.approx(sum(each.saved_bytes for each in stored), abs=2500)
    (scores,), expected = predict_flatbuffer(smaller, PICTURES), float_network(PICTURES).numpy()
    difference = np.abs(scores - expected).max() / np.abs(expected).max()
    assert 0 < difference <= largest


@pytest.mark.integration
def test_float_layers_run_in_integers(float_network: Any, tmp_path: Path) -> None:
    model = fb.parse(convert(float_network, tmp_path))
    tensors = quantize.activation_tensors(model)
    tapped = fb.with_outputs(model, tensors)
    ranges = quantize.measure_ranges(tensors, iter([PICTURES]), lambda batch: predict_flatbuffer(tapped, batch))
    stored = quantize.quantize_activations(model, ranges)
    assert len(stored) == 3  # LiteRT's transposed convolution takes another order of inputs
    names = [fb.builtin_name(model, operator.opcodeIndex) for operator in model.subgraphs[0].operators]
    joined = [pair for pair in itertools.pairwise(names) if pair == ("DEQUANTIZE", "QUANTIZE")]
    assert not joined, "an int8 result was made float only to be made int8 again"
    (scores,), expected = predict_flatbuffer(fb.serialise(model), PICTURES), float_network(PICTURES).numpy()
    difference = np.abs(scores - expected).max() / np.abs(expected).max()
    assert 0 < difference <= 5e-2


def test_binary_layers_keep_every_bit_and_binary_kernels_every_value(flatbuffer: bytes, tmp_path: Path) -> None:
    model = fb.parse(flatbuffer)
    exact = quantize.store_kernels(model, "int8")
    assert not exact  # `build_flatbuffer` has stored the only float kernel already: it is binary
    before, after = (TfliteFile(each, tmp_path).graphs[0] for each in (flatbuffer, fb.serialise(model)))
    kernels = [each.kernel for each in binary_convolutions(before)]
    assert len(kernels) == 9
    for each, other in zip(kernels, binary_convolutions(after), strict=True):
        np.testing.assert_array_equal(each.negative, other.kernel.negative)
    np.testing.assert_array_equal(
        predict_flatbuffer(flatbuffer, PICTURES), predict_flatbuffer(fb.serialise(model), PICTURES)
    )


def test_constants_are_aligned(flatbuffer: bytes) -> None:
    content = np.frombuffer(flatbuffer, np.uint8)
    start = content.__array_interface__["data"][0]
    places = [
        each.data.__array_interface__["data"][0] - start
        for each in fb.parse(content).buffers
        if each.data is not None and len(each.data)
    ]
    assert len(places) > 10 and all(place % fb.BUFFER_ALIGNMENT == 0 for place in places)


def test_a_bias_beside_a_tiny_kernel_or_none_is_kept(tmp_path: Path) -> None:
    tf = import_tensorflow()
    bias = np.array([1.0, 0.015, -1.0, 0.015, 0.5, 0.0, 0.02, -0.3], np.float32)
    kernel = np.random.default_rng(0).normal(size=(3, 3, 3, 8)).astype(np.float32) * 1e-9
    kernel[..., [1, 3, 5]] = 0
    kernel[..., 7] *= 1e7
    network = tf.keras.Sequential([tf.keras.Input(PICTURES.shape[1:]), tf.keras.layers.Conv2D(8, 3)])
    network.set_weights([kernel, bias])
    model = fb.parse(convert(network, tmp_path))
    tensors = quantize.activation_tensors(model)
    tapped = fb.with_outputs(model, tensors)
    ranges = quantize.measure_ranges(tensors, iter([PICTURES]), lambda batch: predict_flatbuffer(tapped, batch))
    quantize.quantize_activations(model, ranges)
    (outputs,), expected = predict_flatbuffer(fb.serialise(model), PICTURES), network(PICTURES).numpy()
    low, high = ranges[tensors[-1]]
    assert np.abs(outputs - expected).max() <= 1.5 * (high - low) / 255
