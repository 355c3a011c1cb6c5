"""Damaged flatbuffers are refused before an interpreter reads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bopkit.artifacts.tflite_file import TfliteFile
from bopkit.errors import BopkitError

pytestmark = pytest.mark.integration

engine = pytest.importorskip("larq_compute_engine", reason="larq-compute-engine has no wheel here")


@pytest.fixture(scope="module")
def flatbuffer() -> bytes:
    import larq

    from bopkit.keras2 import import_tensorflow

    tf = import_tensorflow()
    binary: dict[str, Any] = {"kernel_quantizer": "ste_sign", "kernel_constraint": "weight_clip", "use_bias": False}
    model = tf.keras.Sequential(
        [
            tf.keras.layers.InputLayer((8, 8, 3)),
            tf.keras.layers.Conv2D(32, 3),
            larq.layers.QuantConv2D(32, 3, input_quantizer="ste_sign", **binary),
            tf.keras.layers.GlobalAveragePooling2D(),
            tf.keras.layers.Dense(10),
        ]
    )
    converted: bytes = engine.convert_keras_model(model)
    return converted


def test_what_is_read_is_what_the_schema_says(flatbuffer: bytes) -> None:
    from bopkit.export.tflite.schema import parse

    (graph,), (expected,) = TfliteFile(flatbuffer, Path("x")).graphs, parse(flatbuffer).subgraphs
    assert list(graph.inputs) == list(expected.inputs) and list(graph.outputs) == list(expected.outputs)
    assert [each.shape for each in graph.tensors] == [tuple(each.shape) for each in expected.tensors]
    assert [list(each.inputs) for each in graph.operators] == [list(each.inputs) for each in expected.operators]
    types = [each.type for each in graph.operators]
    assert types.count("LceBconv2d") == types.count("CONV_2D") == types.count("FULLY_CONNECTED") == 1
    (binary,) = [each for each in graph.operators if each.type == "LceBconv2d"]
    assert binary.options["channels_in"] == 32


def spoil(change: Callable[[Any], None]) -> Callable[[bytes], bytes]:
    def spoiled(flatbuffer: bytes) -> bytes:
        from bopkit.export.tflite import schema as fb

        model = fb.parse(flatbuffer)
        change(model)
        return fb.with_outputs(model, list(model.subgraphs[0].outputs))

    return spoiled


def binary(model: Any) -> Any:
    (graph,) = model.subgraphs
    return next(each for each in graph.operators if model.operatorCodes[each.opcodeIndex].customCode == b"LceBconv2d")


def kernel(model: Any) -> Any:
    return model.subgraphs[0].tensors[binary(model).inputs[1]]


def set_option(model: Any, name: str, value: int) -> None:
    from flatbuffers import flexbuffers

    options = flexbuffers.Loads(bytes(binary(model).customOptions))
    binary(model).customOptions = np.frombuffer(flexbuffers.Dumps({**options, name: value}), np.uint8)


def share_lists(model: Any) -> None:
    """Options of 100 bytes: a list of two that are one list of two, and so on; read as a whole they take minutes."""
    integer, untyped = 1 << 2, 10 << 2  # types of items
    options = bytearray([2, 1, 1, integer, integer])
    child = 1
    for _ in range(24):
        options.append(2)
        start = len(options)
        options += bytes([start - child, start + 1 - child, untyped, untyped])
        child = start
    options += bytes([len(options) - child, untyped, 1])
    binary(model).customOptions = np.frombuffer(bytes(options), np.uint8)


def reverse(model: Any) -> None:
    model.subgraphs[0].operators.reverse()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda model: setattr(kernel(model), "buffer", 999), "refers to a buffer"),
        (lambda model: setattr(kernel(model), "shape", [64, 3, 3, 1]), "has 1152 bytes"),
        (lambda model: setattr(kernel(model), "shape", [-32, 3, 3, 1]), "has the shape"),
        (lambda model: setattr(kernel(model), "type", 99), "unknown type"),
        (lambda model: setattr(binary(model), "opcodeIndex", 99), "refers to a code"),
        (lambda model: setattr(binary(model), "inputs", [0, 999]), "refers to a tensor"),
        (lambda model: setattr(binary(model), "inputs", [0]), "wrong number of inputs"),
        (lambda model: setattr(model.subgraphs[0], "outputs", [999]), "refers to a tensor"),
        (lambda model: set_option(model, "stride_height", 0), "out of range"),
        (lambda model: set_option(model, "channels_in", 3200), "does not fit its channels"),
        (lambda model: set_option(model, "channels_in", 31), "weights beyond its channels"),
        (lambda model: set_option(model, "padding", 7), "unknown padding"),
        (share_lists, "are damaged"),
        (reverse, "before it is computed"),
    ],
)
def test_damage_is_named(change: Callable[[Any], None], says: str, flatbuffer: bytes) -> None:
    TfliteFile(spoil(lambda model: None)(flatbuffer), Path("x"))
    with pytest.raises(BopkitError, match=says):
        TfliteFile(spoil(change)(flatbuffer), Path("x"))


def test_no_damage_escapes_as_another_error(flatbuffer: bytes) -> None:
    generator = np.random.default_rng(0)
    refused = 0
    for _ in range(1500):
        damaged = np.frombuffer(flatbuffer, np.uint8).copy()
        size = int(generator.integers(1, 9))
        damaged[generator.integers(0, len(damaged), size)] = generator.integers(0, 256, size)
        try:
            TfliteFile(damaged.tobytes(), Path("x"))
        except BopkitError as error:
            refused += 1
            assert error.hint and "\n" not in str(error)
    assert refused > 100
