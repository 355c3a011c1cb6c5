"""What `bopkit export` prints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from bopkit.artifacts.keras_file import save_model
from bopkit.cli.main import app
from bopkit.export import make_flatbuffer, make_saved_model
from bopkit.keras2 import import_tensorflow


def export(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["export", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_network_without_weights(tmp_path: Path) -> None:
    tf = import_tensorflow()
    tf.keras.Sequential([tf.keras.Input((8, 8, 3)), tf.keras.layers.GlobalAveragePooling2D()]).save(
        tmp_path / "net.keras"
    )
    assert "1-bit floor 0 bytes, written in" in export(tmp_path / "net.keras", "--pictures", 2)


@pytest.mark.integration
def test_each_disagreement_has_its_evidence(
    small_network: Any, make_card: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(small_network, make_card(), tmp_path / "net.h5")
    predict = make_flatbuffer.predict_flatbuffer
    monkeypatch.setattr(
        make_flatbuffer,
        "predict_flatbuffer",
        lambda *arguments: [np.roll(each, 1, axis=1) for each in predict(*arguments)],
    )
    flatbuffer = export(tmp_path / "net.h5", "--tflite", "--pictures", 17)
    assert "NOT a near-tie: no sign differs; their scores are at most" in flatbuffer
    assert "not shown to be a near-tie: signs not traced; their scores are" in flatbuffer  # beyond the first 16

    monkeypatch.setattr(
        make_saved_model.saved_model,
        "predict",
        lambda loaded, inputs, size: {"probabilities": np.eye(10, dtype=np.float32)[[0] * len(inputs["images"])]},
    )
    saved_model = export(tmp_path / "net.h5", "--savedmodel", "--pictures", 4)
    assert "signs not traced" in saved_model and "Signs are traced in flatbuffers only" in saved_model
