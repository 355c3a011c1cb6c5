"""What an export says of its flatbuffer: bits that changed nothing, and what MediaPipe (1.2.3 was run) refuses."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from bopkit.artifacts.card import ModelCard
from bopkit.export import ExportOptions
from bopkit.export.network.signature import Signature
from bopkit.export.notes import notes_on_artifacts
from bopkit.export.reference import Reference
from bopkit.keras2 import import_tensorflow


def notes(preprocessing: str, options: ExportOptions, packed: bool = False, has_flatbuffer: bool = True) -> list[str]:
    shape: Any = (8, 8, 3)
    tf = import_tensorflow()
    pictures = tf.keras.Input(shape)
    model = tf.keras.Model(pictures, tf.keras.layers.GlobalAveragePooling2D()(pictures))
    card = ModelCard(architecture="mine", input_shape=shape, value_range=(-1.0, 1.0), preprocessing=preprocessing)
    reference = Reference(model, card, [], [], Signature.of_model(model), 0)
    layers = (SimpleNamespace(packed=packed),)
    facts = {"layers": layers, "is_rounded": False, "needs_indirect_bgemm": False, "takes_one_picture": False}
    formats = ("tflite", "savedmodel") if has_flatbuffer else ("savedmodel",)
    artifacts: Any = [
        SimpleNamespace(format=each, path=f"out/m.{each}", native_agreements=(None,), **facts) for each in formats
    ]
    return notes_on_artifacts(artifacts, reference, options)


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


def test_bits_that_changed_nothing_are_said_of_a_flatbuffer_alone() -> None:
    (note,) = notes("resize", ExportOptions(float_weights="int8"))
    assert note.startswith("--float-weights int8 changed nothing")
    assert not notes("resize", ExportOptions(float_weights="int8"), has_flatbuffer=False)
