"""The page of `bopkit inspect --html`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from browser import NEEDS_CHROMIUM, measured

from bopkit.export.inspection.contents import StoredLayer
from bopkit.export.inspection.html import render
from bopkit.export.inspection.report import Inspection


@pytest.fixture
def inspection() -> Inspection:
    """Of a flatbuffer with names as TensorFlow's converter makes them."""
    types = ("LceBconv2d", "FULLY_CONNECTED")
    layers = tuple(
        StoredLayer(
            name=f"bi-real-net/block-{number}/batch_norm/FusedBatchNormV3",
            type=types[number % 2],
            shape=(3, 3, 256, 256),
            input_bits=None if number % 2 else 1,
            value_bits=1,
            stored_bits=1 + 31 * (number % 2),
            size_bytes=10 ** (number + 1),
            weights=8,
            binary_weights=8,
            packed=number % 2 == 0,
            reason="the converter found no sign before it, or it is not a convolution" * (number % 2),
        )
        for number in range(4)
    )
    return Inspection(
        path="runs/imagenet/bi-real-net/2026-11-30/model-file.tflite",
        kind="tflite",
        size_bytes=17_082,
        weight_bytes=5_808,
        floor_bytes=3_941,
        weights=23_220,
        binary_weights=22_952,
        has_checksum=True,
        inputs=("serving_default_images:0 float32 [1, 32, 32, 1]",),
        outputs=("StatefulPartitionedCall:0 float32 [1, 10]",),
        layers=layers,
        card={"architecture": "bi-real-net", "input_shape": [32, 32, 1], "versions": {"tensorflow-datasets": "4.9.10"}},
        record={"target": "arm", "calibrated_on": None},
        notes=("It has notes.",),
    )


def test_names_are_text_and_values_are_listed(inspection: Inspection) -> None:
    page = render(inspection)
    assert "<span>bi-real-net/</span><span>block-0/</span>" in page
    text = re.sub("<[^>]*>", "", page)
    assert "input_shape32, 32, 1" in " ".join(text.split()) and "tensorflow-datasets: 4.9.10" in text
    assert "<script" not in page and "http" not in page


@NEEDS_CHROMIUM
@pytest.mark.parametrize("width_px", [390, pytest.param(1280, marks=pytest.mark.integration)])
def test_no_name_is_broken_and_nothing_is_cut(inspection: Inspection, width_px: int, tmp_path: Path) -> None:
    assert measured(render(inspection), width_px, tmp_path) == {"cut": [], "scrolls": [], "broken": []}
