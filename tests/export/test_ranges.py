"""Networks that say nothing of the range they want: it is named by the user, asked for where it decides, or said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bopkit.artifacts import artifact
from bopkit.errors import UsageError
from bopkit.export import ExportOptions, export_model
from bopkit.export.verification.verify import verify_artifacts
from bopkit.keras2 import import_tensorflow

pytestmark = pytest.mark.integration

pytest.importorskip("larq_compute_engine", reason="larq-compute-engine has no wheel here")

RANGE = "resize:0..255"


@pytest.fixture(scope="module")
def stranger(small_network: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`small_network` behind a layer that scales pixels, without a card."""
    keras = import_tensorflow().keras
    path = tmp_path_factory.mktemp("stranger") / "net.h5"
    scaled = [keras.layers.Input((12, 12, 3)), keras.layers.Rescaling(1 / 127.5, -1), *small_network.layers]
    keras.models.clone_model(keras.Sequential(scaled)).save(path)
    return path


def test_the_named_range_decides_what_is_shown_and_goes_into_the_artifacts(stranger: Path, tmp_path: Path) -> None:
    options = ExportOptions(preprocess_fn=RANGE, float_weights="int8", calibrate="digits", pictures=4)
    report = export_model(stranger, tmp_path, options)
    assert f"Preprocessing: {RANGE}." in report.notes
    for path in (tmp_path / "net.tflite", tmp_path / "net"):
        card = artifact.read_card(path)
        assert card is not None and (card.preprocessing, card.value_range) == (RANGE, (0.0, 255.0))
    serve = import_tensorflow().saved_model.load(str(tmp_path / "net" / "1")).signatures
    pixels = np.random.default_rng(0).integers(0, 256, (1, 12, 12, 3)).astype(np.uint8)
    named = serve["predict_uint8"](images=pixels)
    np.testing.assert_array_equal(
        next(iter(serve["serving_default"](images=pixels.astype(np.float32)).values())),
        next(value for name, value in named.items() if name in ("probabilities", "outputs")),
    )


def test_calibration_is_refused_and_agreement_says_what_it_saw(stranger: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="^--calibrate needs the preprocessing .*--preprocess-fn"):
        export_model(stranger, tmp_path, ExportOptions(float_weights="int8", calibrate="digits"))
    assert not list(tmp_path.iterdir())
    options = ExportOptions(savedmodel=False, float_weights="int8", dataset="digits", pictures=4)
    report = export_model(stranger, tmp_path, options)
    assert report.artifacts[0].accuracy is None
    assert any("says nothing of accuracy" in note for note in report.notes)
    assert any("Nobody said what range" in note and "--preprocess-fn" in note for note in report.notes)


@pytest.mark.usefixtures("one_child")
def test_verify_says_and_takes_a_range(stranger: Path, tmp_path: Path) -> None:
    said = verify_artifacts(stranger, stranger, pictures=4, preprocess_fn=RANGE)
    assert said.passed and said.first is not None and said.first.preprocessing == RANGE
    assert not any("what range" in note for note in said.notes)
    unsaid = verify_artifacts(stranger, stranger, pictures=4)
    assert any("what range" in note and "--preprocess-fn" in note for note in unsaid.notes)
    with pytest.raises(UsageError, match="no range that is known"):
        verify_artifacts(stranger, stranger, pictures=4, preprocess_fn="resize:bright")
