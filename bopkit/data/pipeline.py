"""Batches for training and evaluation, as `tf.data` pipelines.

In: scalar strings or uint8 [h, w, c] with int64 labels. Out: float32 [batch, H, W, C] in the preprocessing's value
range, int64 [batch]. The order of a training epoch depends on seed and epoch only, an augmentation on seed, epoch
and the picture's index: a resumed run sees what the uninterrupted one would have seen.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bopkit.data.dataset import Dataset
from bopkit.data.preprocessing import Preprocessing
from bopkit.keras2 import import_tensorflow

SHUFFLE_PICTURES = 50_000
"""Pictures held for shuffling: all of CIFAR-10; about 5 GB of ImageNet's JPEG files."""


def training_batches(
    dataset: Dataset,
    split: str,
    preprocessing: Preprocessing,
    *,
    batch_size: int,
    steps_per_epoch: int,
    seed: int,
    first_epoch: int,
    epochs: int,
    cache: str | None = None,
) -> Any:
    """Batches of the epochs `first_epoch` to `epochs - 1`, one after the other.

    Args:
        dataset: An opened dataset.
        split: For instance `train[:90%]`.
        preprocessing: Its `train` makes the network's input.
        batch_size: Pictures a batch; an incomplete last batch of an epoch is left out.
        steps_per_epoch: Batches an epoch.
        seed: Seeds order and augmentation.
        first_epoch: Epochs that are already trained.
        epochs: Epochs of the whole run.
        cache: `memory`, or a folder, to keep the encoded pictures in.

    Returns:
        A `tf.data.Dataset` of (float32 [batch_size, H, W, C], int64 [batch_size]).
    """
    tf = import_tensorflow()
    pictures = dataset.read(split)
    if cache == "memory":
        pictures = pictures.cache()
    elif cache:
        Path(cache).mkdir(parents=True, exist_ok=True)
        pictures = pictures.cache(str(Path(cache) / f"{dataset.name}-{split}".translate(_FILE_NAME)))
    pictures = pictures.enumerate()
    buffer_size = min(dataset.count(split), SHUFFLE_PICTURES)

    def one_epoch(epoch: Any) -> Any:
        def augment(index: Any, picture: tuple[Any, Any]) -> tuple[Any, Any]:
            image, label = picture
            return preprocessing.train(image, tf.random.fold_in(tf.stack([seed, epoch]), index)), label

        shuffled = pictures.shuffle(buffer_size, seed=seed + epoch, reshuffle_each_iteration=False)
        batches = shuffled.map(augment, num_parallel_calls=tf.data.AUTOTUNE).batch(batch_size, drop_remainder=True)
        return batches.take(steps_per_epoch)

    return tf.data.Dataset.range(first_epoch, epochs).flat_map(one_epoch).prefetch(tf.data.AUTOTUNE)


_FILE_NAME = str.maketrans({"[": "_", "]": "", ":": "_", "%": ""})


def evaluation_batches(
    dataset: Dataset, split: str, preprocessing: Preprocessing, batch_size: int, limit: int | None = None
) -> Any:
    """Batches of a split in its own order, the incomplete last one included.

    Args:
        dataset: An opened dataset.
        split: For instance `test`.
        preprocessing: Its `evaluate` makes the network's input.
        batch_size: Pictures a batch.
        limit: Stop after that many pictures.

    Returns:
        A `tf.data.Dataset` of (float32 [n, H, W, C], int64 [n]).
    """
    tf = import_tensorflow()
    pictures = dataset.read(split)
    if limit is not None:
        pictures = pictures.take(limit)
    inputs = pictures.map(
        lambda image, label: (preprocessing.evaluate(image), label), num_parallel_calls=tf.data.AUTOTUNE
    )
    return inputs.batch(batch_size).prefetch(tf.data.AUTOTUNE)
