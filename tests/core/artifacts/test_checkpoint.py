"""TensorFlow checkpoints: all their weights reach the network that is named, or one line says which do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bopkit.artifacts import artifact, checkpoint, checksum
from bopkit.artifacts.keras_file import load_weights, open_model
from bopkit.errors import BopkitError
from bopkit.export import ExportOptions, export_model
from bopkit.keras2 import import_tensorflow
from bopkit.registry import MODELS

SMALL = {"filters": 8, "dense_units": 16}


def small_network(**hparams: int) -> Any:
    architecture = MODELS.load("binarynet")
    settings = architecture.hparams(None).model_copy(update={**SMALL, **hparams})
    return architecture.build(settings, (16, 16, 3), 10)


def paper_network(filters: int = 8, use_bias: bool = False) -> Any:
    """BinaryNet as the archived code of the Bop paper builds it: other names and classes, no quantizer of kernels."""
    tf = import_tensorflow()
    import larq

    layers, binary = tf.keras.layers, {"input_quantizer": "ste_sign", "use_bias": False}
    network = tf.keras.Sequential([larq.layers.QuantConv2D(filters, 3, use_bias=use_bias, input_shape=(16, 16, 3))])
    network.add(layers.BatchNormalization(scale=False))
    for factor, pool in ((1, True), (2, False), (2, True), (4, False), (4, True)):
        network.add(larq.layers.QuantConv2D(factor * filters, 3, padding="same", **binary))
        if pool:
            network.add(layers.MaxPooling2D())
        network.add(layers.BatchNormalization(scale=False))
    network.add(layers.Flatten())
    for units in (16, 16, 10):
        network.add(larq.layers.QuantDense(units, **binary))
        network.add(layers.BatchNormalization(scale=False))
    network.add(layers.Activation("softmax"))
    draw = np.random.default_rng(0)
    for weight in network.weights:
        shape = tuple(weight.shape)
        signs = np.where(draw.random(shape) < 0.5, -1.0, 1.0)
        weight.assign(signs if len(shape) > 1 else draw.uniform(0.5, 9, shape))
    return network


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A folder with the weights of a trained network, optimizer and metrics beside them, and the network."""
    folder = tmp_path_factory.mktemp("ckpt")
    network = paper_network()
    network.compile("adam", "categorical_crossentropy", ["accuracy"])
    network.fit(np.zeros((2, 16, 16, 3)), np.eye(10)[:2], verbose=0)
    network.save_weights(folder / "weights.05", save_format="tf")
    return folder, network


@pytest.mark.parametrize("name", ["weights.05", "weights.05.index", "weights.05.data-00000-of-00001", "checkpoint", ""])
def test_every_path_stands_for_the_prefix(name: str, saved: tuple[Path, Any], tmp_path: Path) -> None:
    folder, _ = saved
    assert artifact.resolve(folder / name) == folder / "weights.05"


def test_weights_reach_the_named_network_exactly(saved: tuple[Path, Any]) -> None:
    folder, network = saved
    ours = small_network()
    load_weights(ours, folder / "weights.05")
    for expected, weight in zip(network.get_weights(), ours.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_a_network_inside_a_checkpoint_of_more(tmp_path: Path) -> None:
    tf = import_tensorflow()
    network = paper_network()
    beside = {"optimizer": tf.keras.optimizers.Adam(), "epoch": tf.Variable(3)}
    prefix = tf.train.Checkpoint(model=network, **beside).save(str(tmp_path / "ckpt"))
    ours = small_network()
    load_weights(ours, Path(prefix))
    for expected, weight in zip(network.get_weights(), ours.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)


@pytest.mark.parametrize(
    ("theirs", "ours", "says"),
    [
        ({"filters": 4}, {}, r"conv1/kernel has shape \(3, 3, 3, 8\) in the network and \(3, 3, 3, 4\) in the file \("),
        ({}, {"dense_units": 8}, r"dense1/kernel has shape \(32, 8\) in the network and \(32, 16\) in the file \("),
        ({"use_bias": True}, {}, "has no place for layer_with_weights-0/bias"),
    ],
)
def test_other_weights_are_named_in_one_line(theirs: Any, ours: Any, says: str, tmp_path: Path) -> None:
    paper_network(**theirs).save_weights(tmp_path / "model", save_format="tf")
    network = small_network(**ours)
    before = network.get_weights()
    with pytest.raises(BopkitError, match=says) as error:
        load_weights(network, tmp_path / "model")
    assert "\n" not in str(error.value) and "--architecture" in str(error.value)
    for expected, weight in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_a_weight_that_is_missing_is_named(tmp_path: Path) -> None:
    tf = import_tensorflow()
    layers = tf.keras.layers
    tf.keras.Sequential([tf.keras.Input((4,)), layers.Dense(3)]).save_weights(tmp_path / "m", save_format="tf")
    longer = tf.keras.Sequential([tf.keras.Input((4,)), layers.Dense(3), layers.Dense(2, name="second")])
    with pytest.raises(BopkitError, match=r"second/kernel is not in the file \(1 more differ\)"):
        load_weights(longer, tmp_path / "m")


def test_without_an_architecture_it_is_said_what_to_type(saved: tuple[Path, Any]) -> None:
    prefix = saved[0] / "weights.05"
    with pytest.raises(BopkitError, match=f"`bopkit export {prefix} --architecture NAME -o DIR`"):
        open_model(prefix)


def test_damaged_and_missing_parts(saved: tuple[Path, Any], tmp_path: Path) -> None:
    folder, _ = saved
    for source in checkpoint.files_of(folder / "weights.05"):
        (tmp_path / source.name).write_bytes(source.read_bytes())
    index, data = checkpoint.files_of(tmp_path / "weights.05")
    whole = data.read_bytes()
    for damaged in (bytes([whole[0] ^ 1]) + whole[1:], whole[:100], None):
        data.unlink()
        if damaged is not None:
            data.write_bytes(damaged)
        with pytest.raises(BopkitError, match="does not load: "):
            load_weights(small_network(), tmp_path / "weights.05")
        data.touch()
    index.write_bytes(index.read_bytes()[:200])
    with pytest.raises(BopkitError, match="does not load: "):
        load_weights(small_network(), tmp_path / "weights.05")


def test_a_folder_that_does_not_say_which(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.index").touch()
    with pytest.raises(BopkitError, match="holds 2 checkpoints, and does not say which"):
        artifact.resolve(tmp_path)
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "/elsewhere/a"\n')
    assert artifact.resolve(tmp_path) == tmp_path / "a"


@pytest.mark.integration
def test_it_is_exported(saved: tuple[Path, Any], tmp_path: Path) -> None:
    folder, network = saved
    options = ExportOptions(
        **{"architecture": "binarynet", "hparams": SMALL, "input_shape": (16, 16, 3), "pictures": 4},
        tflite=False,
    )
    (written,) = export_model(folder, tmp_path, options).artifacts
    assert Path(written.path).parent.name == "weights.05"
    assert sum(layer.packed for layer in written.layers) == 9
    assert checksum.source_checksum(folder / "weights.05") != checksum.source_checksum(folder / "checkpoint")
