"""Datasets of the user's own: modules in the working folder, and what is said of paths."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from bopkit.data import open_dataset
from bopkit.errors import BopkitError, UsageError

DOCS = Path(__file__).parents[3] / "docs" / "training.md"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty working folder, which `sys.path` lacks as it does in the command line."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [each for each in sys.path if each])
    return tmp_path


def test_the_module_of_the_docs_opens_arrays(here):
    (here / "my_scans.py").write_text(re.search(r"```python\n(import numpy .*?)```", DOCS.read_text(), re.DOTALL)[1])
    (here / "scans").mkdir()
    pictures, labels = np.arange(120 * 4 * 4).reshape(120, 4, 4).astype(np.uint8), np.arange(120) % 3
    np.save("scans/scans.npy", pictures)
    np.save("scans/labels.npy", labels)
    data = open_dataset("my_scans", "scans")
    assert (data.name, data.class_names, data.test_split) == ("my_scans", ("0", "1", "2"), "test")
    assert (data.count("train"), data.count("train[:90%]"), data.count("train[90%:]"), data.count("test")) == (
        20,
        18,
        2,
        100,
    )
    image, label = next(data.read("train").as_numpy_iterator())
    np.testing.assert_array_equal(image[..., 0], pictures[100])
    assert label == labels[100]
    with pytest.raises(
        UsageError, match=re.escape("no split 'val'. Known: train, test, and slices such as train[:90%].")
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
        with pytest.raises(UsageError, match=f"The model card names the dataset '{name}', which neither"):
            open_dataset(name, own_modules=False)
