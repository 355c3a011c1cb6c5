"""What is no network's file is not called a damaged one, and the hint is for what it is."""

from pathlib import Path

import pytest

from bopkit.artifacts import artifact
from bopkit.errors import BopkitError


@pytest.mark.parametrize(
    ("name", "content", "said", "hint"),
    [
        ("net.h5", b"", "is empty", "Copy or download it again."),
        ("net.tflite", b"", "is empty", "Copy or download it again."),
        ("net.h5", b"version https://git-lfs.github.com/spec/v1\n", "but a pointer of Git LFS", "git lfs pull"),
        ("net.tflite", b"version https://git-lfs.github.com/spec/v1\n", "but a pointer of Git LFS", "git lfs pull"),
        ("net.keras", b"\n<!DOCTYPE html><html>", "but a web page", "Download the file itself."),
        ("saved_model.pb", b"\x08\x01", "is one file of a SavedModel", "Give the folder"),
        ("net.h5", b"\x80\x04\x95 pickle", "is not a Keras model file", "Give a whole model saved as .h5 or .keras."),
        ("net.tflite", b"some text of no kind", "is not a TensorFlow Lite model", "Give a .tflite file"),
    ],
)
def test_a_file_of_another_kind(name: str, content: bytes, said: str, hint: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BopkitError) as caught:
        artifact.kind(tmp_path / name)
    assert said in caught.value.message and hint in caught.value.hint
    assert "damaged" not in str(caught.value)


def test_a_flatbuffer_that_is_cut_short_is_called_damaged(tmp_path: Path) -> None:
    (tmp_path / "net.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(20))
    with pytest.raises(BopkitError, match="The file is damaged or cut short: copy it again"):
        artifact.kind(tmp_path / "net.tflite")
