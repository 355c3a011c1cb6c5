"""The export says which flatbuffers MediaPipe refuses for their normalisation; MediaPipe 1.2.3 was seen to."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from bopkit.artifacts.card import ModelCard
from bopkit.export import ExportOptions, exporter
from bopkit.export.network.signature import Signature
from bopkit.export.reference import Reference
from bopkit.keras2 import import_tensorflow


def notes(preprocessing: str, options: ExportOptions, packed: bool = False, shape: Any = (8, 8, 3)) -> list[str]:
    tf = import_tensorflow()
    pictures = tf.keras.Input(shape)
    model = tf.keras.Model(pictures, tf.keras.layers.GlobalAveragePooling2D()(pictures))
    card = ModelCard(architecture="mine", input_shape=shape, value_range=(-1.0, 1.0), preprocessing=preprocessing)
    reference = Reference(model, card, [], [], Signature.of_model(model), 0)
    layers = (SimpleNamespace(packed=packed),)
    artifacts: Any = [SimpleNamespace(format=each, path=f"out/m.{each}", layers=layers) for each in ("tflite", "saved")]
    return exporter._mediapipe_notes(artifacts, reference, options)


def test_a_mean_for_each_channel_is_said_once() -> None:
    (note,) = notes("imagenet", ExportOptions())
    assert note.startswith("m.tflite: MediaPipe refuses it, as imagenet has a mean")
    assert note.endswith("type --input uint8.")


@pytest.mark.parametrize(
    ("preprocessing", "options", "packed"),
    [
        ("resize", ExportOptions(), False),
        ("resize:0..255", ExportOptions(), False),
        ("", ExportOptions(), False),
        ("imagenet", ExportOptions(input_type="uint8"), False),
        ("imagenet", ExportOptions(), True),  # MediaPipe has no operator for it anyway
    ],
)
def test_what_it_takes_or_cannot_run_at_all_is_not_mentioned(
    preprocessing: str, options: ExportOptions, packed: bool
) -> None:
    assert not notes(preprocessing, options, packed)
