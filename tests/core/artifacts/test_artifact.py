"""Artifacts: the kind from the contents, and cards that change nothing else."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from carded_flatbuffers import embed_card

from bopkit.artifacts import artifact
from bopkit.artifacts.card import ModelCard
from bopkit.artifacts.keras_file import save_model
from bopkit.artifacts.tflite_metadata import embed_metadata
from bopkit.errors import BopkitError
from bopkit.keras2 import import_tensorflow

CARD = ModelCard(
    architecture="binarynet",
    input_shape=(8, 8, 3),
    value_range=(-1.0, 1.0),
    preprocessing="scale",
    class_names=tuple(f"class {index} ä" for index in range(1000)),
)


@pytest.fixture(scope="module")
def model() -> Any:
    tf = import_tensorflow()
    import larq

    binary: dict[str, Any] = dict(
        kernel_quantizer="ste_sign", kernel_constraint="weight_clip", padding="same", use_bias=False
    )
    return tf.keras.Sequential(
        [
            tf.keras.layers.InputLayer((8, 8, 3)),
            larq.layers.QuantConv2D(32, 3, **binary),
            tf.keras.layers.BatchNormalization(scale=False),
            larq.layers.QuantConv2D(32, 3, input_quantizer="ste_sign", pad_values=1.0, **binary),
            tf.keras.layers.GlobalAveragePooling2D(),
        ]
    )


@pytest.fixture(scope="module")
def flatbuffer(model: Any) -> bytes:
    engine = pytest.importorskip("larq_compute_engine", reason="larq-compute-engine has no wheel here")
    converted: bytes = engine.convert_keras_model(model)
    return converted


@pytest.mark.integration
def test_embedded_card_changes_nothing_else(flatbuffer: bytes, tmp_path: Path) -> None:
    from larq_compute_engine import testing
    from tensorflow.lite.tools import flatbuffer_utils

    older = embed_card(flatbuffer, dataclasses.replace(CARD, architecture="older"))
    carded = embed_card(older, CARD)
    path = tmp_path / "model.tflite"
    path.write_bytes(carded)
    assert artifact.kind(path) == "tflite" and artifact.read_card(path) == CARD

    before, after = (flatbuffer_utils.convert_bytearray_to_object(bytearray(each)) for each in (flatbuffer, carded))
    for old, new in zip(before.buffers, after.buffers[: len(before.buffers)], strict=True):
        np.testing.assert_array_equal(old.data, new.data)
    kept = [entry for entry in after.metadata if entry.name not in (b"bopkit_card", b"bopkit_sha256")]
    assert len(after.metadata) == len(kept) + 2
    after.buffers, after.metadata = before.buffers, kept
    assert flatbuffer_utils.convert_object_to_bytearray(after) == flatbuffer_utils.convert_object_to_bytearray(before)

    pictures = np.random.default_rng(0).uniform(-1, 1, (4, 8, 8, 3)).astype(np.float32)
    np.testing.assert_array_equal(
        testing.Interpreter(carded).predict(pictures), testing.Interpreter(flatbuffer).predict(pictures)
    )


def test_weights_stay_aligned(flatbuffer: bytes) -> None:
    """Kernels read 16 bytes at a time; the old file as the tail keeps each place modulo 16."""
    odd = flatbuffer + bytes(4)
    carded = embed_card(odd, CARD)
    assert (carded.index(flatbuffer)) % 16 == 0 and len(carded) % 16 == 0


def test_flatbuffer_without_card(flatbuffer: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(flatbuffer)
    assert artifact.read_card(tmp_path / "model.tflite") is None


@pytest.mark.parametrize(
    ("recorded", "read"), [("1340", 1340), ("null", None), ("-1", None), ('"1"', None), ("true", None)]
)
def test_the_floor_is_what_the_export_recorded(
    recorded: str, read: int | None, flatbuffer: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "model.tflite"
    record = f'{{"floor_bytes": {recorded}}}'.encode()
    path.write_bytes(embed_metadata(flatbuffer, {artifact.EXPORT_RECORD: record}))
    assert artifact.read_floor_bytes(path) == read


def test_cut_flatbuffer_is_an_error(flatbuffer: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    for length in range(0, len(flatbuffer), 97):
        path.write_bytes(flatbuffer[:length])
        with pytest.raises(BopkitError):
            artifact.kind(path)


def test_length_beyond_the_end_is_an_error(flatbuffer: bytes, tmp_path: Path) -> None:
    text = CARD.to_json().encode()
    carded = bytearray(embed_metadata(flatbuffer, {"bopkit_card": text}))
    length_at = carded.index(text) - 4
    carded[length_at : length_at + 4] = len(carded).to_bytes(4, "little")
    (tmp_path / "model.tflite").write_bytes(carded)
    with pytest.raises(BopkitError, match="ends too early"):
        artifact.kind(tmp_path / "model.tflite")


@pytest.mark.integration
def test_damaged_flatbuffer_gives_a_clear_error_or_a_card(flatbuffer: bytes, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    path = tmp_path / "model.tflite"
    small = dataclasses.replace(CARD, class_names=())
    text = small.to_json().encode()  # without a checksum, which would find it all
    data = np.frombuffer(embed_metadata(flatbuffer, {"bopkit_card": text}), np.uint8)
    refused = 0
    for _ in range(2000):
        damaged = data.copy()
        # The offsets stand at the beginning: damage anywhere else seldom changes what is read here.
        damaged[rng.integers(0, 1200, 3)] = rng.integers(0, 256, 3)
        path.write_bytes(damaged.tobytes())
        try:
            artifact.kind(path)
            embed_card(damaged.tobytes(), small)
            artifact.read_card(path)
        except BopkitError as error:
            refused += 1
            assert error.hint and "\n" not in str(error)
    assert refused > 200


def test_kind_is_read_from_the_contents(model: Any, tmp_path: Path) -> None:
    save_model(model, CARD, tmp_path / "model.h5")
    shutil.copy(tmp_path / "model.h5", tmp_path / "model.tflite")
    model.save(tmp_path / "model.keras")
    for name in ("model.h5", "model.tflite", "model.keras"):
        assert artifact.kind(tmp_path / name) == "keras"
    assert artifact.read_card(tmp_path / "model.tflite") == CARD
    assert artifact.read_card(tmp_path / "model.keras") is None


def test_saved_model_resolves_to_its_newest_version(tmp_path: Path) -> None:
    for version in ("2", "10", "11.partial", "assets"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "saved_model.pb").write_bytes(b"graph")
    (tmp_path / "12").mkdir()  # empty: not a version that can be served
    newest = tmp_path / "10"
    assert artifact.resolve(tmp_path) == newest == artifact.resolve(newest)
    assert artifact.kind(tmp_path) == artifact.kind(newest) == "savedmodel"
    assert artifact.read_card(tmp_path) is None
    (newest / artifact.SAVED_MODEL_CARD).parent.mkdir()
    (newest / artifact.SAVED_MODEL_CARD).write_text(CARD.to_json())
    assert artifact.read_card(tmp_path) == CARD
    (newest / artifact.SAVED_MODEL_CARD).write_text("{")
    with pytest.raises(BopkitError, match="damaged"):
        artifact.read_card(tmp_path)


def test_a_folder_without_a_config_is_a_saved_model_first_and_then_a_model_file(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(BopkitError, match=r"has no model\.h5 yet\. Resume"):
        artifact.resolve(tmp_path)
    (tmp_path / "model.h5").write_bytes(b"weights")
    assert artifact.resolve(tmp_path) == tmp_path / "model.h5"
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"graph")
    assert artifact.resolve(tmp_path) == tmp_path / "1"
    (tmp_path / "config.json").write_text("{}")
    assert artifact.resolve(tmp_path) == tmp_path / "model.h5"


def test_neither(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello, world")
    for path in (tmp_path / "missing", tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(BopkitError) as error:
            artifact.kind(path)
        assert str(path) in error.value.message and error.value.hint
