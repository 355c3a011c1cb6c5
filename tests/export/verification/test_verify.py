"""`bopkit verify`, `inspect` and `diff` on the three formats of one network, intact and with one bit flipped."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from bopkit.artifacts import artifact, checksum
from bopkit.artifacts.tflite_metadata import embed_metadata
from bopkit.cli.main import app
from bopkit.errors import BopkitError, UsageError
from bopkit.export import ExportOptions, export_model
from bopkit.export.inspection import contents, diff_artifacts, inspect_artifact
from bopkit.export.inspection.contents import read_contents
from bopkit.export.inspection.diff import diff_in_process
from bopkit.export.inspection.html import render
from bopkit.export.inspection.report import inspect_in_process
from bopkit.export.network.layers import inspect_layers
from bopkit.export.network.packing import pack
from bopkit.export.verification.verify import verify_artifacts

pytestmark = pytest.mark.integration

pytest.importorskip("larq_compute_engine", reason="larq-compute-engine has no wheel here")


@pytest.fixture(scope="module")
def files(model_file: Path, exported: tuple[Path, Any]) -> dict[str, Path]:
    return {"keras": model_file, "tflite": exported[0] / "net.tflite", "savedmodel": exported[0] / "net"}


@pytest.fixture(scope="module")
def of_pixels(model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pixels")
    export_model(model_file, folder, ExportOptions(savedmodel=False, input_type="uint8", pictures=4))
    return folder / "net.tflite"


def flip_in_flatbuffer(path: Path, network: Any) -> None:
    data = bytearray(path.read_bytes())
    graph = artifact.read_flatbuffer(path).graphs[0]
    operator = next(each for each in graph.operators if each.type == "LceBconv2d" and each.inputs[2] >= 0)
    data[bytes(data).index(bytes(graph.tensors[operator.inputs[1]].data)) + 5] ^= 4
    path.write_bytes(checksum.sealed(bytes(data)))


def flip_in_saved_model(path: Path, network: Any) -> None:
    graph = path / "1" / "saved_model.pb"
    data = bytearray(graph.read_bytes())
    (layer,) = [each for each in inspect_layers(network) if each.name == "scaled_latent"]
    data[bytes(data).index(pack(layer.kernel()).bits.tobytes()) + 5] ^= 4
    graph.write_bytes(data)
    checksum.write_manifest(path / "1")


FLIPS: dict[str, Callable[[Path, Any], None]] = {"tflite": flip_in_flatbuffer, "savedmodel": flip_in_saved_model}


@pytest.mark.usefixtures("one_child")
@pytest.mark.parametrize("kind", FLIPS)
def test_one_flipped_bit_fails(kind: str, files: dict[str, Path], network: Any, tmp_path: Path) -> None:
    copy = tmp_path / files[kind].name
    (shutil.copytree if files[kind].is_dir() else shutil.copyfile)(files[kind], copy)
    FLIPS[kind](copy, network)
    for reference in files.values():
        difference = contents.match_kernels(read_contents(reference).kernels, read_contents(copy).kernels)
        assert sum(match.different for match in difference) == 1, reference
    verification = verify_artifacts(files["keras"], copy, pictures=4)
    failure, *others = verification.failures
    assert verification.verdict == f"{1 + len(others)} failure{'s' if others else ''}."
    assert not verification.passed and "scaled_latent" in failure and ": 1 of 36864 bits differ" in failure
    assert all("no near-ties" in each for each in others)  # which that bit made


def test_formats_of_one_network_agree(files: dict[str, Path]) -> None:
    verification = verify_artifacts(files["savedmodel"], files["tflite"], pictures=8)
    assert verification.passed and all(match.different == 0 for match in verification.kernels)
    assert len(verification.kernels) == 10  # nine layers, one of which runs twice
    assert [each.within_tolerance for each in verification.model] == [1.0]
    assert verification.preprocessing is not None and verification.preprocessing.largest_difference == 0.0


@pytest.mark.usefixtures("one_child")
def test_a_flatbuffer_of_pixels_is_compared_on_pixels(files: dict[str, Path], of_pixels: Path) -> None:
    for first, second in ((files["keras"], of_pixels), (of_pixels, files["tflite"])):
        verification = verify_artifacts(first, second, pictures=8)
        assert verification.passed
        assert [each.within_tolerance for each in verification.model] == [1.0]


def test_a_sealed_file_with_a_flipped_bit_is_one_line_and_exit_code_1(files: dict[str, Path], tmp_path: Path) -> None:
    damaged = tmp_path / "net.tflite"
    data = bytearray(files["tflite"].read_bytes())
    data[-1000] ^= 1
    damaged.write_bytes(data)
    for command in (["verify", str(files["tflite"]), str(damaged), "--pictures", "1"], ["inspect", str(damaged)]):
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 1 and "its checksum is wrong" in result.stderr, result.output


@pytest.mark.usefixtures("one_child")
def test_difference_of_preprocessings_is_told_apart(small_network: Any, make_card: Any, tmp_path: Path) -> None:
    from bopkit.artifacts.keras_file import save_model

    save_model(small_network, make_card(value_range=(0.0, 1.0), trained=True), tmp_path / "other.h5")
    save_model(small_network, make_card(trained=True), tmp_path / "net.h5")
    verification = verify_artifacts(tmp_path / "net.h5", tmp_path / "other.h5", pictures=32)
    assert verification.preprocessing is not None and verification.preprocessing.largest_difference > 0.4
    (model,), (deployed,) = verification.model, verification.deployed
    assert model.largest_difference == 0.0 < deployed.largest_difference
    assert all("preprocessings differ" in failure for failure in verification.failures)


@pytest.mark.usefixtures("one_child")
def test_other_scores_for_the_same_classes_are_seen(small_network: Any, make_card: Any, tmp_path: Path) -> None:
    """The last batch norm of one network gives half of what that of the other does."""
    from bopkit.artifacts.keras_file import save_model
    from bopkit.keras2 import import_tensorflow

    half = import_tensorflow().keras.models.clone_model(small_network)
    half.set_weights(small_network.get_weights())
    last_norm = half.layers[-2]
    last_norm.gamma.assign(last_norm.gamma / 2)
    last_norm.beta.assign(last_norm.beta / 2)
    save_model(small_network, make_card(trained=True), tmp_path / "net.h5")
    save_model(half, make_card(trained=True), tmp_path / "half.h5")
    export_model(tmp_path / "half.h5", options=ExportOptions(savedmodel=False, pictures=4))
    of_keras = verify_artifacts(tmp_path / "net.h5", tmp_path / "half.h5", pictures=32)
    assert re.search(r"scores differ by more than 0.01 in \d+ of 32 pictures", of_keras.failures[0])
    of_lce = verify_artifacts(tmp_path / "net.h5", tmp_path / "half.tflite", pictures=32)
    assert of_lce.passed and of_lce.undecided  # near-ties part these two formats


@pytest.mark.usefixtures("one_child")
def test_a_preprocessing_that_no_artifact_needs_is_refused(small_file: Path) -> None:
    with pytest.raises(UsageError, match=r"resize:0..1 has no use: both model cards name one already"):
        verify_artifacts(small_file, small_file, preprocess_fn="resize:0..1", pictures=4)


def test_layers_bits_and_bytes(files: dict[str, Path], network: Any) -> None:
    inspections = {kind: inspect_in_process(str(path)) for kind, path in files.items()}
    for inspection in inspections.values():
        assert inspection["has_checksum"] and inspection["card"]["architecture"] == "test"
        assert inspection["size_bytes"] >= inspection["weight_bytes"]
    assert inspections["keras"]["weights"] == network.count_params()
    packed = {layer["name"]: layer for layer in inspections["savedmodel"]["layers"] if layer["packed"]}
    for layer in inspect_layers(network):
        if layer.kernel_bits == 1:
            assert packed[layer.name]["size_bytes"] == pack(layer.kernel()).size_bytes
            assert tuple(packed[layer.name]["shape"]) == layer.kernel_shape
    unpacked = [layer for layer in inspections["tflite"]["layers"] if layer["binary_weights"] and not layer["packed"]]
    assert [layer["reason"][:13] for layer in unpacked] == ["binary values"]  # the one whose input is real


@pytest.mark.usefixtures("one_child")
def test_what_an_export_recorded_is_shown(files: dict[str, Path], tmp_path: Path) -> None:
    record = inspect_artifact(files["tflite"]).record
    assert record is not None and record["float_weights"] == "float32" and record["source"]["file"] == "net.h5"
    result = CliRunner().invoke(app, ["inspect", str(files["tflite"]), "--html", str(tmp_path / "page.html")])
    assert "None" not in result.stdout and "export source: file net.h5, sha256 " in result.stdout
    assert "export float_weights: float32" in result.stdout and "float_weights" in (tmp_path / "page.html").read_text()
    assert inspect_artifact(files["keras"]).record is None
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes(embed_metadata(files["tflite"].read_bytes(), {artifact.EXPORT_RECORD: b"["}))
    with pytest.raises(BopkitError, match="record of the export"):
        inspect_artifact(damaged)


@pytest.mark.usefixtures("one_child")
def test_kernels_that_are_all_missing_fail(
    files: dict[str, Path], network: Any, make_card: Any, tmp_path: Path
) -> None:
    from bopkit.keras2 import import_tensorflow

    tf = import_tensorflow()
    other = tf.keras.Sequential([tf.keras.Input(network.input_shape[1:]), tf.keras.layers.Flatten()])
    other.add(tf.keras.layers.Dense(network.output_shape[-1], activation="softmax"))
    (tmp_path / "float.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(other).convert())
    for first, second in ((files["tflite"], tmp_path / "float.tflite"), (tmp_path / "float.tflite", files["tflite"])):
        failures = verify_artifacts(first, second, pictures=4).failures
        assert any("scaled_latent" in failure and "has no binary kernel" in failure for failure in failures)


@pytest.mark.usefixtures("one_child")
def test_logits_are_compared_as_probabilities(small_file: Path, tmp_path: Path) -> None:
    export_model(small_file, tmp_path, ExportOptions(savedmodel=False, output="logits", pictures=4))
    verification = verify_artifacts(small_file, tmp_path / "small.tflite", pictures=8)
    assert verification.passed and [each.within_tolerance for each in verification.model] == [1.0]


def test_a_changed_int8_weight_is_found(files: dict[str, Path], tmp_path: Path) -> None:
    same = diff_in_process(str(files["tflite"]), str(files["tflite"]))
    assert same["same"] and not same["floats"]
    data = bytearray(files["tflite"].read_bytes())
    graph = artifact.read_flatbuffer(files["tflite"]).graphs[0]
    kernel = max((each for each in graph.tensors if each.type == "int8"), key=lambda each: len(each.data))
    data[bytes(data).index(bytes(kernel.data)) + 3] ^= 1
    (tmp_path / "changed.tflite").write_bytes(checksum.sealed(bytes(data)))
    difference = diff_in_process(str(files["tflite"]), str(tmp_path / "changed.tflite"))
    (change,) = difference["floats"]
    assert change["different"] == 1 and change["largest_difference"] > 0 and difference["same"] is False


def test_an_operator_more_does_not_hide_a_weight(files: dict[str, Path], of_pixels: Path) -> None:
    named, others = (
        {re.sub(r"ste_sign_\d+", "ste_sign", name) for name in read_contents(path).others}  # numbered by the session
        for path in (files["tflite"], of_pixels)
    )
    assert named <= others


def test_a_changed_scale_of_a_packed_kernel_is_found(files: dict[str, Path], network: Any, tmp_path: Path) -> None:
    copy = shutil.copytree(files["savedmodel"], tmp_path / "net")
    graph = copy / "1" / "saved_model.pb"
    (layer,) = [each for each in inspect_layers(network) if each.name == "scaled_latent"]
    scale = pack(layer.kernel()).scale
    graph.write_bytes(graph.read_bytes().replace(scale.tobytes(), (scale * np.float32(1.5)).tobytes()))
    checksum.write_manifest(copy / "1")
    difference = diff_in_process(str(files["savedmodel"]), str(copy))
    assert not difference["same"] and [each["name"] for each in difference["floats"]] == ["constants of the graph"]


def test_binary_variables_of_a_saved_model_are_seen(files: dict[str, Path], unpacked: tuple[Path, Any]) -> None:
    packed, plain = (inspect_in_process(str(path)) for path in (files["savedmodel"], unpacked[0] / "net"))
    assert plain["binary_weights"] == packed["binary_weights"] > 0
    assert plain["floor_bytes"] == packed["floor_bytes"] < plain["weight_bytes"] / 10
    reasons = {layer["reason"] for layer in plain["layers"] if layer["binary_weights"]}
    assert reasons == {"binary values, stored unpacked at 32 bits each"}
    matches = contents.match_kernels(
        read_contents(files["savedmodel"]).kernels, read_contents(unpacked[0] / "net").kernels
    )
    assert not any(match.different for match in matches)
    assert diff_in_process(str(unpacked[0] / "net"), str(unpacked[0] / "net"))["same"]


def test_a_saved_model_without_its_values_is_not_shown(tmp_path: Path) -> None:
    from bopkit.keras2 import import_tensorflow

    tf = import_tensorflow()
    tf.keras.Sequential([tf.keras.Input((3,)), tf.keras.layers.Dense(2)]).save(tmp_path / "1", save_format="tf")
    shutil.rmtree(tmp_path / "1" / "variables")
    with pytest.raises(BopkitError, match="not a complete SavedModel: it has 2 variables, and their values are not in"):
        inspect_in_process(str(tmp_path / "1"))


@pytest.mark.parametrize("latent", [False, True])
def test_a_saved_model_of_keras_is_its_network(latent: bool, tmp_path: Path) -> None:
    """Its kernels are known where only a quantizer makes them binary, and what training needs is no weight."""
    import larq

    from bopkit.keras2 import import_tensorflow

    tf = import_tensorflow()
    quantizer = "ste_sign" if latent else larq.quantizers.NoOp(precision=1)
    binary = {"input_quantizer": "ste_sign", "kernel_quantizer": quantizer, "kernel_constraint": "weight_clip"}
    layers = [
        tf.keras.Input((8, 8, 3)),
        tf.keras.layers.Conv2D(32, 3, name="real"),
        larq.layers.QuantConv2D(8, 3, use_bias=False, name="binary", **binary),
        tf.keras.layers.GlobalAveragePooling2D(),
    ]
    network = tf.keras.Sequential(layers)
    network.compile("adam", "mse", metrics=["accuracy"])
    network.fit(np.ones((2, 8, 8, 3), np.float32), np.ones((2, 8), np.float32), verbose=0)
    kernel = network.get_layer("binary").kernel.latent_variable
    kernel.assign(kernel if latent else np.where(kernel.numpy() < 0, -1.0, 1.0))
    network.save(tmp_path / "net.h5")
    network.save(tmp_path / "net", save_format="tf")
    ours, expected = (inspect_in_process(str(tmp_path / name)) for name in ("net", "net.h5"))
    for name in ("weights", "binary_weights", "floor_bytes", "weight_bytes"):
        assert ours[name] == expected[name] > 0, name
    assert [(each["name"], each["value_bits"]) for each in ours["layers"]] == [("real", 32), ("binary", 1)]
    kernels = [read_contents(tmp_path / name).kernels for name in ("net", "net.h5")]
    (match,) = contents.match_kernels(*kernels)
    assert (match.different, match.weights) == (0, 9 * 32 * 8)

    (tmp_path / "net" / "keras_metadata.pb").unlink()  # the variables alone
    ours = inspect_in_process(str(tmp_path / "net"))
    assert ours["weights"] == expected["weights"]
    assert ours["binary_weights"] == (0 if latent else expected["binary_weights"])


@pytest.mark.usefixtures("one_child")
def test_a_stranger_s_text_moves_no_cursor(
    small_network: Any, make_card: Any, tmp_path: Path, small_file: Path
) -> None:
    from bopkit.artifacts.keras_file import save_model

    save_model(small_network, make_card(dataset="\x1b[2J\u202e"), tmp_path / "net.h5")
    for command in (["inspect", str(tmp_path / "net.h5")], ["diff", str(small_file), str(tmp_path / "net.h5")]):
        result = CliRunner().invoke(app, command)
        assert "\x1b" not in result.output and "\\x1b[2J\\u202e" in result.output


@pytest.mark.usefixtures("one_child")
def test_flipped_weights_of_two_states_are_counted(
    files: dict[str, Path], network: Any, make_card: Any, tmp_path: Path
) -> None:
    from bopkit.artifacts.keras_file import save_model
    from bopkit.keras2 import import_tensorflow

    copy = import_tensorflow().keras.models.clone_model(network)
    copy.set_weights(network.get_weights())
    kernel = copy.get_layer("ones").kernel.latent_variable
    flips = np.ones(kernel.shape, np.float32)
    flips[0, 0, :7, 0] = -1
    kernel.assign(kernel.numpy() * flips)
    bias = copy.get_layer("dense").bias
    bias.assign(bias.numpy() + np.eye(1, 48, 3, dtype=np.float32)[0] * 0.5)
    save_model(copy, make_card(dataset="digits"), tmp_path / "later.h5")
    difference = diff_artifacts(files["keras"], tmp_path / "later.h5")
    assert {match.first: match.different for match in difference.kernels if match.different} == {"ones": 7}
    (change,) = difference.floats
    assert (change.name, change.different) == ("dense/bias", 1) and change.largest_difference == pytest.approx(0.5)
    assert [(each.what, each.second) for each in difference.card] == [("dataset", "digits")]
    assert not difference.same and diff_in_process(str(files["keras"]), str(files["keras"]))["same"]


def test_the_page_escapes_what_a_stranger_wrote(files: dict[str, Path]) -> None:
    import dataclasses

    inspection = inspect_artifact(files["tflite"])
    (layer, *rest) = inspection.layers
    hostile = dataclasses.replace(layer, name="<script>alert(1)</script>")
    page = render(dataclasses.replace(inspection, layers=(hostile, *rest)))
    assert "<script" not in page and "&lt;script&gt;" in page
    assert page.count("<rect ") == len(inspection.layers)
    assert "http" not in page and "src=" not in page


def test_of_hyper_parameters_only_those_that_differ_are_shown() -> None:
    from bopkit.cli.diff import _changed_parts
    from bopkit.export.inspection.diff import ChangedValue

    change = ChangedValue("hparams", {"epochs": 2, "gamma": 0.1}, {"epochs": 3, "gamma": 0.1, "filters": 8})
    assert _changed_parts(change) == [("hparams epochs", 2, 3), ("hparams filters", None, 8)]
    assert _changed_parts(ChangedValue("card", "(no card)", {})) == [("card", "(no card)", {})]
