"""Formats of picture files: headers, what is refused, and that what is decoded is what viewers show."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from bopkit.data.decoding import decode
from bopkit.data.picture_files import read_picture
from bopkit.data.picture_formats import header_of, seems_whole
from bopkit.errors import BopkitError
from bopkit.keras2 import import_tensorflow

tf = import_tensorflow()

HEIGHT, WIDTH = 24, 36
PIXELS = np.kron(np.random.default_rng(0).integers(0, 256, (3, 4, 3)), np.ones((8, 9, 1))).astype(np.uint8)
COLOURED = Image.fromarray(PIXELS)
MODES = {mode: COLOURED.convert(mode) for mode in ("RGB", "RGBA", "L", "LA", "1", "CMYK")}
MODES["RGBA"].putalpha(200)
MODES["LA"].putalpha(200)
MODES |= {"P": COLOURED.quantize(16), "I;16": Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257)}
KINDS = [
    *[("JPEG", mode) for mode in ("RGB", "L", "CMYK")],
    *[("PNG", mode) for mode in ("RGB", "RGBA", "L", "LA", "1", "P", "I;16")],
    *[("BMP", mode) for mode in ("RGB", "RGBA")],
    *[("GIF", mode) for mode in ("RGB", "L", "P", "1")],
    *[("WebP", mode) for mode in ("RGB", "RGBA", "L")],
]


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **({"lossless": True} if kind == "WebP" else {}), **options)
    return file.getvalue()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("kind", "mode"), KINDS)
def test_decoded_pixels_are_those_that_viewers_show(kind, mode, channels):
    data = encoded(MODES[mode], kind)
    opened = Image.open(io.BytesIO(data))
    if mode == "I;16":  # Pillow cuts values off where viewers scale them
        opened = Image.fromarray((np.array(opened) // 256).astype(np.uint8))
    expected = np.array(opened.convert("L" if channels == 1 else "RGB")).reshape(HEIGHT, WIDTH, channels)
    pixels = decode(tf.constant(data), channels).numpy().astype(int)
    lossy = kind == "JPEG"  # decoders round differently, and grey of CMYK is made in two steps
    assert np.abs(pixels - expected).mean() <= (2 if lossy else 1)
    assert np.abs(pixels - expected).max() <= (110 if lossy else 1)


@pytest.mark.parametrize(("kind", "mode"), KINDS)
def test_headers_tell_size_and_transparency(kind, mode):
    data = encoded(MODES[mode], kind)
    header = header_of(data)
    assert (header.format, header.height, header.width) == (kind, HEIGHT, WIDTH)
    assert header.has_alpha == (kind in ("PNG", "WebP") and mode in ("RGBA", "LA"))
    assert header.problem == ""
    assert header_of(data[:20]) is None


def test_headers_behind_long_segments_and_of_chosen_transparency():
    assert header_of(encoded(COLOURED, "JPEG", progressive=True, exif=b"Exif\0\0" + bytes(60_000)))[1:3] == (24, 36)
    assert header_of(encoded(MODES["P"], "PNG", transparency=0)).has_alpha
    assert header_of(encoded(MODES["P"], "GIF", transparency=0)).has_alpha
    assert header_of(encoded(MODES["L"], "PNG")).is_grey and header_of(encoded(MODES["L"], "JPEG")).is_grey
    assert not header_of(encoded(COLOURED, "JPEG")).is_grey
    for none in (b"", b"text", b"GIF89a", b"BM", b"RIFF", b"\xff\xd8\xff"):
        assert header_of(none) is None


def changed(data, place, values):
    return data[:place] + values + data[place + len(values) :]


BMP = encoded(COLOURED, "BMP")
TURNED = COLOURED.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (encoded(MODES["P"], "BMP"), "8 bits a pixel"),
        (encoded(MODES["1"], "BMP"), "1 bits a pixel"),
        (changed(BMP, 30, struct.pack("<I", 1)), "it is compressed"),
        (changed(BMP, 14, struct.pack("<I", 12)), "header is of OS/2"),
        (changed(encoded(MODES["P"], "GIF"), 6, struct.pack("<HH", 99, 99)), "first frame does not fill it"),
        (encoded(COLOURED, "WebP", save_all=True, append_images=[TURNED]), "it is animated"),
        (encoded(COLOURED, "TIFF"), "is TIFF, which is not read"),
        (b"hello", "is damaged, or no"),
    ],
)
def test_what_would_be_shown_otherwise_is_refused_by_name(data, problem, tmp_path):
    (tmp_path / "a.bmp").write_bytes(data)
    with pytest.raises(BopkitError, match=problem):
        read_picture(str(tmp_path / "a.bmp"))


def test_a_palette_is_not_taken_for_colours_by_the_decoder_itself():
    for channels in (1, 3):
        with pytest.raises(tf.errors.InvalidArgumentError, match="BMP with a palette"):
            decode(tf.constant(encoded(MODES["P"], "BMP")), channels)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "WebP"])
def test_files_that_were_cut_off_do_not_seem_whole(kind):
    data = encoded(COLOURED, kind)
    for end, is_whole in ((len(data), True), (len(data) - 5, False), (len(data) * 2 // 3, False)):
        assert seems_whole(data[:end][:64], data[:end][-64:], end, header_of(data)) is is_whole
