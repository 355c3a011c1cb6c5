"""A check of a dataset: pictures by class and split, their sizes, which are damaged, and which are the same."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from bopkit.data.dataset import Dataset, readable
from bopkit.data.decoding import decode
from bopkit.data.opening import open_dataset
from bopkit.data.own.listed import ListedPictures
from bopkit.data.own.naming import KINDS_OF_FILES, parse_own_name, skipping_damaged
from bopkit.keras2 import import_tensorflow
from bopkit.picture_meter import PictureMeter
from bopkit.progress import Progress, silent
from bopkit.tabular import Column, Tabular


@dataclasses.dataclass(frozen=True, repr=False)
class DatasetCheck(Tabular):
    """What `check_dataset` found.

    Attributes:
        dataset: Its name.
        class_names: In the order of the labels.
        pictures: Pictures of each class, by split.
        sizes_px: Smallest, median and largest height and width, each as (height, width) by its area.
        mean: Of the pixels, 0 to 255, of each channel.
        deviation: Standard deviation of the pixels, of each channel.
        damaged: Why a picture cannot be used, by its path.
        same: Pictures that have the same bytes, each group as `split: picture`.
        input_shape: What the default preprocessing makes.
        preprocessing: Its name.
    """

    dataset: str
    class_names: tuple[str, ...]
    pictures: dict[str, tuple[int, ...]]
    sizes_px: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    damaged: dict[str, str]
    same: tuple[tuple[str, ...], ...]
    input_shape: tuple[int, int, int]
    preprocessing: str

    @property
    def shared(self) -> tuple[tuple[str, ...], ...]:
        """The groups of `same` whose pictures are in several splits."""
        return tuple(group for group in self.same if len({each.partition(": ")[0] for each in group}) > 1)

    @property
    def _columns(self) -> tuple[Column, ...]:  # type: ignore[override]
        return Column("class", "class_name"), *(Column(split, split, "{:,}".format) for split in self.pictures)

    def _title(self) -> str:
        return self.dataset

    def _records(self) -> list[dict[str, Any]]:
        return [
            {"class_name": name, **{split: counts[label] for split, counts in self.pictures.items()}}
            for label, name in enumerate(self.class_names)
        ]


def check_dataset(name: str, data_dir: str | Path | None = None, progress: Progress | None = None) -> DatasetCheck:
    """Read and decode every picture of a dataset.

    Args:
        name: As for `open_dataset`; of picture files those that cannot be used are listed.
        data_dir: Where TFDS keeps prepared datasets; None for its default.
        progress: Called with one line every few seconds.

    Raises:
        UsageError: There is no such dataset.
        BopkitError: It cannot be read.
    """
    say = progress or silent
    own = parse_own_name(name)
    dataset = open_dataset(
        skipping_damaged(name) if own and own.kind in KINDS_OF_FILES else name, data_dir, progress=say
    )
    classes, channels = len(dataset.class_names), dataset.input_shape[2]
    pictures, sizes = {}, collections.Counter[tuple[int, int]]()
    places: dict[bytes, list[str]] = collections.defaultdict(list)
    pixels, sums, squares = 0, np.zeros(channels), np.zeros(channels)
    total = sum(map(dataset.count, dataset.split_names))
    meter = PictureMeter(total, total, say)
    meter.begin()
    for split in dataset.split_names:
        counts = np.zeros(classes, np.int64)
        numbered = enumerate(readable(_measured(dataset, split, channels), dataset, split))
        names = dataset.paths(split) if isinstance(dataset, ListedPictures) else None
        for place, (image, label, size, of_channels) in numbered:
            label = int(label)
            if 0 <= label < classes:  # others have no label
                counts[label] += 1
            height, width = map(int, size)
            sizes[height, width] += 1
            pixels += height * width
            sums, squares = sums + of_channels[0], squares + of_channels[1]
            content = image if isinstance(image, bytes) else image.tobytes()
            picture = f"picture {place:,}" if names is None else os.fsdecode(names[place])
            places[hashlib.sha256(content).digest()].append(f"{split}: {picture}")
            meter.count(1)
        pictures[split] = tuple(counts.tolist())
    mean = sums / max(pixels, 1)
    deviation = np.sqrt(np.maximum(squares / max(pixels, 1) - mean**2, 0))
    return DatasetCheck(
        dataset=dataset.name,
        class_names=dataset.class_names,
        pictures=pictures,
        sizes_px=_extremes(sizes),
        mean=tuple(mean.tolist()),
        deviation=tuple(deviation.tolist()),
        damaged=dict(dataset.left_out) if isinstance(dataset, ListedPictures) else {},
        same=tuple(tuple(group) for group in places.values() if len(group) > 1),
        input_shape=dataset.input_shape,
        preprocessing=dataset.default_preprocessing,
    )


def _measured(dataset: Dataset, split: str, channels: int) -> Any:
    """Each picture as it is stored, its label, height and width, and sums of its pixels and their squares."""
    tf = import_tensorflow()

    @tf.autograph.experimental.do_not_convert
    def measure(image: Any, label: Any) -> tuple[Any, ...]:
        pixels = tf.cast(decode(image, channels), tf.float64)
        sums = tf.stack([tf.reduce_sum(each, [0, 1]) for each in (pixels, pixels**2)])
        return image, label, tf.shape(pixels)[:2], sums

    return dataset.read(split).map(measure, tf.data.AUTOTUNE).prefetch(2).as_numpy_iterator()


def _extremes(
    sizes: collections.Counter[tuple[int, int]],
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Smallest, median and largest size by area; zeros where there is no picture."""
    ordered = sorted(sizes, key=lambda size: (math.prod(size), size))
    if not ordered:
        return (0, 0), (0, 0), (0, 0)
    middle = (sum(sizes.values()) + 1) // 2
    for size in ordered:
        middle -= sizes[size]
        if middle <= 0:
            return ordered[0], size, ordered[-1]
    raise AssertionError("unreachable")
