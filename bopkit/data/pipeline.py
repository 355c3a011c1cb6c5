"""Batches for training and evaluation, as `tf.data` pipelines.

In: scalar strings or uint8 [h, w, c] with int64 labels. Out: float32 [batch, H, W, C] in the preprocessing's value
range, int64 [batch]. The order of a training epoch depends on seed and epoch only, an augmentation on seed, epoch
and the picture's index: a resumed run sees what the uninterrupted one would have seen.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from bopkit import files
from bopkit.data.dataset import Dataset
from bopkit.data.preprocessing import Preprocessing
from bopkit.keras2 import import_tensorflow
from bopkit.progress import Progress, silent

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
    progress: Progress = silent,
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
        progress: Called with one line before a folder is filled.

    Returns:
        A `tf.data.Dataset` of (float32 [batch_size, H, W, C], int64 [batch_size]).
    """
    tf = import_tensorflow()
    pictures = dataset.read(split)
    if cache == "memory":
        pictures = pictures.cache()
    elif cache:
        pictures = _cached_in(Path(cache), dataset, split, progress)
    pictures = pictures.enumerate()
    buffer_size = min(dataset.count(split), SHUFFLE_PICTURES)

    def one_epoch(epoch: Any) -> Any:
        def augment(index: Any, picture: tuple[Any, Any]) -> tuple[Any, Any]:
            image, label = picture
            return preprocessing.train(image, tf.random.fold_in(tf.stack([seed, epoch]), index)), label

        # Not seed + epoch: epoch 1 of one seed would have the order of epoch 0 of the next.
        order = tf.random.stateless_uniform([], tf.stack([seed, epoch]), 1, tf.int64.max, tf.int64)
        shuffled = pictures.shuffle(buffer_size, seed=order, reshuffle_each_iteration=False)
        batches = shuffled.map(augment, num_parallel_calls=tf.data.AUTOTUNE).batch(batch_size, drop_remainder=True)
        return batches.take(steps_per_epoch)

    return tf.data.Dataset.range(first_epoch, epochs).flat_map(one_epoch).prefetch(tf.data.AUTOTUNE)


def _cached_in(folder: Path, dataset: Dataset, split: str, progress: Progress) -> Any:
    """The pictures of a split from a copy in `folder`, which is made first if it is not there.

    The copy appears whole, by a rename: an interrupted run leaves none, and two runs may share the folder.
    """
    identity = f"{dataset.identity}|{split}|{dataset.count(split)}"
    target = folder / hashlib.sha256(identity.encode()).hexdigest()[:16]
    if not target.exists():
        progress(f"filling the cache {target} with {identity}")
        with files.scratch_directory(folder) as scratch:
            (scratch / "copy").mkdir()
            for _ in dataset.read(split).cache(str(scratch / "copy" / "pictures")):
                pass
            try:
                (scratch / "copy").rename(target)
            except OSError:
                if not target.exists():  # it does where another run was faster
                    raise
    return dataset.read(split).cache(str(target / "pictures"))


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
