"""Exports from file to files: what is written agrees with Keras, and what does not agree is not written."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bopkit.artifacts import artifact
from bopkit.artifacts.keras_file import save_model
from bopkit.errors import BopkitError, UsageError
from bopkit.export import ExportOptions, export_model, exporter, make_flatbuffer
from bopkit.export.checks.scores import rule_failures
from bopkit.export.network.layers import inspect_layers
from bopkit.export.network.packing import pack
from bopkit.export.network.signature import Signature
from bopkit.export.publish import publish
from bopkit.export.report import Accuracy, Agreement, ArtifactReport, Disagreement
from bopkit.export.serving import saved_model, server_files
from bopkit.export.tflite.quantize import StoredKernel
from bopkit.export.tflite.run import predict_flatbuffer
from bopkit.export.what_mends import what_mends
from bopkit.keras2 import import_tensorflow

pytestmark = pytest.mark.integration

PICTURES = np.random.default_rng(0).uniform(-1, 1, (8, 12, 12, 3)).astype(np.float32)
BINARY_LAYERS = [
    "ones",
    "scaled_latent",
    "nested/grouped",
    "dilated",
    "dense",
    "called_twice",
    "sign_before",
    "latent",
]


def load(version: Path) -> Any:
    """What stock TensorFlow makes of a version directory."""
    return import_tensorflow().saved_model.load(str(version))


def flip_a_bit(file: Path, content: bytes) -> None:
    """Flip the lowest bit of the first byte of `content` inside `file`."""
    data = bytearray(file.read_bytes())
    assert data.count(content) == 1
    data[data.index(content)] ^= 1
    file.write_bytes(data)


def test_flatbuffer_packs_every_binary_layer_and_agrees(exported: tuple[Path, Any], network: Any) -> None:
    folder, report = exported
    (tflite, _) = report.artifacts
    assert [layer.name for layer in tflite.layers if layer.packed] == BINARY_LAYERS
    assert (folder / "net.tflite").stat().st_size == tflite.size_bytes
    (scores,) = predict_flatbuffer((folder / "net.tflite").read_bytes(), PICTURES)
    np.testing.assert_allclose(scores, network(PICTURES, training=False), atol=1e-5)
    assert artifact.read_card(folder / "net.tflite") == artifact.read_card(folder / "net" / "1")
    assert json.loads(json.dumps(report.to_dict()))["artifacts"][0]["agreements"][0]["top1"] == 1.0


def test_saved_model_packs_every_binary_kernel_and_agrees(exported: tuple[Path, Any], network: Any) -> None:
    folder, report = exported
    (_, version) = report.artifacts
    assert [layer.name for layer in version.layers if layer.packed] == ["real_input", *BINARY_LAYERS]
    np.testing.assert_array_equal(
        saved_model.predict(load(folder / "net" / "1"), {"images": PICTURES}, batch_size=3)["probabilities"],
        import_tensorflow().function(network)(PICTURES, training=False),
    )
    for facts in inspect_layers(network):
        if facts.kernel_bits == 1:
            content = (folder / "net" / "1" / "saved_model.pb").read_bytes()
            assert content.count(pack(facts.kernel()).bits.tobytes()) == 1  # and no float copy beside it


WITHOUT_BOPKIT = "import sys; sys.modules['larq'] = sys.modules['bopkit'] = None  # importing them raises\n"
CLIENT = """
import numpy as np
import tensorflow as tf

pictures, scores = np.load(sys.argv[1]), []
for folder in sys.argv[3:]:
    loaded = tf.saved_model.load(folder).signatures["serving_default"]
    scores.append(loaded(images=tf.constant(pictures))["probabilities"].numpy())
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        signature = tf.compat.v1.saved_model.load(session, ["serve"], folder).signature_def["serving_default"]
        feed = {signature.inputs["images"].name: pictures}
        scores.append(session.run(signature.outputs["probabilities"].name, feed))
np.save(sys.argv[2], scores)
"""
SAVED_MODEL_CLI = """
import json, os
from tensorflow.python.tools.saved_model_cli import main

for arguments in json.loads(sys.argv[1]):
    if not os.fork():  # each call is a process of its own
        sys.argv = ["saved_model_cli", *arguments]
        main()
        break
    assert os.wait()[1] == 0
"""


def run_without_bopkit(program: str, *arguments: object, cwd: Path) -> str:
    """stdout of a Python program in a new process in which larq and bopkit cannot be imported."""
    command = [sys.executable, "-c", WITHOUT_BOPKIT + program, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout


def test_stock_tensorflow_loads_the_saved_model(
    exported: tuple[Path, Any], unpacked: tuple[Path, Any], network: Any, tmp_path: Path
) -> None:
    np.save(tmp_path / "pictures.npy", PICTURES)
    versions = [folder / "net" / "1" for folder, _ in (exported, unpacked)]
    run_without_bopkit(CLIENT, "pictures.npy", "scores.npy", *versions, cwd=tmp_path)
    expected = import_tensorflow().function(network)(PICTURES, training=False).numpy()
    scores = np.load(tmp_path / "scores.npy")
    assert len(scores) == 4
    for each in scores:
        np.testing.assert_array_equal(each, expected)


@pytest.mark.usefixtures("measured_start")
@pytest.mark.parametrize("pack", [True, pytest.param(False, marks=pytest.mark.release)])
def test_the_start_of_a_server_is_measured(
    pack: bool, small_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bopkit.python_process.subprocess", subprocess)  # in a new process
    (artifact,) = export_model(small_file, tmp_path, ExportOptions(tflite=False, pictures=2, pack=pack)).artifacts
    assert artifact.load_s and artifact.first_request_s


def test_saved_model_cli_runs_the_signatures(exported: tuple[Path, Any], network: Any, tmp_path: Path) -> None:
    tf = import_tensorflow()
    version = exported[0] / "net" / "1"
    np.save(tmp_path / "pictures.npy", PICTURES)
    pixels = np.full((20, 15, 3), (200, 100, 0), np.uint8)
    picture = tf.io.encode_png(pixels).numpy()
    assert b";" not in picture  # the program splits its argument there
    np.save(tmp_path / "pixels.npy", pixels[np.newaxis])

    def command(signature: str, *inputs: str) -> list[str]:
        arguments = ["--dir", str(version), "--tag_set", "serve", "--signature_def", signature, *inputs]
        return ["run", *arguments, "--outdir", signature]

    commands = [
        command("serving_default", "--inputs", "images=pictures.npy"),
        command("predict_uint8", "--inputs", "images=pixels.npy"),
        command("classify", "--input_examples", f"inputs=[{{'image/encoded': [{picture!r}]}}]"),
    ]
    run_without_bopkit(SAVED_MODEL_CLI, json.dumps(commands), cwd=tmp_path)
    expected = tf.function(network)(PICTURES, training=False)
    np.testing.assert_array_equal(np.load(tmp_path / "serving_default" / "probabilities.npy"), expected)
    answers = [np.load(tmp_path / name / "scores.npy") for name in ("predict_uint8", "classify")]
    np.testing.assert_array_equal(*answers)


def test_encoded_pictures_meet_the_evaluation_preprocessing(exported: tuple[Path, Any]) -> None:
    from bopkit.data import get_preprocessing

    tf = import_tensorflow()
    pixels = np.random.default_rng(0).integers(0, 256, (3, 20, 15, 3)).astype(np.uint8)
    encoded = [tf.io.encode_png(pixels[0]), tf.io.encode_jpeg(pixels[1]), tf.io.encode_png(pixels[2])]
    evaluate = get_preprocessing("resize", (12, 12, 3)).evaluate
    path = exported[0] / "net" / "1"
    loaded = load(path)
    images = {"images": np.stack([evaluate(each) for each in encoded])}
    expected = saved_model.predict(loaded, images, batch_size=3)["probabilities"]
    answer = loaded.signatures["predict_bytes"](image_bytes=tf.stack(encoded))
    np.testing.assert_array_equal(answer["probabilities"], expected)
    best = np.argsort(-expected, axis=1, kind="stable")[:, :5]
    labels = (path / "assets.extra" / "labels.txt").read_text().splitlines()
    assert answer["classes"].numpy().tolist() == [[labels[index].encode() for index in row] for row in best]
    np.testing.assert_array_equal(answer["scores"], np.take_along_axis(expected, best, axis=1))


def test_a_sign_before_a_nested_network_is_packed_too(randomise: Callable[..., Any], tmp_path: Path) -> None:
    import larq

    tf = import_tensorflow()
    binary = larq.layers.QuantConv2D(16, 3, kernel_quantizer=larq.quantizers.NoOp(precision=1), name="conv")
    nested = tf.keras.Sequential([tf.keras.Input((8, 8, 32)), binary], name="nested")
    inputs = tf.keras.Input((8, 8, 3))
    x = larq.quantizers.SteSign()(tf.keras.layers.Conv2D(32, 1, name="conv2d")(inputs))
    x = tf.keras.layers.GlobalAveragePooling2D()(nested(x))
    randomise(tf.keras.Model(inputs, x)).save(tmp_path / "net.keras")
    report = export_model(tmp_path / "net.keras", options=ExportOptions(savedmodel=False, pictures=4))
    assert {layer.name: layer.packed for layer in report.artifacts[0].layers} == {
        "conv2d": False,
        "nested/conv": True,
    }


def test_two_networks_in_one_process_keep_their_own_kernels(randomise: Callable[..., Any], tmp_path: Path) -> None:
    import larq

    tf = import_tensorflow()
    layers = [
        tf.keras.Input((4, 4, 1)),
        tf.keras.layers.Flatten(),
        larq.layers.QuantDense(8, kernel_quantizer=larq.quantizers.NoOp(precision=1), name="dense"),
    ]
    network = tf.keras.Sequential(layers)
    pictures = PICTURES[:, :4, :4, :1]
    expected = []
    for seed in (1, 2):
        randomise(network, seed)
        signature = Signature.of_model(network)
        saved_model.write_saved_model(network, inspect_layers(network), None, signature, tmp_path / str(seed))
        expected.append(network(pictures).numpy())
    loaded = [load(tmp_path / str(seed)) for seed in (1, 2)]
    for each, scores in zip(loaded, expected, strict=True):
        np.testing.assert_array_equal(each.predict(pictures), [scores])


def test_one_wrong_bit_in_the_flatbuffer_is_refused(
    network: Any, make_card: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def describe_then_damage(*arguments: Any) -> bytes:
        path = tmp_path / "damaged"
        path.write_bytes(describe_flatbuffer(*arguments))
        (graph,) = artifact.read_flatbuffer(path).graphs
        kernels = [graph.tensors[each.inputs[1]] for each in graph.operators if each.type == "LceBconv2d"]
        flip_a_bit(path, bytes(kernels[2].data))
        damaged = path.read_bytes()
        path.unlink()
        return damaged

    describe_flatbuffer = make_flatbuffer.describe_flatbuffer
    monkeypatch.setattr(make_flatbuffer, "describe_flatbuffer", describe_then_damage)
    save_model(network, make_card(), tmp_path / "net.h5")
    (tmp_path / "net.tflite").write_bytes(b"the old one")
    with pytest.raises(BopkitError, match="nested/grouped: 1 of 18432 packed bits differ"):
        export_model(tmp_path / "net.h5", options=ExportOptions(pictures=8))
    assert (tmp_path / "net.tflite").read_bytes() == b"the old one"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["net.h5", "net.tflite"]


def test_one_wrong_bit_in_the_saved_model_is_refused(
    model_file: Path, network: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_then_damage(*arguments: Any) -> None:
        write_saved_model(*arguments)
        kernel = next(each for each in inspect_layers(network) if each.name == "dense").kernel()
        flip_a_bit(arguments[4] / "saved_model.pb", pack(kernel).bits.tobytes())

    write_saved_model = saved_model.write_saved_model
    monkeypatch.setattr(saved_model, "write_saved_model", write_then_damage)
    with pytest.raises(BopkitError, match="dense: packed bits differ from Keras in the SavedModel"):
        export_model(model_file, tmp_path / "new", ExportOptions(tflite=False, pictures=8))
    assert list(tmp_path.iterdir()) == []


def test_a_binary_layer_left_float_is_refused(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bopkit.export import spec
    from bopkit.export.tflite import convert

    stock = dataclasses.replace(spec.TFLITE, dense_as_convolution=False)
    monkeypatch.setattr(convert, "TFLITE", stock)
    with pytest.raises(BopkitError, match="dense: stayed float.*called_twice: stayed float") as error:
        export_model(model_file, tmp_path, ExportOptions(savedmodel=False, pictures=8))
    assert str(error.value).count("stayed float") == 4
    assert list(tmp_path.iterdir()) == []


def test_a_trained_network_that_disagrees_is_refused(
    small_network: Any, make_card: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rolled(*arguments: Any, **named: Any) -> list[np.ndarray]:
        return [np.roll(scores, 1, axis=1) for scores in predict(*arguments, **named)]

    predict = make_flatbuffer.predict_flatbuffer
    monkeypatch.setattr(make_flatbuffer, "predict_flatbuffer", rolled)
    save_model(small_network, make_card(trained=True), tmp_path / "trained.h5")
    with pytest.raises(BopkitError, match=r"top-1 agreement with Keras is 0.00 % on 8 pictures"):
        export_model(tmp_path / "trained.h5", options=ExportOptions(savedmodel=False, pictures=8))
    save_model(small_network, make_card(), tmp_path / "untrained.h5")
    with pytest.raises(BopkitError, match="8 of 8 traced disagreements with Keras on 8 pictures .* are no near-ties"):
        export_model(tmp_path / "untrained.h5", options=ExportOptions(savedmodel=False, pictures=8))


def test_a_runtime_that_answers_otherwise_is_named(
    small_network: Any, make_card: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both runtimes, and LCE's default kernels beside its indirect ones."""

    def wrong_by_default(flatbuffer: bytes, inputs: Any, use_indirect_bgemm: bool = True) -> list[np.ndarray]:
        answers = predict_flatbuffer(flatbuffer, inputs)
        return answers if use_indirect_bgemm else [np.nextafter(scores, np.float32(2)) for scores in answers]

    save_model(small_network, make_card(trained=True), tmp_path / "net.h5")
    options = ExportOptions(savedmodel=False, pictures=8)
    report = export_model(tmp_path / "net.h5", tmp_path / "right", options).artifacts[0]
    assert [each.top1 for each in report.native_agreements] == [each.top1 for each in report.agreements]
    with monkeypatch.context() as patch:
        patch.setattr(make_flatbuffer, "predict_flatbuffer", wrong_by_default)
        with pytest.raises(BopkitError, match="LCE's default kernels differ from its indirect ones"):
            export_model(tmp_path / "net.h5", options=options)
    predict = make_flatbuffer.predict_natively
    rolled = lambda *arguments: [np.roll(scores, 1, axis=1) for scores in predict(*arguments)]  # noqa: E731
    monkeypatch.setattr(make_flatbuffer, "predict_natively", rolled)
    with pytest.raises(BopkitError, match=r"refused: in bopkit-runtime: top-1 agreement with Keras is 0\.00 %"):
        export_model(tmp_path / "net.h5", options=options)


def test_a_network_without_a_card_that_disagrees_is_refused(
    small_network: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rolled(*arguments: Any, **named: Any) -> list[np.ndarray]:
        return [np.roll(scores, 1, axis=1) for scores in predict(*arguments, **named)]

    predict = make_flatbuffer.predict_flatbuffer
    monkeypatch.setattr(make_flatbuffer, "predict_flatbuffer", rolled)
    small_network.save(tmp_path / "foreign.keras")
    with pytest.raises(BopkitError, match=r"top-1 agreement with Keras is 0.00 % on 8 pictures"):
        export_model(tmp_path / "foreign.keras", options=ExportOptions(savedmodel=False, pictures=8))


NEAR = Disagreement(0, 1, 2, 1e-7, traced=True, near_tie=True)
FAR = dataclasses.replace(NEAR, near_tie=False)


@pytest.mark.parametrize(
    ("disagreement", "after", "options", "others", "hint"),
    [
        (NEAR, None, {}, [], "All disagreements are near-ties, which training makes rare: train on and export again."),
        (FAR, None, {}, [], "Report this with the model file."),
        (
            None,
            0.8,
            {"float_weights": "int8"},
            [],
            "Type --float-weights float16, or allow the loss with --max-drop 10.",
        ),
        (
            None,
            0.8,
            {"float_weights": "float16"},
            [],
            "Leave out --float-weights, or allow the loss with --max-drop 10.",
        ),
        (
            None,
            0.8,
            {"float_weights": "int8", "calibrate": "digits"},
            [],
            "Leave out --calibrate, so that int8 is for weights alone, or allow",
        ),
        (None, 0.8, {"float_weights": "int8"}, ["a bit differs"], "Report this with the model file."),
        (NEAR, None, {}, ["a bit differs"], "Report this with the model file."),
    ],
)
def test_what_mends_a_refused_export(
    disagreement: Disagreement | None, after: float | None, options: dict[str, str], others: list[str], hint: str
) -> None:
    """More training is no help against lost bits, and a report none against the user's own choice."""
    agreement = Agreement(
        "digits", True, 8, 0.5, None, 1.0, 1e-3, 0.0, 0.0, 0.1, 0.0, disagreements=(disagreement or NEAR,)
    )
    accuracy = None if after is None else Accuracy("digits", 100, 0.9, after)
    is_rounded = accuracy is not None
    report = ArtifactReport("tflite", "a.tflite", 1, 1, (), (agreement,), 0.0, accuracy=accuracy, is_rounded=is_rounded)
    failures = rule_failures([agreement], accuracy, is_rounded, True, 0.5)
    assert failures
    reference: Any = SimpleNamespace(trained=True)
    found = what_mends([(report, failures + others)], reference, ExportOptions(savedmodel=False, **options))  # type: ignore[arg-type]
    assert found.startswith(hint)


def test_a_flatbuffer_of_another_structure_is_refused(
    small_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        make_flatbuffer.structure, "flatbuffer_structure", lambda *arguments: ["it has another structure"]
    )
    with pytest.raises(BopkitError, match="refused: it has another structure"):
        export_model(small_file, tmp_path, ExportOptions(savedmodel=False, pictures=2))
    assert list(tmp_path.iterdir()) == []


def test_a_dataset_of_other_classes_is_refused(model_file: Path, make_card: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="classes of dataset digits are not those of the network"):
        export_model(model_file, tmp_path, ExportOptions(savedmodel=False, pictures=2, dataset="digits"))


def test_an_interruption_between_two_placements_takes_the_first_back(
    exported: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(path: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    folder, report = exported
    shutil.copytree(folder, tmp_path / "scratch")
    (tmp_path / "scratch" / "net" / "1").rename(tmp_path / "scratch" / "version")
    (tmp_path / "scratch" / "net").rename(tmp_path / "scratch" / "settings")
    (tmp_path / "scratch" / "version").rename(tmp_path / "scratch" / "net")
    paths = {"tflite": "net.tflite", "savedmodel": "net"}
    artifacts = [
        dataclasses.replace(each, path=str(tmp_path / "scratch" / paths[each.format])) for each in report.artifacts
    ]
    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        publish(artifacts, tmp_path / "out", None)
    assert sorted(each.name for each in (tmp_path / "out").rglob("*")) == [
        "batching_parameters.txt",
        "models.config",
        "net",
    ]


def test_the_settings_of_the_server_are_written_whole_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(server_files, "sync", interrupted)
        server_files.write_server_files(tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "models.config").write_text("mine")
    server_files.write_server_files(tmp_path)
    assert (tmp_path / "models.config").read_text() == "mine"
    assert (tmp_path / "batching_parameters.txt").read_text().startswith("# For tensorflow_model_server")
    assert len(list(tmp_path.iterdir())) == 2


def test_kernels_of_one_size_are_told_apart_by_shape_and_values() -> None:
    def facts(shape: tuple[int, ...], kernel_bits: int) -> Any:
        return SimpleNamespace(kernel_shape=shape, kernel_bits=kernel_bits)

    square = StoredKernel((8, 1, 1, 8), 16, 0, exact=False)
    wide, binary = (StoredKernel((4, 1, 1, 16), bits, 0, exact=bits == 8) for bits in (16, 8))
    kernels = [square, wide, binary]
    found = [make_flatbuffer._stored_kernel_of(each, kernels) for each in (facts((1, 1, 16, 4), 1), facts((16, 4), 32))]
    assert found[0] is binary and found[1] is wide
    assert make_flatbuffer._stored_kernel_of(facts((1, 1, 8, 8), 32), kernels) is square
    assert make_flatbuffer._stored_kernel_of(facts((3, 3), 32), kernels) is None


def test_benchmark_and_export_show_the_same_floor(
    randomise: Callable[..., Any], make_card: Callable[..., Any], tmp_path: Path
) -> None:
    """Also of kernels that are not called `kernel`, or lie inside a wrapper."""
    import larq

    from bopkit.benchmark.runtimes.keras import KerasRuntime

    tf = import_tensorflow()
    depthwise = {"depthwise_quantizer": "ste_sign", "depthwise_constraint": "weight_clip"}
    pointwise = {"pointwise_quantizer": "ste_sign", "pointwise_constraint": "weight_clip"}
    kernel = {"kernel_quantizer": "ste_sign", "kernel_constraint": "weight_clip"}
    layers = [
        tf.keras.Input((12, 12, 3)),
        larq.layers.QuantDepthwiseConv2D(3, use_bias=False, **depthwise),
        larq.layers.QuantSeparableConv2D(8, 3, use_bias=False, **depthwise, **pointwise),
        larq.layers.QuantConv2D(8, 1, use_bias=False, **kernel),
        tf.keras.layers.Reshape((64, 8)),
        tf.keras.layers.TimeDistributed(larq.layers.QuantDense(8, use_bias=False, **kernel)),
        tf.keras.layers.GlobalAveragePooling1D(),
        tf.keras.layers.Dense(10),
    ]
    save_model(randomise(tf.keras.Sequential(layers)), make_card(), tmp_path / "net.h5")
    report = export_model(tmp_path / "net.h5", options=ExportOptions(tflite=False, pictures=2))
    runtime = KerasRuntime(threads=None)
    runtime.load(tmp_path / "net.h5")
    binary = 3 * 3 * 3 + (3 * 3 * 3 + 3 * 8) + 8 * 8 + 8 * 8
    assert runtime.floor_bytes() == report.artifacts[0].floor_bytes == -(-binary // 8) + 4 * (8 * 10 + 10)


def test_unpacked_and_packed_answer_the_same(exported: tuple[Path, Any], unpacked: tuple[Path, Any]) -> None:
    (plain,) = unpacked[1].artifacts
    assert not any(layer.packed for layer in plain.layers)
    assert plain.size_bytes > 2 * plain.floor_bytes
    answers = [
        saved_model.predict(load(path), {"images": PICTURES}, 3)["probabilities"]
        for path in (exported[0] / "net" / "1", plain.path)
    ]
    np.testing.assert_array_equal(*answers)


def test_a_version_of_ones_own(small_file: Path, tmp_path: Path) -> None:
    (tmp_path / "small" / "7").mkdir(parents=True)
    options = ExportOptions(tflite=False, pictures=2, version=3)
    (artifact,) = export_model(small_file, tmp_path, options).artifacts
    assert artifact.path == str(tmp_path / "small" / "3")
    content = (tmp_path / "small" / "3" / "saved_model.pb").read_bytes()
    with pytest.raises(UsageError, match=r"small/3 exists already. The next free one: --version 8"):
        export_model(small_file, tmp_path, options)
    scratch = tmp_path / "scratch" / "small"
    scratch.mkdir(parents=True)
    with pytest.raises(UsageError, match=r"small/7 exists already"):
        publish([dataclasses.replace(artifact, path=str(scratch))], tmp_path, 7)  # it appeared during the export
    assert (tmp_path / "small" / "3" / "saved_model.pb").read_bytes() == content


def test_versions_count_up(small_file: Path, tmp_path: Path) -> None:
    (tmp_path / "small" / "7").mkdir(parents=True)
    report = export_model(small_file, tmp_path, ExportOptions(tflite=False, pictures=4))
    assert [each.path for each in report.artifacts] == [str(tmp_path / "small" / "8")]


def test_a_model_without_a_card(small_network: Any, tmp_path: Path) -> None:
    small_network.save(tmp_path / "foreign.keras")
    report = export_model(tmp_path / "foreign.keras", tmp_path / "new", ExportOptions(pictures=4))
    assert list(load(tmp_path / "new" / "foreign" / "1").signatures) == ["serving_default"]
    assert any("no card" in note for note in report.notes)


def test_bad_requests(model_file: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No format"):
        export_model(model_file, options=ExportOptions(tflite=False, savedmodel=False))
    with pytest.raises(UsageError, match="number of pictures is 0"):
        export_model(model_file, options=ExportOptions(pictures=0))
    with pytest.raises(UsageError, match="--no-pack is for the SavedModel"):
        ExportOptions(savedmodel=False, pack=False)
    with pytest.raises(UsageError, match="--version is for the SavedModel"):
        ExportOptions(savedmodel=False, version=1)
    for version in (0, -1, 2**63):
        with pytest.raises(UsageError, match="from 1 to 9223372036854775807"):
            ExportOptions(version=version)
    with pytest.raises(UsageError, match="is a file"):
        export_model(model_file, output=model_file)
    with pytest.raises(BopkitError):
        export_model(tmp_path / "missing.h5")
    with pytest.raises(UsageError, match="unheard_of"):
        export_model(model_file, tmp_path, ExportOptions(dataset="unheard_of"))


@pytest.mark.parametrize(("form", "message"), [("any size", "pictures of one size"), ("integers", "type int32")])
def test_networks_of_another_form_are_refused(form: str, message: str, tmp_path: Path) -> None:
    tf = import_tensorflow()
    inputs = tf.keras.Input((None, None, 3)) if form == "any size" else tf.keras.Input((8,), dtype="int32")
    layers = tf.keras.layers
    outputs = layers.GlobalAveragePooling2D()(inputs) if form == "any size" else layers.Embedding(9, 4)(inputs)
    tf.keras.Model(inputs, outputs).save(tmp_path / "net.keras")
    with pytest.raises(BopkitError, match=message):
        export_model(tmp_path / "net.keras", options=ExportOptions(savedmodel=False))


@pytest.mark.parametrize("then", ["goes on", "fails"])
def test_a_swallowed_ctrl_c_publishes_nothing(then: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorFlow swallows some; the export must neither go on to its end nor call the file damaged."""

    def compute_reference(*_: Any) -> tuple[Any, list[str]]:
        with contextlib.suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
        if then == "fails":
            raise AssertionError("a graph is not finished")
        return SimpleNamespace(model=SimpleNamespace(layers=[])), []

    published: list[Path] = []
    monkeypatch.setattr(exporter, "compute_reference", compute_reference)
    monkeypatch.setattr(exporter, "make_saved_model", lambda *_: (None, []))
    monkeypatch.setattr(exporter, "publish", lambda _, output, version: published.append(output) or [])
    with pytest.raises(KeyboardInterrupt):
        export_model("model.h5", tmp_path, ExportOptions(tflite=False))
    assert not published and not list(tmp_path.iterdir())


def test_other_scores_for_the_same_classes_are_refused(
    small_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a converter would leave them that loses a factor before the softmax."""

    def sharpened(flatbuffer: bytes, inputs: Any, **options: Any) -> list[np.ndarray]:
        answers = predict_flatbuffer(flatbuffer, inputs, **options)
        is_tapped = answers[0].dtype != np.float32
        return answers if is_tapped else [each**2 / (each**2).sum(axis=-1, keepdims=True) for each in answers]

    monkeypatch.setattr(make_flatbuffer, "predict_flatbuffer", sharpened)
    with pytest.raises(BopkitError, match=r"scores are others than Keras' on .*, though all signs are the same"):
        export_model(small_file, tmp_path, ExportOptions(savedmodel=False, pictures=16))
