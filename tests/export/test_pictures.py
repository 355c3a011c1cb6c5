"""The pictures of the checks: what a card may choose, and what is said about the choice."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bopkit.artifacts.card import ModelCard
from bopkit.artifacts.keras_file import save_model
from bopkit.data import open_dataset
from bopkit.errors import UsageError
from bopkit.export import ExportOptions, export_model, pictures
from bopkit.export.reference import _accuracy_of_card

CARD = ModelCard("test", (8, 8, 1), (-1.0, 1.0), "resize")
PHOTOGRAPHS = "crops of scikit-learn's two bundled photographs"


def of_card(name: str) -> pictures.Pictures:
    return pictures.real_pictures((8, 8, 1), dataclasses.replace(CARD, dataset=name), None, None, 4)


@pytest.mark.parametrize("name", ["hostile.data", "hostile", "community:hostile", "/hostile", "digits\n", "Digits"])
def test_a_card_imports_no_module(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hostile").mkdir()
    for module in ("__init__", "data"):
        (tmp_path / "hostile" / f"{module}.py").write_text(f"raise SystemExit({module!r})")
    monkeypatch.chdir(tmp_path)
    chosen = of_card(name)
    assert chosen.source == PHOTOGRAPHS and "hostile" not in sys.modules
    if name != "hostile":  # a plain name is looked up in TFDS, which does not have it
        assert f"names the dataset {name!r}" in chosen.note and "--dataset" in chosen.note


def test_a_user_may_name_the_same_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_package").mkdir()
    (tmp_path / "own_package" / "data.py").write_text("from bopkit.data.digits import open_dataset")
    monkeypatch.chdir(tmp_path)
    chosen = pictures.real_pictures((8, 8, 1), CARD, "own_package.data", None, 4)
    assert chosen.source == "digits test split" and not chosen.note


@pytest.mark.parametrize(
    ("name", "stock"),
    [("digits", True), ("imagenet2012", True), ("cats_vs_dogs/config_1", True), ("", False), ("a/b/c", False)],
)
def test_names_that_open_stock_datasets(name: str, stock: bool) -> None:
    assert dataclasses.replace(CARD, dataset=name).names_stock_dataset is stock


@pytest.mark.integration
def test_the_report_says_why_a_dataset_was_not_used(
    small_network: Any, make_card: Callable[..., Any], tmp_path: Path
) -> None:
    save_model(small_network, make_card(dataset="cifar10"), tmp_path / "net.h5")
    report = export_model(
        tmp_path / "net.h5", options=ExportOptions(tflite=False, data_dir=tmp_path / "empty", pictures=2)
    )
    (why,) = [note for note in report.notes if "cifar10" in note]
    assert "was not used" in why and "is not prepared" in why


def test_without_a_test_split_the_last_tenth_of_training_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    digits = open_dataset("digits")
    tenth = pictures.real_pictures((8, 8, 1), CARD, "digits", None, 1000)
    assert len(tenth.images) == digits.count("test") and not tenth.note
    digits.facts = dataclasses.replace(digits.facts, test_split="")
    monkeypatch.setattr(pictures, "open_dataset", lambda name, data_dir: digits)
    tenth = pictures.real_pictures((8, 8, 1), CARD, "digits", None, 1000)
    assert len(tenth.images) == digits.count("train[90%:]")
    assert tenth.source == "digits train[90%:] split" and "no test split" in tenth.note


def test_an_empty_split_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    digits = open_dataset("digits")
    monkeypatch.setattr(digits, "count", lambda split: 0)
    monkeypatch.setattr(pictures, "open_dataset", lambda name, data_dir: digits)
    with pytest.raises(UsageError, match="is empty"):
        pictures.real_pictures((8, 8, 1), CARD, "digits", None, 4)


def test_photographs_are_the_same_at_each_call() -> None:
    crops = pictures.photograph_crops((8, 6, 4), (-2.0, 3.0), 3)
    assert crops.shape == (3, 8, 6, 4) and crops.min() >= -2 and crops.max() <= 3
    np.testing.assert_array_equal(crops, pictures.photograph_crops((8, 6, 4), (-2.0, 3.0), 3))


def test_labels_of_other_classes_measure_no_accuracy(make_card: Callable[..., Any]) -> None:
    same, other = (
        pictures.real_pictures((8, 8, 1), make_card(input_shape=(8, 8, 1), class_names=names), "digits", None, 4)
        for names in (tuple("0123456789"), tuple("abcdefghij"))
    )
    assert same.labels is not None and not same.note
    assert other.labels is None and "classes of dataset digits are not those of the network" in other.note


def test_the_accuracy_of_the_card_is_said_beside_that_of_fewer_pictures(make_card: Callable[..., Any]) -> None:
    measured = {"accuracy": {"val_top1": 0.9}, "evaluated_on": "test", "evaluated_pictures": 200}
    card = make_card(dataset="digits", **measured)
    shown = pictures.Pictures("digits test split", True, (), labels=np.zeros(16, np.int64))
    assert _accuracy_of_card(card, shown) == (
        "The card's top-1 is 90.00 %, on 200 pictures of that split: --pictures 200 checks with as many."
    )
    for other in (
        dataclasses.replace(shown, labels=np.zeros(200, np.int64)),
        dataclasses.replace(shown, labels=None),
        dataclasses.replace(shown, source="digits train[90%:] split"),
    ):
        assert _accuracy_of_card(card, other) == ""
    assert _accuracy_of_card(None, shown) == _accuracy_of_card(dataclasses.replace(card, accuracy={}), shown) == ""
