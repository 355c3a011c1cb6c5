"""What a flatbuffer cannot hold is named by its layer, and does not take the SavedModel with it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from bopkit.artifacts.tflite_graph import Graph, Operator
from bopkit.cli.main import app
from bopkit.export import ExportOptions, export_model
from bopkit.export.tflite.refusal import (
    NotForFlatbufferError,
    refuse_recurrent,
    refuse_unknown,
    refused_by_converter,
)
from bopkit.keras2 import import_tensorflow

pytest.importorskip("larq_compute_engine", reason="larq-compute-engine has no wheel here")

Build = Callable[[Any], Any]

RECURRENT: dict[str, tuple[Build, str]] = {
    "LSTM": (lambda layers: layers.LSTM(3, name="memory"), r"memory \(LSTM\)"),
    "GRU": (lambda layers: layers.GRU(3, name="memory"), r"memory \(GRU\)"),
    "SimpleRNN": (lambda layers: layers.SimpleRNN(3, name="memory"), r"memory \(SimpleRNN\)"),
    "RNN": (lambda layers: layers.RNN(layers.GRUCell(3), name="memory"), r"memory \(RNN\)"),
    "Bidirectional": (lambda layers: layers.Bidirectional(layers.LSTM(3), name="both"), r"both \(Bidirectional\)"),
}


@pytest.mark.parametrize("kind", RECURRENT)
def test_recurrent_layers_are_named(kind: str) -> None:
    build, says = RECURRENT[kind]
    tf = import_tensorflow()
    inner = tf.keras.Sequential([tf.keras.Input((4, 2)), build(tf.keras.layers)], name="inner")
    with pytest.raises(NotForFlatbufferError, match=f"cannot hold layer inner/{says}: it needs loops and a state"):
        refuse_recurrent(tf.keras.Sequential([tf.keras.Input((4, 2)), inner]))


def test_wrapped_layers_that_are_not_recurrent_pass() -> None:
    tf = import_tensorflow()
    layers = tf.keras.layers
    refuse_recurrent(tf.keras.Sequential([tf.keras.Input((4, 2)), layers.TimeDistributed(layers.Dense(3))]))


def test_the_converters_own_refusal_names_the_layer() -> None:
    tf = import_tensorflow()
    layers = [tf.keras.layers.Dense(3, name=name) for name in ("first", "second")]
    network = tf.keras.Sequential([tf.keras.Input((4,)), *layers])
    log = 'loc(fused["X:", "network/second/X@__inference_1"]): error: no X'
    message = refused_by_converter("no X", log, network).message
    assert message == "A flatbuffer cannot hold layer second (Dense): LCE's converter: no X."


def test_a_loop_and_a_state_of_the_users_own_code_are_told_by_the_file() -> None:
    tf = import_tensorflow()
    network = tf.keras.Sequential([tf.keras.Input((4,)), tf.keras.layers.Dense(3, name="mine")])
    plain = Graph((), (), (), (Operator("FULLY_CONNECTED", (), (), {}), Operator("operator 132", (), (), {})))
    operations: Any = [SimpleNamespace(type="StatelessWhile", name="network/mine/while")]
    refuse_unknown([plain], operations, network)
    with pytest.raises(NotForFlatbufferError, match=r"layer mine \(Dense\): it needs a loop"):
        refuse_unknown([plain, plain], operations, network)
    kept: Any = SimpleNamespace(is_variable=True)
    with pytest.raises(NotForFlatbufferError, match="the network: its state would stay from one picture to the next"):
        refuse_unknown([dataclasses.replace(plain, tensors=(kept,))], operations, network)


def volume_network(tmp_path: Path) -> Path:
    tf = import_tensorflow()
    layers = tf.keras.layers
    volumes = tf.keras.Input((4, 4, 4, 2))
    x = layers.MaxPooling3D(2, name="pool")(layers.Conv3D(3, 3, padding="same")(volumes))
    tf.keras.Model(volumes, layers.Softmax()(layers.Dense(2)(layers.Flatten()(x)))).save(tmp_path / "volumes.h5")
    return tmp_path / "volumes.h5"


def test_the_savedmodel_is_written_without_the_flatbuffer(tmp_path: Path) -> None:
    path = volume_network(tmp_path)
    report = export_model(path, tmp_path / "out")
    assert report.refused == "A flatbuffer cannot hold layer pool (MaxPooling3D): LCE's interpreter has no MaxPool3D."
    assert [each.format for each in report.artifacts] == ["savedmodel"]
    assert (tmp_path / "out/volumes/1/saved_model.pb").is_file() and not list(tmp_path.glob("out/*.tflite"))
    with pytest.raises(NotForFlatbufferError, match="MaxPool3D") as error:
        export_model(path, tmp_path / "flatbuffer", ExportOptions(savedmodel=False))
    assert "Type --savedmodel" in str(error.value) and not (tmp_path / "flatbuffer").exists()


def test_what_is_said_of_a_network_that_takes_no_pictures_names_none(tmp_path: Path) -> None:
    tf = import_tensorflow()
    tf.keras.Sequential([tf.keras.Input((4, 2)), tf.keras.layers.LSTM(3)]).save(tmp_path / "net.h5")
    notes = export_model(tmp_path / "net.h5", tmp_path).notes
    assert "Nobody said what range of values the network wants: it was shown values from -1 to 1." in notes
    assert not any("photographs" in note or "predict_bytes" in note for note in notes)


@pytest.mark.integration
def test_exit_codes(tmp_path: Path) -> None:
    path = volume_network(tmp_path)
    both = CliRunner().invoke(app, ["export", str(path), "-o", str(tmp_path / "out"), "--json"])
    assert both.exit_code == 1 and "layer pool (MaxPooling3D)" in both.stderr
    assert json.loads(both.stdout)["refused"] and len(json.loads(both.stdout)["artifacts"]) == 1
    alone = CliRunner().invoke(app, ["export", str(path), "-o", str(tmp_path / "out"), "--savedmodel"])
    assert alone.exit_code == 0, alone.output


@pytest.mark.integration
def test_an_operation_that_only_tensorflow_has_names_its_layers(tmp_path: Path) -> None:
    tf = import_tensorflow()
    layers = tf.keras.layers
    network = tf.keras.Sequential(
        [
            *(tf.keras.Input((8, 8, 3)), layers.Conv2D(4, 3, activation="gelu", name="first")),
            *(layers.Conv2D(4, 3, activation="gelu", name="second"), layers.GlobalAveragePooling2D()),
        ]
    )
    network.save(tmp_path / "gelu.h5")
    says = r"layers first \(Conv2D\), second \(Conv2D\): LCE's interpreter has no Erfc\."
    with pytest.raises(NotForFlatbufferError, match=says):
        export_model(tmp_path / "gelu.h5", tmp_path, ExportOptions(savedmodel=False, pictures=2))
