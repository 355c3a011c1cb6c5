"""Which pictures of a dataset train, and which validate."""

from __future__ import annotations

from bopkit.data import Dataset
from bopkit.data.dataset import names_in
from bopkit.data.splits import USUAL_TRAINING_SPLIT
from bopkit.errors import UsageError
from bopkit.training.options import TrainOptions


def choose_splits(data: Dataset, options: TrainOptions) -> tuple[str, str]:
    """Training and validation split: those that are named, else `train` and a tenth of it or what is for validation.

    That is the dataset's validation split, or where it has none the test split.

    Raises:
        UsageError: There is no such split, two splits share pictures, or early stopping would look at the test split.
    """
    train = options.train_split or USUAL_TRAINING_SPLIT
    if options.train_split is None and data.split_names and train not in data.split_names:
        raise UsageError(
            f"Dataset {data.name} has no split {train!r}. It has {_listed(data)}.", f"Add {_advice(data, options)}."
        )
    data.count(train)  # a wrong name is told before what follows from it
    is_whole = names_in(train) == [train]
    if options.validationset:
        if not is_whole:
            raise UsageError(
                f"--validationset keeps a tenth of a whole split, and {train!r} is not one.",
                "Name the pictures for validation with --validation-split.",
            )
        return f"{train}[:90%]", f"{train}[90%:]"
    validation = options.validation_split or data.validation_split or data.test_split
    if not validation:
        others = [name for name in data.split_names if name not in names_in(train) and data.count(name)]
        ways = ["--validationset to keep a tenth of the training split for validation"] if is_whole else []
        ways += [f"--validation-split {others[0]}"] if others else []
        raise UsageError(
            f"Dataset {data.name} has neither a test nor a validation split.",
            f"Add {' or '.join(ways) or '--validation-split with a slice that is not trained on'}.",
        )
    if data.share_pictures(train, validation):
        raise UsageError(
            f"Splits {train} and {validation} of dataset {data.name} share pictures: validation would be on pictures "
            "that were trained on.",
            f"Add for instance --train-split '{names_in(train)[0]}[:90%]' --validation-split "
            f"'{names_in(train)[0]}[90%:]'.",
        )
    if options.early_stop is not None and is_of_test_split(data, validation):
        if not is_whole:
            hint = "Name other pictures for that with --validation-split."
        elif options.validation_split:
            hint = "Type --validationset in place of --validation-split, or name another split there."
        else:
            hint = "Add --validationset to keep a tenth of the training split for that."
        raise UsageError("--early-stop would choose the epoch by the pictures that the accuracy is measured on.", hint)
    return train, validation


def is_of_test_split(data: Dataset, split: str) -> bool:
    """Whether a split takes pictures from the dataset's test split, on which the accuracy is measured later."""
    return data.test_split in names_in(split)


def _listed(data: Dataset) -> str:
    *others, last = (f"{name} ({data.count(name)} pictures)" for name in data.split_names)
    return f"{', '.join(others)} and {last}" if others else last


def _advice(data: Dataset, options: TrainOptions) -> str:
    """Options that name the largest split for training and, where nothing else says it, the next for validation."""
    names = sorted(data.split_names, key=data.count, reverse=True)
    taken = names_in(options.validation_split) if options.validation_split else [data.test_split]
    train = next((name for name in names if name not in taken), names[0])
    if options.validationset or options.validation_split or data.test_split not in ("", train):
        return f"--train-split {train}"
    others = [name for name in names if name != train and data.count(name)]
    return f"--train-split {train} " + (f"--validation-split {others[0]}" if others else "--validationset")
