"""Datasets of the user's own: modules in the working folder, and what is said of paths."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from bopkit.data import open_dataset
from bopkit.errors import BopkitError, UsageError
from bopkit.keras2 import import_tensorflow

DOCS = Path(__file__).parents[3] / "docs" / "training.md"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty working folder, which `sys.path` lacks as it does in the command line."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [each for each in sys.path if each])
    return tmp_path


def test_the_module_of_the_docs_reads_folders_of_pictures(here):
    """As docs/training.md has it, with a picture in each class whose pixels are the class."""
    (here / "my_photos.py").write_text(re.search(r"```python\n(import random\n.*?)```", DOCS.read_text(), re.DOTALL)[1])
    tf = import_tensorflow()
    for split, pictures in (("train", 20), ("test", 2)):
        for label, name in enumerate(("round", "square")):
            folder = here / "photos" / split / name
            folder.mkdir(parents=True)
            for index in range(pictures):
                pixels = np.full((10, 12, 3), label, np.uint8)
                (folder / f"{index}.png").write_bytes(tf.io.encode_png(pixels).numpy())
    data = open_dataset("my_photos", "photos")
    assert (data.name, data.class_names, data.test_split) == ("my_photos", ("round", "square"), "test")
    assert (data.count("train"), data.count("train[:90%]"), data.count("train[90%:]")) == (40, 36, 4)
    seen = [(tf.io.decode_png(image).numpy().max(), int(label)) for image, label in data.read("test")]
    assert sorted(seen) == [(0, 0), (0, 0), (1, 1), (1, 1)]
    assert {int(label) for _, label in data.read("train[90%:]")} == {0, 1}
    with pytest.raises(
        UsageError, match=re.escape("no split 'val'. Known: test, train, and slices such as test[:90%].")
    ):
        data.count("val")


def test_known_names_win_over_modules(here):
    for name in ("digits", "mnist", "own_and_plain"):
        (here / f"{name}.py").write_text("raise RuntimeError('imported')")
    assert open_dataset("digits").name == "digits"
    with pytest.raises(BopkitError, match="mnist .* is not prepared"):
        open_dataset("mnist", here)
    with pytest.raises(BopkitError, match="own_and_plain cannot be imported: RuntimeError: imported"):
        open_dataset("own_and_plain")
    (here / "own_folder").mkdir()
    (here / "own_folder" / "dotted.py").write_text("raise RuntimeError('imported')")
    for name in ("own_and_plain", "own_folder.dotted"):
        with pytest.raises(UsageError, match=f"Unknown dataset '{name}'"):
            open_dataset(name, own_modules=False)
