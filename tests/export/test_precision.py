"""Choices of a flatbuffer, from file to file: precision, input, output, target, and what is said of them."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forks import run_python
from typer.testing import CliRunner

from bopkit.artifacts import artifact
from bopkit.artifacts.keras_file import save_model
from bopkit.cli.main import app
from bopkit.errors import BopkitError, UsageError
from bopkit.export import ExportOptions, export_model
from bopkit.export.tflite import schema as fb
from bopkit.export.tflite.run import predict_flatbuffer
from bopkit.keras2 import import_tensorflow


@pytest.fixture(scope="module", name="digits_file")
def fixture_digits_file(randomise: Callable[..., Any], make_card: Callable[..., Any], tmp_path_factory: Any) -> Path:
    """A small untrained network for the digits: a float layer, a binary one, a float one."""
    import larq

    tf = import_tensorflow()
    keras = tf.keras.layers
    binary = {"input_quantizer": "ste_sign", "kernel_quantizer": larq.quantizers.NoOp(precision=1), "use_bias": False}
    layers = [
        tf.keras.Input((8, 8, 1)),
        keras.Conv2D(32, 3, padding="same"),
        keras.MaxPool2D(2),
        keras.BatchNormalization(scale=False),
        larq.layers.QuantConv2D(64, 3, **binary),
        keras.BatchNormalization(scale=False),
        keras.Flatten(),
        keras.Dense(10),
        keras.Softmax(),
    ]
    card = make_card(input_shape=(8, 8, 1), dataset="digits", class_names=tuple("0123456789"))
    path = tmp_path_factory.mktemp("digits") / "net.h5"
    save_model(randomise(tf.keras.Sequential(layers)), card, path)
    return path


def export(path: Path, folder: Path, **choices: Any) -> tuple[bytes, Any]:
    report = export_model(path, folder, ExportOptions(savedmodel=False, **choices))
    return (folder / "net.tflite").read_bytes(), report


@pytest.fixture(scope="module")
def plain(digits_file: Path, tmp_path_factory: Any) -> Path:
    """The flatbuffer without any choice."""
    folder = tmp_path_factory.mktemp("plain")
    export(digits_file, folder)
    return folder / "net.tflite"


def record_of(content: bytes) -> dict[str, Any]:
    model = fb.parse(content)
    (entry,) = (each for each in model.metadata if each.name == artifact.EXPORT_RECORD.encode())
    return json.loads(bytes(model.buffers[entry.buffer].data))


@pytest.mark.integration
@pytest.mark.parametrize(
    ("choices", "saved"),
    [
        ({"float_weights": "float16"}, 2 * (2560 + 288)),
        ({"float_weights": "int8"}, 3 * (2560 + 288) - 4 * (10 + 32)),
        ({"float_weights": "int8", "calibrate": "digits"}, 3 * (2560 + 288) - 4 * (10 + 32)),
    ],
    ids=lambda value: "-".join(value.values()) if isinstance(value, dict) else "",
)
def test_fewer_bits_keep_the_binary_layer_and_show_their_accuracy(
    choices: dict[str, str], saved: int, digits_file: Path, tmp_path: Path
) -> None:
    content, report = export(digits_file, tmp_path, **choices)
    (tflite,) = report.artifacts
    layers = {layer.type: layer for layer in tflite.layers}
    assert layers["QuantConv2D"].packed
    assert layers["Dense"].kernel_bits == (16 if choices["float_weights"] == "float16" else 8)
    assert layers["Dense"].size_bytes + layers["Conv2D"].size_bytes == 4 * (2560 + 10 + 288 + 32) - saved
    assert tflite.accuracy.pictures == 256 and record_of(content)["accuracy"]["after"] == tflite.accuracy.after
    assert any("--max-drop was not applied" in note for note in report.notes)


@pytest.mark.integration
def test_a_loss_above_the_limit_is_refused(digits_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bopkit.export import make_flatbuffer, reference
    from bopkit.export.report import Accuracy

    monkeypatch.setattr(reference.Reference, "trained", True)
    lossy = Accuracy("digits", 200, before=0.90, after=0.89)
    monkeypatch.setattr(make_flatbuffer.scores, "measure_accuracy", lambda *arguments: lossy)
    with pytest.raises(BopkitError, match=r"falls from 90\.00 % to 89\.00 % on 200.*--max-drop allows 0\.5") as refused:
        export(digits_file, tmp_path, float_weights="int8")
    assert "Type --float-weights float16, or allow the loss with --max-drop 1." in refused.value.hint
    assert not list(tmp_path.iterdir())
    export(digits_file, tmp_path, float_weights="int8", max_drop=1.0)


@pytest.mark.integration
def test_pixels_go_in_and_logits_come_out(digits_file: Path, plain: Path, tmp_path: Path) -> None:
    content, report = export(digits_file, tmp_path, input_type="uint8", output="logits")
    pixels = np.random.default_rng(0).integers(0, 256, (16, 8, 8, 1)).astype(np.uint8)
    (logits,) = predict_flatbuffer(content, pixels)
    (probabilities,) = predict_flatbuffer(plain.read_bytes(), (pixels / np.float32(127.5) - 1).astype(np.float32))
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    close = np.isclose(exponentials / exponentials.sum(axis=1, keepdims=True), probabilities, atol=1e-5).all(axis=1)
    assert close.mean() >= 0.9  # a sign may change by rounding
    assert report.artifacts[0].agreements[0].top1 >= 0.98
    record = record_of(content)
    assert (record["input"]["dtype"], record["output"]["name"]) == ("uint8", "logits")

    np.save(tmp_path / "pictures.npy", (pixels / np.float32(127.5) - 1).astype(np.float32))
    assert run_python(BENCHMARK, cwd=tmp_path).returncode == 0
    np.testing.assert_array_equal(np.load(tmp_path / "scores.npy"), logits)


BENCHMARK = """
import numpy as np
from pathlib import Path
from bopkit.benchmark.runtimes.lce import LceRuntime

runtime = LceRuntime(threads=1)  # `bopkit benchmark` gives it preprocessed pictures, in a process of its own
runtime.load(Path("net.tflite"))
np.save("scores.npy", runtime.predict(np.load("pictures.npy")))
"""


def test_the_file_carries_card_and_labels(digits_file: Path, plain: Path) -> None:
    content = plain.read_bytes()
    assert artifact.read_card(plain) == artifact.read_card(digits_file)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.read("labels.txt").decode().split() == list("0123456789")
    assert record_of(content)["input"]["mean"] == pytest.approx([127.5])


@pytest.mark.integration
def test_layers_that_xcore_leaves_float_are_named(digits_file: Path, tmp_path: Path) -> None:
    _, report = export(digits_file, tmp_path, target="xcore")
    assert all(layer.packed or layer.reason for layer in report.artifacts[0].layers)


@pytest.mark.integration
def test_without_labels_the_cost_is_said_to_be_unknown(
    digits_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bopkit.export import pictures

    def missing(*arguments: Any, **named: Any) -> None:
        raise BopkitError("It is not prepared.", "Prepare it.")

    monkeypatch.setattr(pictures, "open_dataset", missing)
    _, report = export(digits_file, tmp_path, float_weights="int8", pictures=4)
    assert report.artifacts[0].accuracy is None
    assert any(note.startswith("Warning: the accuracy lost to int8 weights was not measured") for note in report.notes)


@pytest.mark.integration
def test_fewer_bits_that_change_nothing_are_said_and_the_exact_rule_holds(
    digits_file: Path, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bopkit.export.tflite import quantize

    monkeypatch.setattr(quantize, "OPERATOR_BYTES", 10**6)  # no kernel gains by it
    content, report = export(digits_file, tmp_path, float_weights="int8")
    assert not report.artifacts[0].is_rounded
    assert any(note.startswith("--float-weights int8 changed nothing") for note in report.notes)
    assert record_of(content)["float_weights"] == "float32"
    assert any(agreement.disagreements == () for agreement in report.artifacts[0].agreements)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"float_weights": "int4"}, "Type --float-weights float32 or float16 or int8"),
        ({"input_type": "int8"}, "Type --input float32 or uint8"),
        ({"output": "classes"}, "Type --output probabilities or logits"),
        ({"target": "x86"}, "Type --target arm or xcore"),
        ({"calibrate": "digits"}, "Add --float-weights int8"),
        ({"max_drop": -1.0, "float_weights": "int8"}, "from 0 to 100"),
        ({"tflite": False, "input_type": "uint8"}, "Add --tflite"),
    ],
    ids=str,
)
def test_choices_that_cannot_be_right(choices: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ExportOptions(**choices)


def test_what_the_network_does_not_have_cannot_be_chosen(small_network: Any, tmp_path: Path) -> None:
    tf = import_tensorflow()
    small_network.save(tmp_path / "net.keras")
    with pytest.raises(UsageError, match="--input uint8 needs a preprocessing"):
        export(tmp_path / "net.keras", tmp_path, input_type="uint8", pictures=2)
    tf.keras.Sequential([tf.keras.Input((8, 8, 3)), tf.keras.layers.GlobalAveragePooling2D()]).save(
        tmp_path / "net.keras"
    )
    with pytest.raises(BopkitError, match="does not end in a softmax. Leave out --output logits"):
        export(tmp_path / "net.keras", tmp_path, output="logits", pictures=2)


@pytest.mark.integration
def test_output_takes_a_folder_and_a_kind_of_scores(digits_file: Path, tmp_path: Path) -> None:
    command = ["export", str(digits_file), "--tflite", "--pictures", "8", "-o", str(tmp_path), "--output", "logits"]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0 and "max pool after batch norm: 1 layer; saves " in result.output
    assert record_of((tmp_path / "net.tflite").read_bytes())["output"]["name"] == "logits"
    assert CliRunner().invoke(app, [*command, "-o", "other"]).exit_code == 2
