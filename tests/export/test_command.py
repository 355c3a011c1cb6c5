"""What `bopkit export` prints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from bopkit.artifacts.keras_file import save_model
from bopkit.cli.export import _print_agreement, _print_artifact
from bopkit.cli.main import app
from bopkit.export import ArtifactReport, make_saved_model
from bopkit.export.checks.scores import compare_output
from bopkit.export.pictures import Pictures
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


def test_a_size_far_above_the_floor_is_told_as_a_multiple(capsys: pytest.CaptureFixture[str]) -> None:
    _print_artifact(ArtifactReport("savedmodel", "net/1", 31_161, 230, (), (), 0.1), verbose=False)
    assert "size 31,161 bytes, 1-bit floor 230 bytes (135.48 x), written in 0.1 s" in capsys.readouterr().out


def test_disagreements_are_counted_and_with_verbose_each_has_its_evidence(capsys: pytest.CaptureFixture[str]) -> None:
    expected = np.eye(3, dtype=np.float32)
    pictures = Pictures("photographs", True, (np.zeros((3, 1)),))
    agreement = compare_output(pictures, expected, expected[[1, 2, 0]])
    first, second, third = agreement.disagreements
    found = (
        replace(first, traced=True, near_tie=False),
        replace(
            second,
            **{"traced": True, "near_tie": True, "first_layer": "conv"},
            **{"signs": 9, "signs_changed": 2, "largest_relative_magnitude": 1e-6},
        ),
        third,
    )
    values = compare_output(pictures, expected, 1 - expected, names_class=False)
    for each in (replace(agreement, disagreements=found), values):
        _print_agreement(each, verbose=False)
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("  ")] == [
        "  near-ties: 1, NOT near-ties: 1, not shown to be near-ties: 1 (--verbose lists the pictures)",
        "  not shown to be near-ties: 3 (--verbose lists the pictures)",
    ]
    for each in (replace(agreement, disagreements=found), values):
        _print_agreement(each, verbose=True)
    printed = " ".join(capsys.readouterr().out.split())
    assert (
        "class 0 in Keras, 1 here, NOT a near-tie: no sign differs; their scores are at most 1.0e+00 apart" in printed
    )
    assert "class 1 in Keras, 2 here, a near-tie: 2 of 9 signs differ into conv, the largest 1.0e-06 of" in printed
    assert "class 2 in Keras, 0 here, not shown to be a near-tie: signs not traced" in printed
    assert "picture 0: values differ by up to 1.0e+00, not shown to be a near-tie: signs not traced" in printed


@pytest.mark.integration
def test_a_saved_model_says_that_its_signs_are_not_traced(
    small_network: Any, make_card: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(small_network, make_card(), tmp_path / "net.h5")
    monkeypatch.setattr(
        make_saved_model.saved_model,
        "predict",
        lambda loaded, inputs, size: {"probabilities": np.eye(10, dtype=np.float32)[[0] * len(inputs["images"])]},
    )
    saved_model = export(tmp_path / "net.h5", "--savedmodel", "--pictures", 4, "--verbose")
    assert "signs not traced" in saved_model and "Signs are traced in flatbuffers only" in saved_model
