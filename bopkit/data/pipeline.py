"""Batches for training and evaluation, as `tf.data` pipelines.

In: scalar strings or uint8 [h, w, c] with int64 labels. Out: for training pixels [batch, H, W, C], 0 to 255, which the
training step finishes; for evaluation float32 [batch, H, W, C] in the preprocessing's value range; int64 [batch]. The
order of a training epoch depends on seed and epoch only, an augmentation on seed, epoch and the picture's index: a
resumed run sees what the uninterrupted one would have seen.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from bopkit.data.cache import cached_in
from bopkit.data.dataset import Dataset
from bopkit.data.kept_pixels import can_keep, keep_pixels
from bopkit.data.preprocessing import Preprocessing
from bopkit.data.recipe import NO_RECIPE, PictureRecipe
from bopkit.keras2 import import_tensorflow
from bopkit.progress import Progress, silent

SHUFFLE_PICTURES = 50_000
"""Pictures held for shuffling: all of CIFAR-10; about 5 GB of ImageNet's JPEG files."""


DRAW_SEED = 0
"""Of the draw of some pictures of a split: the same ones for every artifact and on every machine."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """Which batches a training takes, and which pictures of them this worker reads.

    Attributes:
        batch_size: Pictures a step, over all replicas and workers; an incomplete last batch of an epoch is left out.
        steps_per_epoch: Steps an epoch.
        epochs: Epochs of the whole run.
        seed: Seeds order and augmentation.
        first_epoch: Epochs that are already trained.
        first_step: Steps of `first_epoch` that are already trained.
        replicas: Replicas of the model over all workers; divides `batch_size`.
        worker: Number of this worker, from 0: of the order it takes every picture at `worker` modulo `workers`.
        workers: Processes that train together; divides `replicas`.
    """

    batch_size: int
    steps_per_epoch: int
    epochs: int
    seed: int
    first_epoch: int = 0
    first_step: int = 0
    replicas: int = 1
    worker: int = 0
    workers: int = 1

    @property
    def mixed_places(self) -> list[int]:
        """Which pictures of the order, modulo `workers`, a worker reads that mixes them: its own and their partners."""
        return sorted({self.worker, (self.worker + 1) % self.workers})


def training_batches(
    dataset: Dataset,
    split: str,
    preprocessing: Preprocessing,
    options: BatchOptions,
    cache: str | None = None,
    progress: Progress = silent,
    recipe: PictureRecipe = NO_RECIPE,
) -> Any:
    """Batches of the epochs `first_epoch` to `epochs - 1`, one after the other.

    A step takes `replicas / workers` elements from each worker's pipeline. Order and augmentation depend on neither
    number: what all workers together take in a step is what a single one would take.

    Args:
        dataset: An opened dataset.
        split: For instance `train[:90%]`.
        preprocessing: It and the recipe's `augment` make the pixels; its `finish` makes them the network's input.
        options: Which batches.
        cache: `memory`, or a folder, to keep the encoded pictures in.
        progress: Called with one line before a folder is filled.
        recipe: What is done beside that; nothing by default.

    Returns:
        A `tf.data.Dataset` of (uint8 or float32 [batch_size / replicas, H, W, C], 0 to 255, as `augment` says;
        int64 [batch_size / replicas], or `MixedLabels` of as many where the recipe mixes pictures).
    """
    tf = import_tensorflow()
    seed = options.seed
    folder = None if cache == "memory" else cache
    pictures = cached_in(folder, dataset, split, progress) if folder else dataset.read(split)
    kept = None if recipe.randaugment_count else keep_pixels(dataset, split, preprocessing, pictures, cache)
    read_at = None if cache else dataset.reader(split)
    count = dataset.count(split)
    buffer_size = min(count, SHUFFLE_PICTURES)
    if kept is not None:
        pictures = tf.data.Dataset.range(count)  # an order of places is one of pictures
    elif read_at is not None:
        pictures, buffer_size = tf.data.Dataset.range(count), count
    else:
        pictures = (pictures.cache() if cache == "memory" else pictures).enumerate()
    pictures_a_step = options.batch_size // options.workers  # of this worker
    if recipe.mixing:
        pictures_a_step *= len(options.mixed_places)
    pictures_a_batch = pictures_a_step if recipe.changes_batches else options.batch_size // options.replicas

    @tf.autograph.experimental.do_not_convert
    def shuffled(epoch: Any) -> Any:
        graph = tf.compat.v1.get_default_graph()  # of this function alone
        if graph.seed == 0:  # the caller's global seed: TensorFlow would ask whether `order`, a tensor, is 0 too
            graph.seed = 1
        # Not seed + epoch: epoch 1 of one seed would have the order of epoch 0 of the next.
        order = tf.random.stateless_uniform([], tf.stack([seed, epoch]), 1, tf.int64.max, tf.int64)
        of_all = pictures.shuffle(buffer_size, seed=order, reshuffle_each_iteration=False)
        mine = _with_partners(of_all, options) if recipe.mixing else of_all.shard(options.workers, options.worker)
        trained = tf.where(epoch == options.first_epoch, tf.constant(options.first_step, tf.int64), 0)
        rest = mine.take(options.steps_per_epoch * pictures_a_step).skip(trained * pictures_a_step)
        return tf.data.Dataset.zip(tf.data.Dataset.from_tensors(epoch).repeat(), rest)

    @tf.autograph.experimental.do_not_convert
    def augment(epoch: Any, numbered: Any) -> tuple[Any, ...]:
        index, (image, label) = numbered if read_at is None else (numbered, read_at(numbered))
        own_seed = augmentation_seed(seed, epoch, index)
        pixels = recipe.augment(preprocessing, image, own_seed, dataset.picture_size)
        return (pixels, label, own_seed) if recipe.changes_batches else (pixels, label)

    @tf.autograph.experimental.do_not_convert
    def augment_kept(numbered: tuple[Any, Any], kept: tuple[Any, Any]) -> tuple[Any, ...]:
        (epochs, indices), (pixels, labels) = numbered, kept
        seeds = augmentation_seeds(seed, epochs[0], indices)
        pixels = preprocessing.augment_batch(tf.gather(pixels, indices), seeds)
        labels = tf.gather(labels, indices)
        return (pixels, labels, seeds) if recipe.changes_batches else (pixels, labels)

    epochs = tf.data.Dataset.range(options.first_epoch, options.epochs)
    order = epochs.flat_map(shuffled)
    if kept is not None:
        in_batches = order.batch(pictures_a_batch, drop_remainder=True)  # each is of one epoch
        inputs = tf.data.Dataset.zip(in_batches, tf.data.Dataset.from_tensors(kept).repeat())
        batches = inputs.map(augment_kept, tf.data.AUTOTUNE)
    else:  # decoding comes after the epochs are joined, so that it does not run dry at the end of each
        batches = order.map(augment, tf.data.AUTOTUNE).batch(pictures_a_batch, drop_remainder=True)
    if recipe.changes_batches:
        batches = _batches_of_recipe(batches, recipe, options)
    in_order = tf.data.Options()
    in_order.deterministic = True
    return batches.prefetch(tf.data.AUTOTUNE).with_options(in_order)


def _with_partners(order: Any, options: BatchOptions) -> Any:
    """Of an epoch's order what a worker reads that mixes pictures: its own, and those behind them."""
    tf = import_tensorflow()
    places = options.mixed_places
    if len(places) == options.workers:
        return order

    @tf.autograph.experimental.do_not_convert
    def is_read(place: Any, picture: Any) -> Any:
        return tf.reduce_any(place % options.workers == tf.constant(places, tf.int64))

    return order.enumerate().filter(is_read).map(lambda place, picture: picture)


def _batches_of_recipe(batches: Any, recipe: PictureRecipe, options: BatchOptions) -> Any:
    """Batches of a step, erased and mixed, then split for the replicas of this worker.

    Args:
        batches: Pixels, labels and seeds of a step's pictures: this worker's, and partners that are others'.
        recipe: Erases, or mixes, or both.
        options: Which of the pictures are this worker's.
    """
    tf = import_tensorflow()
    places = options.mixed_places
    own = slice(places.index(options.worker), None, len(places)) if recipe.mixing else slice(None)

    @tf.autograph.experimental.do_not_convert
    def finish(pixels: Any, labels: Any, seeds: Any) -> tuple[Any, Any]:
        return recipe.erase_and_mix(pixels, labels, seeds, own)

    batches = batches.map(finish, tf.data.AUTOTUNE)
    if options.replicas > options.workers:
        batches = batches.rebatch(options.batch_size // options.replicas, drop_remainder=True)
    return batches


def augmentation_seed(seed: int, epoch: Any, index: Any) -> Any:
    """The seed with which training augments a picture: int64 [2].

    Args:
        seed: The run's seed.
        epoch: int64 []; the epoch, from 0.
        index: int64 []; the picture's place in its split, from 0.
    """
    tf = import_tensorflow()
    run_and_epoch = tf.stack([tf.constant(seed, tf.int64), tf.cast(epoch, tf.int64)])  # int32 would draw other numbers
    return tf.random.fold_in(run_and_epoch, tf.cast(index, tf.int64))


def augmentation_seeds(seed: int, epoch: Any, indices: Any) -> Any:
    """`augmentation_seed` of each of many pictures: int64 [n, 2] for indices int64 [n]."""
    tf = import_tensorflow()
    of_epoch = augmentation_seed(seed, epoch, tf.constant(0, tf.int64))[0]
    return tf.stack([tf.broadcast_to(of_epoch, tf.shape(indices)), indices], 1)


def evaluation_batches(
    dataset: Dataset,
    split: str,
    preprocessing: Preprocessing,
    batch_size: int,
    limit: int | None = None,
    worker: int = 0,
    workers: int = 1,
    skip: int = 0,
    stop: int | None = None,
    is_repeated: bool = False,
) -> Any:
    """Batches of a split in its own order, the incomplete last one included.

    A folder of pictures is often sorted by class, and its first ones would be of one class. So a limit takes pictures
    from all over the split, by a draw that is the same each time; of a split that is shuffled already, the first.

    Args:
        dataset: An opened dataset.
        split: For instance `test`.
        preprocessing: Its `evaluate` makes the network's input.
        batch_size: Pictures a batch.
        limit: Take that many pictures, over all workers; None for all.
        worker: Number of this worker, from 0: it takes every picture at `worker` modulo `workers`.
        workers: Processes that evaluate together.
        skip: Leave out that many of these at the beginning: they are not decoded.
        stop: Stop after that many of these, those that were left out included; None for the end.
        is_repeated: They are read again and again: decoded pictures of a small split stay in memory.

    Returns:
        A `tf.data.Dataset` of (float32 [n, H, W, C], int64 [n]).
    """
    tf = import_tensorflow()
    pictures = dataset.read(split)
    if limit is not None:
        pictures = some_of(pictures, dataset, split, limit)
    if stop is not None:
        pictures = pictures.take(stop)
    pictures = pictures.skip(skip).shard(workers, worker)

    @tf.autograph.experimental.do_not_convert
    def evaluate(image: Any, label: Any) -> tuple[Any, Any]:
        return preprocessing.evaluate(image), label

    @tf.autograph.experimental.do_not_convert
    def decode(image: Any, label: Any) -> tuple[Any, Any]:
        return preprocessing.pixels(image, dataset.picture_size), label

    @tf.autograph.experimental.do_not_convert
    def finish(pixels: Any, label: Any) -> tuple[Any, Any]:
        return preprocessing.finish(pixels), label

    if is_repeated and can_keep(dataset, split, preprocessing):
        decoded = pictures.map(decode, tf.data.AUTOTUNE)
        if decoded.element_spec[0].dtype == tf.uint8:
            return decoded.cache().batch(batch_size).map(finish).prefetch(2)
    inputs = pictures.map(evaluate, tf.data.AUTOTUNE)
    # A fixed number: tf.data's own choice grows while others are busy, and 32 pictures of ImageNet take 19 MB.
    return inputs.batch(batch_size).prefetch(2)


def some_of(pictures: Any, dataset: Dataset, split: str, limit: int) -> Any:
    """So many of the pictures of a split, in their order: each as likely as any other, and the same ones each time.

    Args:
        pictures: A `tf.data.Dataset` of all of them.
        dataset: Whose they are.
        split: Of which split.
        limit: How many; all where there are fewer.
    """
    count = dataset.count(split)
    if dataset.is_shuffled:
        return pictures.take(limit)
    if limit >= count:
        return pictures
    import numpy as np

    tf = import_tensorflow()
    places = np.random.default_rng(DRAW_SEED).choice(count, limit, replace=False)
    is_drawn = tf.constant(np.isin(np.arange(count), places))

    @tf.autograph.experimental.do_not_convert
    def keep(place: Any, picture: Any) -> Any:
        return is_drawn[place]

    drawn = pictures.take(count).enumerate().filter(keep).map(lambda place, picture: picture)
    return drawn.take(limit)  # what lies behind the last of them need not be read
