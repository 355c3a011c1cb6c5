"""`bopkit data check`: what it counts, measures and finds."""

import json

import numpy as np
import pytest
from command_line import failed, forked, succeeded
from PIL import Image

from bopkit.data import open_dataset
from bopkit.data.check import check_dataset

GENERATOR = np.random.default_rng(0)


def write(path, size=(9, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(GENERATOR.integers(0, 256, (*size, 3), np.uint8)).save(path)


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Folders of splits: 3 + 2 training, 1 + 1 test pictures, of two sizes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ".cache"))
    for name in ("train/a/1", "train/a/2", "train/a/3", "train/b/1", "train/b/2", "test/a/1", "test/b/1"):
        write(tmp_path / "photos" / f"{name}.png", (9, 8) if name[:5] == "train" else (20, 30))
    return tmp_path / "photos"


def test_figures_are_those_of_the_pixels(photos):
    found = check_dataset("folder:photos")
    assert found.pictures == {"train": (3, 2), "test": (1, 1)}
    assert found.sizes_px == ((9, 8), (9, 8), (20, 30))
    pixels = np.concatenate([np.array(Image.open(path)).reshape(-1, 3) for path in photos.rglob("*.png")])
    np.testing.assert_allclose(found.mean, pixels.mean(0))
    np.testing.assert_allclose(found.deviation, pixels.std(0))
    assert (found.damaged, found.same) == ({}, ())
    digits = check_dataset("digits")
    labels = open_dataset("digits").arrays("test")[1]
    assert digits.pictures["test"] == tuple(np.bincount(labels)) and digits.sizes_px == ((8, 8),) * 3
    assert len(digits.mean) == 1


def test_the_same_pictures_and_damaged_ones_are_named(photos):
    (photos / "train/b/same.png").write_bytes((photos / "train/b/1.png").read_bytes())
    (photos / "test/a/leak.png").write_bytes((photos / "train/a/2.png").read_bytes())
    (photos / "train/a/cut.png").write_bytes((photos / "train/a/2.png").read_bytes()[:-20])
    found = check_dataset("folder:photos")
    assert sorted(map(sorted, found.same)) == [
        ["test: test/a/leak.png", "train: train/a/2.png"],
        ["train: train/b/1.png", "train: train/b/same.png"],
    ]
    assert [sorted(group) for group in found.shared] == [["test: test/a/leak.png", "train: train/a/2.png"]]
    assert found.damaged == {"train/a/cut.png": "is damaged"}
    answer = forked("data", "check", "folder:photos")
    assert failed(answer).endswith(
        "1 picture of folder:photos cannot be used. Repair or remove them, or train with --skip-damaged."
    )
    assert "same picture in several splits: " in answer.stderr and "cannot be used: train/a/cut.png" in answer.stderr
    (photos / "train/a/cut.png").unlink()
    table = succeeded(forked("data", "check", "folder:photos")).splitlines()
    assert [line.split() for line in table[:3]] == [["class", "train", "test"], ["a", "3", "2"], ["b", "3", "1"]]
    assert "pictures: train 6, test 3" in table
    assert json.loads(succeeded(forked("data", "check", "folder:photos", "--json")))["pictures"]["test"] == [2, 1]
