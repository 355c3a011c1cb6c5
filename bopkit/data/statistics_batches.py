"""Batches for batch-norm statistics: training pictures, augmented as in training, the same ones each time.

Out: what `PictureRecipe.augment` makes, [n, H, W, C], 0 to 255, without labels. They are neither mixed with each other
nor erased in part: no picture that the network is used on is.
"""

from __future__ import annotations

import math
from typing import Any

from bopkit.data.dataset import Dataset
from bopkit.data.kept_pixels import MOST_KEPT_BYTES
from bopkit.data.pipeline import augmentation_seed, some_of
from bopkit.data.preprocessing import Preprocessing
from bopkit.data.recipe import NO_RECIPE, PictureRecipe
from bopkit.keras2 import import_tensorflow


def statistics_batches(
    dataset: Dataset,
    split: str,
    preprocessing: Preprocessing,
    pictures: int,
    batch_size: int,
    seed: int,
    recipe: PictureRecipe = NO_RECIPE,
) -> Any:
    """Equal batches of so many pictures of a split, or of all of a smaller one.

    Args:
        dataset: An opened dataset.
        split: The split that trains.
        preprocessing: It and the recipe's `augment` make the pixels.
        pictures: How many, but for what equal batches leave out.
        batch_size: About so many a batch; one batch where there are fewer pictures.
        seed: Seeds the augmentation, as that of the first epoch of a run.
        recipe: That of the run; its pictures are neither mixed nor erased here.

    Returns:
        A `tf.data.Dataset` of uint8 or float32 [n, H, W, C]; read a second time it comes from memory, where that is
        small enough.
    """
    tf = import_tensorflow()
    pictures = min(pictures, dataset.count(split))
    batches = max(round(pictures / batch_size), 1)

    @tf.autograph.experimental.do_not_convert
    def augment(index: Any, picture: tuple[Any, Any]) -> Any:
        own_seed = augmentation_seed(seed, 0, index)
        return recipe.augment(preprocessing, picture[0], own_seed, dataset.picture_size)

    drawn = some_of(dataset.read(split), dataset, split, pictures)
    pixels = drawn.enumerate().map(augment, tf.data.AUTOTUNE)
    in_order = tf.data.Options()
    in_order.deterministic = True
    in_batches = pixels.batch(pictures // batches, drop_remainder=True).take(batches).with_options(in_order)
    spec = pixels.element_spec
    is_small = pictures * math.prod(spec.shape) * spec.dtype.size <= MOST_KEPT_BYTES
    return in_batches.cache() if is_small else in_batches.prefetch(2)
