"""What each rewrite is said to save is what files lack that were converted without it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bopkit.cli.main import app
from bopkit.export import spec
from bopkit.export.network.layers import inspect_layers
from bopkit.export.network.passes import PASSES
from bopkit.export.network.signature import Signature
from bopkit.export.reference import Reference
from bopkit.export.report import PassReport
from bopkit.export.tflite import convert
from bopkit.keras2 import import_tensorflow

pytestmark = pytest.mark.integration

pytest.importorskip("larq_compute_engine", reason="larq-compute-engine has no wheel here")

TABLES = 600
"""Bytes at most of the tables of two operators and of what else is no constant."""


def converted(model: Any, scratch: Path) -> tuple[bytes, dict[str, PassReport]]:
    reference = Reference(model, None, inspect_layers(model), [], Signature.of_model(model), 0)
    flatbuffer, reports = convert.convert(reference, "arm", scratch)
    return flatbuffer, {report.name: report for report in reports}


def binary(kind: str, *arguments: Any, **settings: Any) -> Any:
    import larq

    kernel = larq.quantizers.NoOp(precision=1)
    return getattr(larq.layers, kind)(
        *arguments, input_quantizer="ste_sign", kernel_quantizer=kernel, use_bias=False, **settings
    )


@pytest.fixture(name="network")
def fixture_network(randomise: Callable[..., Any]) -> Any:
    """Something for every pass: 64 channels of 8 x 8 before a pool, of 4 x 4 after a ReLU."""
    tf = import_tensorflow()
    keras = tf.keras.layers
    layers = [
        tf.keras.Input((8, 8, 3)),
        keras.Conv2D(64, 3, padding="same"),
        keras.MaxPool2D(2),
        keras.Dropout(0.5),
        keras.BatchNormalization(scale=False),
        binary("QuantConv2D", 64, 3, padding="same", pad_values=1),
        keras.Conv2D(64, 1),
        keras.ReLU(),
        keras.BatchNormalization(scale=False),
        binary("QuantConv2D", 8, 1),
    ]
    return randomise(tf.keras.Sequential(layers))


def test_what_a_pass_saves_is_what_the_file_without_it_has_more(
    network: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flatbuffer, reports = converted(network, tmp_path / "all")
    assert {name: len(reports[name].layers) for name in PASSES} == dict.fromkeys(PASSES, 1)
    for name, run in PASSES.items():
        with monkeypatch.context() as patch:
            patch.setitem(PASSES, name, lambda network: (network, []))
            without, _ = converted(network, tmp_path / run.__name__)
        assert (reports[name].measured, reports[name].saved_bytes) == (True, len(without) - len(flatbuffer)), name
    # Signs of the floats before the pool, and no floats out of it and out of the subtraction of a threshold.
    pool = reports["max pool after batch norm"]
    pooled, whole = 4 * 4 * 64, 8 * 8 * 64
    assert (pool.saved_operators, pool.saved_value_bytes) == (1, 2 * 4 * pooled - whole // 8)
    # A subtraction in place of a multiplication and an addition.
    threshold = reports["batch norm to threshold"]
    assert (threshold.saved_operators, threshold.saved_value_bytes) == (1, 4 * pooled)
    # Dropout lies between pool and batch norm: without its removal they would not have met.
    identity = reports["identity removal"]
    assert dataclasses.replace(identity, name=pool.name, layers=pool.layers) == pool


def test_what_packed_dense_layers_save_is_what_float_ones_take(
    randomise: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tf = import_tensorflow()
    layers = [tf.keras.Input((1000,)), binary("QuantDense", 96), binary("QuantDense", 10)]
    network = randomise(tf.keras.Sequential(layers))
    flatbuffer, reports = converted(network, tmp_path / "packed")
    monkeypatch.setattr(convert, "TFLITE", dataclasses.replace(spec.TFLITE, dense_as_convolution=False))
    floats, _ = converted(network, tmp_path / "floats")
    report = reports["binary dense layer as 1x1 convolution"]
    assert len(report.layers) == 2 and not report.measured
    assert report.saved_bytes == 96 * (4000 - 128) + 10 * (4 * 96 - 12)
    assert abs(len(floats) - len(flatbuffer) - report.saved_bytes) < 3 * TABLES
    assert report.saved_value_bytes == (4000 - 128) + (4 * 96 - 12)


@pytest.mark.parametrize("kind", ["convolution", "binary convolution", "dense", "dense with bias"])
def test_what_a_folded_batch_norm_saves_is_what_another_takes(
    kind: str, randomise: Callable[..., Any], tmp_path: Path
) -> None:
    """Behind a leaky ReLU the converter can fold it into nothing."""
    tf = import_tensorflow()
    keras = tf.keras.layers
    channels = 512
    make = {
        "convolution": lambda: keras.Conv2D(channels, 1, use_bias=False),
        "binary convolution": lambda: binary("QuantConv2D", channels, 1),
        "dense": lambda: keras.Dense(channels, use_bias=False),
        "dense with bias": lambda: keras.Dense(channels),
    }[kind]

    def converted_in_order(name: str, *order: Any) -> tuple[bytes, PassReport]:
        shape = (32,) if "dense" in kind else (2, 2, 32)
        network = randomise(tf.keras.Sequential([tf.keras.Input(shape), make(), *order]))
        flatbuffer, reports = converted(network, tmp_path / name)
        return flatbuffer, reports["batch norm folded by the converter"]

    folded, report = converted_in_order("folded", keras.BatchNormalization(name="norm"), keras.LeakyReLU())
    unfolded, nothing = converted_in_order("unfolded", keras.LeakyReLU(), keras.BatchNormalization(name="norm"))
    assert (report.layers, nothing.layers, nothing.saved_bytes) == (("norm",), (), 0)
    assert 0 <= len(unfolded) - len(folded) - report.saved_bytes < TABLES
    before, after = (convert._main_graph(each) for each in (unfolded, folded))
    assert report.saved_operators == len(before.operators) - len(after.operators)
    assert report.saved_value_bytes == convert._value_bytes(before) - convert._value_bytes(after)


def test_the_export_says_what_each_rewrite_saved(network: Any, tmp_path: Path) -> None:
    network.save(tmp_path / "net.keras")
    arguments = ["export", str(tmp_path / "net.keras"), "--tflite", "--pictures", "2", "--float-weights", "float16"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    lines = [line.strip() for line in result.output.splitlines() if "; saves" in line]
    assert ": 0 layers" not in result.output
    threshold, folded, rounded = lines[-3:]
    assert threshold.endswith(" bytes, 1 operator, 4,096 bytes of values (measured)")
    assert folded.startswith("batch norm folded by the converter: 1 layer; saves 512 bytes, 2 operators")
    saved = 2 * (3 * 3 * 3 * 64 + 64 * 64)
    assert rounded == f"real kernel as float16: 2 layers; saves {saved:,} bytes, adds 2 operators (derived)"
