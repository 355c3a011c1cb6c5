"""Which pictures train and which validate, by the names that a dataset's splits have."""

import re

import pytest

from bopkit.artifacts.card import ModelCard
from bopkit.data import Dataset, DatasetFacts
from bopkit.data.splits import last_tenth, measuring_split, training_split
from bopkit.errors import UsageError
from bopkit.training import TrainOptions
from bopkit.training.opening_lines import _line_on_seen_figures
from bopkit.training.splits import choose_splits


class Named(Dataset):
    """A dataset that has splits of some numbers of pictures, and no pictures."""

    def __init__(self, pictures, test_split="", **facts):
        super().__init__(DatasetFacts("named", 2, (8, 8, 1), "resize", test_split, pictures, **facts), "ab")

    def count(self, split):
        return sum(end - begin for _, begin, end in self.slices(split))

    def read(self, split):
        raise AssertionError("not read here")


USUAL = Named({"train": 100, "test": 20}, "test")
OTHERS = Named({"holdout": 10, "training": 50, "empty": 0})


def chosen(data, **options):
    return choose_splits(data, TrainOptions(model="tiny", dataset="named", **options))


def test_splits_are_those_that_are_named_else_the_usual_ones():
    assert chosen(USUAL) == ("train", "test")
    assert chosen(USUAL, validationset=True) == ("train[:90%]", "train[90%:]")
    assert chosen(OTHERS, train_split="training", validation_split="holdout") == ("training", "holdout")
    assert chosen(OTHERS, train_split="training", validationset=True) == ("training[:90%]", "training[90%:]")
    assert chosen(USUAL, train_split="train[:80]", validation_split="train[80%:]") == ("train[:80]", "train[80%:]")


TRAINING = {"train_split": "training"}


@pytest.mark.parametrize(
    ("data", "options", "hint", "added"),
    [
        (
            OTHERS,
            {},
            "Add --train-split training --validation-split holdout.",
            {**TRAINING, "validation_split": "holdout"},
        ),
        (OTHERS, {"validationset": True}, "Add --train-split training.", TRAINING),
        (OTHERS, {"validation_split": "holdout"}, "Add --train-split training.", TRAINING),
        (OTHERS, {"validation_split": "training[:9]"}, "Add --train-split holdout.", {"train_split": "holdout"}),
        (OTHERS, TRAINING, "Add --validationset .* or --validation-split holdout.", {"validation_split": "holdout"}),
        (OTHERS, TRAINING, "Add --validationset to keep a tenth", {"validationset": True}),
        (
            Named({"all_of_it": 10}),
            {},
            "Add --train-split all_of_it --validationset.",
            {"train_split": "all_of_it", "validationset": True},
        ),
        (Named({"fit": 9, "test": 12}, "test"), {}, "Add --train-split fit.", {"train_split": "fit"}),
        (
            USUAL,
            {"validation_split": "train[80%:]"},
            "--train-split 'train[:90%]' --validation-split 'train[90%:]'",
            {"train_split": "train[:90%]", "validation_split": "train[90%:]"},
        ),
    ],
)
def test_the_first_hint_is_one_that_works(data, options, hint, added):
    with pytest.raises(UsageError) as error:
        chosen(data, **options)
    assert re.search(hint if ".*" in hint else re.escape(hint), error.value.hint)
    train, validation = chosen(data, **{**options, **added})
    assert data.count(train) and data.count(validation)


@pytest.mark.parametrize(
    ("train", "validation", "share"),
    [
        ("train", "train", True),
        ("train[:50%]", "train[40%:]", True),
        ("train[:50]", "train[49:60]+test", True),
        ("train[:50]", "train[-50:]", False),
        ("train[:50]", "train[-51:]", True),
        ("train[:90%]", "train[90%:]+test", False),
    ],
)
def test_pictures_that_train_do_not_validate(train, validation, share):
    assert USUAL.share_pictures(train, validation) is share
    if share:
        with pytest.raises(UsageError, match="share pictures: validation would be on pictures that were trained on"):
            chosen(USUAL, train_split=train, validation_split=validation)


def test_validation_pictures_are_named_once_and_kept_from_the_test():
    with pytest.raises(UsageError, match="both choose the pictures for validation"):
        chosen(USUAL, validationset=True, validation_split="test")
    with pytest.raises(UsageError, match="keeps a tenth of a whole split, and 'train\\[:50%\\]' is not one"):
        chosen(USUAL, train_split="train[:50%]", validationset=True)
    with pytest.raises(UsageError, match="--early-stop would .*Type --validationset in place of --validation-split"):
        chosen(USUAL, validation_split="test[:50%]", early_stop=3)
    assert chosen(OTHERS, train_split="training", validation_split="holdout", early_stop=3)
    with pytest.raises(UsageError, match="Add --validationset to keep a tenth"):
        chosen(USUAL, early_stop=3)
    three = Named({"train": 100, "validation": 10, "test": 20}, "test", validation_split="validation")
    assert chosen(three, early_stop=3) == ("train", "validation")


def test_no_tenth_of_a_slice_is_advised():
    part = "train[:80%]"
    for data, options in (
        (USUAL, {"early_stop": 3}),
        (USUAL, {"early_stop": 3, "validation_split": "test"}),
        (Named({"train": 100}), {}),
    ):
        with pytest.raises(UsageError, match="--validation-split") as refused:
            chosen(data, train_split=part, **options)
        assert "--validationset" not in refused.value.hint


def test_a_network_is_measured_on_the_test_split_else_where_it_was_validated():
    card = ModelCard("", (8, 8, 1), (0, 1), "resize", "named", trained_on="training[:80%]", evaluated_on="holdout")
    assert (training_split(OTHERS, card), measuring_split(OTHERS, card)) == ("training[:80%]", "holdout")
    assert measuring_split(USUAL, card) == "test"
    assert (training_split(OTHERS), measuring_split(OTHERS)) == ("training", "")
    assert training_split(USUAL) == training_split(Named({})) == "train"
    assert last_tenth(OTHERS, card) == "training[90%:]"


def test_the_option_that_keeps_other_pictures_fits_what_was_typed():
    """`--validationset` is refused beside `--validation-split` and beside a slice to train on."""
    plain = TrainOptions(model="binarynet", dataset="digits")
    assert "(--validationset keeps a tenth" in _line_on_seen_figures("test", plain)
    chosen = TrainOptions(model="binarynet", dataset="digits", validation_split="test")
    assert _line_on_seen_figures("test", chosen).endswith("(--validation-split names others)")
