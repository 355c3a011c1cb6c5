"""The datasets that bopkit knows by name, as plain facts: listing them imports nothing.

Any other TFDS builder with `image` and `label` works too; its facts are then read from the builder.
"""

from __future__ import annotations

import dataclasses

from bopkit.data.preprocessing import SMALL_PICTURE_PX


@dataclasses.dataclass(frozen=True)
class DatasetFacts:
    """What bopkit needs to know of a dataset before it reads it.

    Attributes:
        name: The name of the TFDS builder, or `digits`.
        classes: Number of classes.
        input_shape: Height, width, channels that the default preprocessing makes of a picture.
        default_preprocessing: Name of the preprocessing that `default` stands for.
        test_split: The split with labels that no training should see; empty if there is none.
        pictures: Number of pictures of the original dataset, by split.
        source: Where the pictures come from.
    """

    name: str
    classes: int
    input_shape: tuple[int, int, int]
    default_preprocessing: str
    test_split: str
    pictures: dict[str, int] = dataclasses.field(default_factory=dict)
    source: str = "TFDS"


_KNOWN = (
    DatasetFacts(
        name="digits",
        classes=10,
        input_shape=(32, 32, 1),
        default_preprocessing="shift",
        test_split="test",
        pictures={"train": 1433, "test": 364},
        source="embedded: scikit-learn's handwritten digits, no download",
    ),
    DatasetFacts("cifar10", 10, (32, 32, 3), "resize_and_flip", "test", {"train": 50_000, "test": 10_000}),
    DatasetFacts("cifar100", 100, (32, 32, 3), "resize_and_flip", "test", {"train": 50_000, "test": 10_000}),
    DatasetFacts("mnist", 10, (28, 28, 1), "shift", "test", {"train": 60_000, "test": 10_000}),
    DatasetFacts("fashion_mnist", 10, (28, 28, 1), "resize_and_flip", "test", {"train": 60_000, "test": 10_000}),
    DatasetFacts(
        name="imagenet2012",
        classes=1000,
        input_shape=(224, 224, 3),
        default_preprocessing="imagenet",
        test_split="validation",  # its test split has no labels
        pictures={"train": 1_281_167, "validation": 50_000},
        source="TFDS, from the two ILSVRC2012 tar files",
    ),
)
DATASETS = {facts.name: facts for facts in _KNOWN}


TEST_SPLITS, VALIDATION_SPLITS = ("test", "testing"), ("validation", "val", "valid")
"""Names of splits that training should not see, of datasets outside the catalogue."""


def list_datasets() -> list[DatasetFacts]:
    """The datasets that bopkit knows by name."""
    return list(_KNOWN)


def facts_of_pictures(
    name: str, shape: tuple[int | None, int | None, int | None], classes: int, splits: dict[str, int]
) -> DatasetFacts:
    """Sensible facts for a dataset outside the catalogue, from the shape of its pictures.

    Small pictures keep their size and are shifted, not mirrored: a mirrored digit or letter is another one.
    Large ones, and those of many sizes, are treated as ImageNet's. A second or fourth channel is transparency, which no
    network sees.
    """
    height, width, channels = shape
    channels = {2: 1, 4: 3}.get(channels or 3, channels)
    if height and width and max(height, width) <= SMALL_PICTURE_PX:
        input_shape, preprocessing = (height, width, channels or 3), "shift"
    else:
        input_shape, preprocessing = (224, 224, 3), "imagenet"
    test_split = next((split for split in (*TEST_SPLITS, *VALIDATION_SPLITS) if split in splits), "")
    return DatasetFacts(name, classes, input_shape, preprocessing, test_split, splits)
