import dataclasses
import json

import pytest

from bopkit.artifacts.card import ModelCard

CARD = ModelCard(
    architecture="binarynet",
    input_shape=(32, 32, 3),
    value_range=(-1.0, 1.0),
    preprocessing="resize_and_flip",
    class_names=("cat", "dog"),
    hparams={"epochs": 3, "gamma_end": None},
    accuracy={"val_top1": 0.5},
)


def test_round_trip():
    assert ModelCard.from_json(CARD.to_json()) == CARD


def test_class_names_that_are_numbers_become_text():
    """Labels of a table often are; files of others hold them as JSON numbers."""
    assert dataclasses.replace(CARD, class_names=(0, 1)).class_names == ("0", "1")
    text = CARD.to_json().replace('["cat", "dog"]', "[0, 1.5]")
    assert ModelCard.from_json(text).class_names == ("0", "1.5")


def test_keys_of_a_later_version_are_ignored():
    later = {**dataclasses.asdict(CARD), "invented_later": 1}
    assert ModelCard.from_json(json.dumps(later)) == CARD


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '"card"',
        CARD.to_json()[:-5],
        CARD.to_json().replace("[32, 32, 3]", '["a", 1, 2]'),
        CARD.to_json().replace("[32, 32, 3]", "[32, 32]"),
    ],
)
def test_what_is_no_card_is_a_value_error(text):
    with pytest.raises(ValueError):
        ModelCard.from_json(text)
