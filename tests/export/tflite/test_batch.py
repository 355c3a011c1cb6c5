"""Whether a flatbuffer says that it takes one picture only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bopkit.artifacts.tflite_file import TfliteFile
from bopkit.export.tflite.batch import fixes_one_picture
from bopkit.keras2 import import_tensorflow

pytestmark = pytest.mark.integration

LAYERS: dict[str, tuple[Callable[[Any], list[Any]], bool]] = {
    "crop": (lambda keras: [keras.CenterCrop(6, 6)], True),
    "layer normalization": (lambda keras: [keras.LayerNormalization()], True),
    "shuffle": (
        lambda keras: [keras.Reshape((8, 8, 2, 4)), keras.Permute((1, 2, 4, 3)), keras.Reshape((8, 8, 8))],
        True,
    ),
    "flatten": (lambda keras: [keras.Flatten(), keras.Dense(3)], False),
}


@pytest.mark.parametrize("name", LAYERS)
def test_the_batch_inside(name: str, tmp_path: Path) -> None:
    """As it is in what LiteRT does with two pictures."""
    tf = import_tensorflow()
    make, is_fixed = LAYERS[name]
    model = tf.keras.Sequential([tf.keras.Input((8, 8, 8), batch_size=1), *make(tf.keras.layers)])
    flatbuffer = tf.lite.TFLiteConverter.from_keras_model(model).convert()
    assert fixes_one_picture(TfliteFile(flatbuffer, tmp_path).graphs[0]) is is_fixed
    interpreter = tf.lite.Interpreter(model_content=flatbuffer)
    interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], (2, 8, 8, 8))
    try:
        interpreter.allocate_tensors()
        interpreter.invoke()
        answers = len(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
    except RuntimeError:
        answers = 0
    assert (answers != 2) is is_fixed
