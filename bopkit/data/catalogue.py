"""The datasets that bopkit knows by name, as plain facts: listing them imports nothing.

Any other TFDS builder with `image` and `label` works too; its facts are then read from the builder.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Collection, Sequence

from bopkit.data.preprocessing import IMAGENET_INPUT, SMALL_PICTURE_PX


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
        validation_split: The split for validation while training, beside the test split; empty if there is none.
    """

    name: str
    classes: int
    input_shape: tuple[int, int, int]
    default_preprocessing: str
    test_split: str
    pictures: dict[str, int] = dataclasses.field(default_factory=dict)
    source: str = "TFDS"
    validation_split: str = ""


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


OWN_SOURCE = "the user's own files"
INPUT_STEP_PX = 32
"""In which the input of a network for pictures of many sizes grows with them."""


def list_datasets() -> list[DatasetFacts]:
    """The datasets that bopkit knows by name."""
    return list(_KNOWN)


def facts_of_own_pictures(
    name: str, sizes_px: Sequence[tuple[int, int]], channels: int, classes: int, splits: dict[str, int]
) -> DatasetFacts:
    """Sensible facts for the user's own pictures, which keep their aspect.

    Small ones of one size keep it, and are shifted, not mirrored: a mirrored letter is another one. Of others a window
    of the median of their shorter sides is taken, up to ImageNet's 224 pixels, in steps of 32.

    Args:
        name: Of the dataset.
        sizes_px: Heights and widths that there are.
        channels: 1 to 4; a second or fourth channel is transparency, which no network sees.
        classes: Number of classes.
        splits: Pictures by split.
    """
    test_split = _test_split(splits)
    if len(set(sizes_px)) == 1 and max(sizes_px[0]) <= SMALL_PICTURE_PX:
        size, preprocessing = sizes_px[0], "pad"
    else:
        median_px = int(statistics.median(min(size) for size in sizes_px))
        side = min(max(median_px // INPUT_STEP_PX * INPUT_STEP_PX, INPUT_STEP_PX), IMAGENET_INPUT[0])
        size, preprocessing = (side, side), "crop_and_flip"
    return DatasetFacts(
        name,
        classes,
        (*size, _seen_channels(channels)),
        preprocessing,
        test_split,
        splits,
        source=OWN_SOURCE,
        validation_split="validation" if "validation" in splits and test_split != "validation" else "",
    )


def _seen_channels(channels: int) -> int:
    """Channels without the one of transparency, the second or the fourth."""
    return {2: 1, 4: 3}.get(channels, channels)


def _test_split(splits: Collection[str]) -> str:
    """The split that training should not see, of those that there are; empty where there is none."""
    return next((split for split in ("test", "validation") if split in splits), "")


def facts_of_pictures(
    name: str, shape: tuple[int | None, int | None, int | None], classes: int, splits: dict[str, int]
) -> DatasetFacts:
    """Sensible facts for a dataset outside the catalogue, from the shape of its pictures.

    Small pictures keep their size and are shifted, not mirrored: a mirrored digit or letter is another one.
    Large ones, and those of many sizes, are treated as ImageNet's. A second or fourth channel is transparency, which no
    network sees.
    """
    height, width, channels = shape
    channels = _seen_channels(channels or 3)
    if height and width and max(height, width) <= SMALL_PICTURE_PX:
        input_shape, preprocessing = (height, width, channels), "shift"
    else:
        input_shape, preprocessing = IMAGENET_INPUT, "imagenet"
    return DatasetFacts(name, classes, input_shape, preprocessing, _test_split(splits), splits)
