"""Pictures that a camera stored as its sensor lay are seen as viewers show them, in each way into a network."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest

from bopkit.data import get_preprocessing
from bopkit.data.decoding import decode
from bopkit.data.orientation import exif_orientation
from bopkit.data.picture_formats import header_of
from bopkit.keras2 import import_tensorflow

tf = import_tensorflow()

traced = tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
decode_colours, orientation_of = traced(lambda encoded: decode(encoded, 3)), traced(exif_orientation)

SEEN = {  # by orientation: what viewers show of the stored pixels
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.transpose(1, 0, 2),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).transpose(1, 0, 2),
    8: lambda stored: np.rot90(stored),
}
APP0, ICC, COMMENT = 0xE0, 0xE2, 0xFE


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def exif(orientation: int, order: str = "MM", tag: int = 0x0112, kind: int = 3, magic: int = 42) -> bytes:
    """An Exif segment whose directory has two entries and lies behind a gap."""
    to = {"MM": ">", "II": "<"}.get(order, ">")
    head = order.encode() + struct.pack(f"{to}HI", magic, 12) + b"gap!"
    entries = struct.pack(f"{to}HHII", 0x0110, 2, 4, 0x41414141) + struct.pack(
        f"{to}HHIHH", tag, kind, 1, orientation, 0
    )
    return segment(0xE1, b"Exif\0\0" + head + struct.pack(f"{to}H", 2) + entries + bytes(4))


PIXELS = np.add.outer(np.arange(16) * 9, np.arange(24) * 3)[..., None].repeat(3, 2).astype(np.uint8)
PIXELS[:4, :6, 0] = 255
JPEG = tf.io.encode_jpeg(PIXELS, quality=100).numpy()
JFIF = JPEG[2:20]
assert JFIF.startswith(b"\xff\xe0\x00\x10JFIF")


def with_segments(*segments: bytes) -> bytes:
    """The JPEG with these segments in place of its first."""
    return JPEG[:2] + b"".join(segments) + JPEG[20:]


@pytest.mark.parametrize("order", ["MM", "II"])
@pytest.mark.parametrize("orientation", SEEN)
def test_pictures_are_decoded_as_viewers_show_them(orientation: int, order: str) -> None:
    stored = decode_colours(JPEG).numpy()
    encoded = with_segments(exif(orientation, order))
    np.testing.assert_array_equal(decode_colours(encoded), SEEN[orientation](stored))
    assert header_of(encoded)[1:3] == SEEN[orientation](stored).shape[:2]


@pytest.mark.parametrize(
    "before",
    [
        JFIF,
        segment(COMMENT, b"Exif\0\0") + JFIF,
        segment(ICC, bytes(65533)) * 2,
        segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0"),
        b"\xff" * 3,
    ],
    ids=["JFIF", "comment", "long profile", "XMP", "filled up"],
)
def test_the_note_is_found_behind_other_segments(before: bytes) -> None:
    assert int(orientation_of(with_segments(before, exif(6)))) == 6
    assert decode_colours(with_segments(before, exif(6))).shape == (24, 16, 3)
    assert header_of(with_segments(before, exif(6)))[1:3] == (24, 16)


@pytest.mark.parametrize(
    "damaged",
    [
        exif(0),
        exif(9),
        exif(6, order="XX"),
        exif(6, magic=43),
        exif(6, kind=2),
        exif(6, tag=0x0113),
        exif(6)[:20],
        exif(6).replace(struct.pack(">I", 12), struct.pack(">I", 2**32 - 1)),
        segment(0xE1, b"Exif\0\0"),
        segment(0xE1, b"Exif\0\0" + exif(6)[10:30]),
        b"\xff\xe1\x00\x00",
        segment(ICC, exif(6)),
    ],
)
def test_a_damaged_note_leaves_the_picture_as_it_lies(damaged: bytes) -> None:
    encoded = JPEG[:2] + damaged + JPEG[20:]
    assert int(orientation_of(encoded)) == 1
    assert int(orientation_of(encoded[: 2 + len(damaged)])) == 1
    assert header_of(encoded) is None or header_of(encoded)[1:3] == (16, 24)


@pytest.mark.parametrize("encoded", [b"", b"\xff\xd8\xff", JPEG, tf.io.encode_png(PIXELS).numpy(), b"no picture"])
def test_pictures_without_a_note(encoded: bytes) -> None:
    assert int(orientation_of(encoded)) == 1


@pytest.mark.parametrize("name", ["resize", "imagenet"])
def test_training_and_evaluation_see_the_same_upright_picture(name: str) -> None:
    """Training on ImageNet decodes a window only."""
    preprocessing = get_preprocessing(name, (16, 16, 3))
    turned, upright = with_segments(exif(6)), tf.io.encode_png(SEEN[6](decode_colours(JPEG).numpy()))
    np.testing.assert_array_equal(preprocessing.evaluate(tf.constant(turned)), preprocessing.evaluate(upright))
    if name == "resize":
        seen = preprocessing.augment(tf.constant(turned), [0, 1], picture_size=(16, 24))  # as the dataset stores them
        np.testing.assert_array_equal(preprocessing.finish(seen), preprocessing.evaluate(upright))
        return
    stored, seen = (preprocessing.augment(tf.constant(each), [3, 1]).numpy().astype(int) for each in (JPEG, turned))
    expected = (SEEN[6](stored), SEEN[6](stored[:, ::-1])[:, ::-1])  # mirrored or not
    assert min(np.abs(seen - each).max() for each in expected) <= 2


def test_a_grey_network_sees_a_picture_in_printers_inks() -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow writes the picture")
    file = io.BytesIO()
    image.fromarray(PIXELS).convert("CMYK").save(file, "JPEG", quality=100)
    colours, grey = decode_colours(file.getvalue()).numpy(), decode(tf.constant(file.getvalue()), 1).numpy()
    assert np.abs(colours.astype(int) - PIXELS).mean() < 4
    np.testing.assert_array_equal(grey, tf.image.rgb_to_grayscale(colours))
