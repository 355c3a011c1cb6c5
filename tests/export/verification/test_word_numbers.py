"""Networks of word numbers: checked on indices that their Embedding has, not on noise that is all word 0."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bopkit.artifacts import artifact
from bopkit.export import ExportOptions, export_model
from bopkit.export.checks.scores import compare_output
from bopkit.export.network.embedding_indices import indices_of_flatbuffer, indices_of_model
from bopkit.export.pictures import Pictures
from bopkit.export.verification.verify import verify_artifacts
from bopkit.keras2 import import_tensorflow

pytestmark = pytest.mark.integration

pytest.importorskip("larq_compute_engine", reason="larq-compute-engine has no wheel here")

WORDS = 50


def save_network(path: Path, meaning: int = 1, change_kernel: bool = False) -> Path:
    """A network of 12 word numbers; `meaning` is the sign of all words but the first."""
    tf = import_tensorflow()
    import larq

    keras = tf.keras
    keras.utils.set_random_seed(0)
    words = keras.layers.Input((12,))
    x = keras.layers.Embedding(WORDS, 32, name="words")(words)
    binary: dict[str, Any] = {"input_quantizer": "ste_sign", "kernel_quantizer": "ste_sign", "use_bias": False}
    x = larq.layers.QuantConv1D(32, 3, name="binary", kernel_initializer="he_normal", **binary)(x)
    x = keras.layers.GlobalAveragePooling1D()(x)
    model = keras.Model(words, keras.layers.Dense(5, activation="softmax")(x))
    (table,) = model.get_layer("words").get_weights()
    table[1:] *= meaning
    model.get_layer("words").set_weights([table])
    if change_kernel:
        (kernel,) = model.get_layer("binary").get_weights()
        kernel[0, 0, 0] *= -1.0
        model.get_layer("binary").set_weights([kernel])
    model.save(path)
    return path


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_network(tmp_path_factory.mktemp("words") / "words.h5")


@pytest.fixture(scope="module")
def exported(model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    report = export_model(model_file, folder, ExportOptions())
    sources = [agreement.source for each in report.artifacts for agreement in each.agreements]
    assert sources == ["uniform random indices"] * 2
    assert any("random indices" in note for note in report.notes)
    assert not any("range" in note for note in report.notes)
    return folder


@pytest.mark.usefixtures("one_child")
@pytest.mark.parametrize("kind", ["keras", "tflite", "savedmodel"])
def test_words_that_mean_the_opposite_are_no_agreement(
    kind: str, model_file: Path, exported: Path, tmp_path: Path
) -> None:
    first = {"keras": model_file, "tflite": exported / "words.tflite", "savedmodel": exported / "words" / "1"}[kind]
    same = verify_artifacts(first, model_file)
    assert same.passed and not same.undecided, same.failures
    other = verify_artifacts(first, save_network(tmp_path / "other.h5", meaning=-1))
    assert not other.passed and all("random indices" in failure for failure in other.failures)


@pytest.mark.usefixtures("one_child")
def test_equal_answers_to_everything_prove_nothing(exported: Path) -> None:
    verification = verify_artifacts(exported / "words" / "1", exported / "words" / "1")
    assert verification.passed and verification.undecided
    assert any("prove nothing" in note for note in verification.notes)


@pytest.mark.usefixtures("one_child")
def test_bits_of_one_dimensional_convolutions_are_compared(model_file: Path, exported: Path, tmp_path: Path) -> None:
    changed = save_network(tmp_path / "changed.h5", change_kernel=True)
    for artifact_path in (model_file, exported / "words.tflite"):
        verification = verify_artifacts(artifact_path, changed)
        assert sum(match.different for match in verification.kernels) == 1, artifact_path
        assert not verification.passed


def test_indices_are_found_behind_casts_and_inside_networks(exported: Path) -> None:
    tf = import_tensorflow()
    keras = tf.keras
    inner_words = keras.layers.Input((4,))
    inner = keras.Model(inner_words, keras.layers.Embedding(7, 3)(keras.layers.Reshape((2, 2))(inner_words)))
    words, picture = keras.layers.Input((4,)), keras.layers.Input((8, 8, 3))
    both = [keras.layers.Flatten()(each) for each in (inner(tf.cast(words, tf.int32)), picture)]
    outputs = [keras.layers.Concatenate()(both), keras.layers.Embedding(9, 2)(words)]
    assert indices_of_model(keras.Model([picture, words], outputs)) == [None, 7]
    (graph,) = artifact.read_flatbuffer(exported / "words.tflite").graphs
    assert indices_of_flatbuffer(graph) == [WORDS]


def test_answers_that_never_change_are_marked() -> None:
    scores = np.array([[0.1, 0.9], [0.2, 0.8]], np.float32)
    pictures = Pictures("noise", False, (np.zeros((2, 1), np.float32),))
    assert not compare_output(pictures, scores, scores).is_constant
    assert compare_output(pictures, scores[[0, 0]], scores).is_constant
