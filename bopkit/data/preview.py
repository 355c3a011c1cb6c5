"""A contact sheet of what networks see: pictures as evaluation and as training make them, side by side."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

from bopkit import files
from bopkit.data.dataset import Dataset, reading
from bopkit.data.opening import open_dataset
from bopkit.data.pipeline import augmentation_seed
from bopkit.data.preprocessing import IMAGENET_INPUT, Preprocessing, get_preprocessing
from bopkit.data.recipe import NO_RECIPE, PictureRecipe
from bopkit.data.splits import training_split
from bopkit.errors import UsageError
from bopkit.keras2 import import_tensorflow
from bopkit.seeds import check_seed
from bopkit.text import count_text

MAX_PICTURES = 100
MAX_NUMBERS = 50_000_000
"""Height times width times channels of all pictures together: a sheet takes some 50 bytes of memory for each."""

EPOCHS = 3
"""Training epochs that a sheet shows of each picture."""
PICTURES_A_ROW = 2
CAPTION_LETTERS = 24


def preview(
    dataset: str,
    output: Path,
    *,
    preprocess_fn: str = "default",
    data_dir: str | Path | None = None,
    split: str | None = None,
    count: int = 8,
    seed: int = 0,
    recipe: PictureRecipe = NO_RECIPE,
    input_shape: tuple[int, int, int] | None = None,
) -> Path:
    """Draw the first pictures of a split as a network sees them, as a PNG file.

    Each picture is shown under its class name, as evaluation makes it and as a training run with that seed sees it in
    its first `EPOCHS` epochs. The network's values are turned back into pixels from 0 to 255 for showing. A run mixes
    each picture with the next one of the epoch's order; here it is mixed with the next one of the sheet.

    Args:
        dataset: A name as for `open_dataset`.
        output: Where the PNG file goes; it appears whole or not at all.
        preprocess_fn: Name of a preprocessing; `default` is the dataset's own.
        data_dir: Where TFDS keeps prepared datasets; None for its default.
        split: For instance `train` or `test`; None for the one that trains.
        count: Pictures, 1 to `MAX_PICTURES`.
        seed: The training run's seed.
        recipe: What the run does to pictures beside the preprocessing.
        input_shape: Height, width, channels of the network's input; None for the dataset's own.

    Returns:
        `output`.

    Raises:
        UsageError: An unknown name, a split without pictures, a count out of range, or a file name that is no PNG's.
        BopkitError: The dataset is not prepared or cannot be read.
    """
    check_seed(seed)
    if not 1 <= count <= MAX_PICTURES:
        raise UsageError(f"{count} pictures do not fit on a sheet.", f"Use --count 1 to {MAX_PICTURES}.")
    if output.suffix.lower() != ".png":
        raise UsageError(f"{output} is not the name of a PNG file.", "End --output in .png.")
    if preprocess_fn != "default":
        get_preprocessing(
            preprocess_fn, input_shape or IMAGENET_INPUT
        )  # a wrong name is told before a dataset is opened
    opened = open_dataset(dataset, data_dir)
    split = split or training_split(opened)
    opened.check_labels(split)
    preprocessing = opened.preprocessing(preprocess_fn, input_shape)
    if count * math.prod(preprocessing.input_shape) > MAX_NUMBERS:
        shape = " x ".join(map(str, preprocessing.input_shape))
        raise UsageError(
            f"{count_text(count, 'picture')} of {shape} {'does' if count == 1 else 'do'} not fit on a sheet.",
            "Use a smaller --count or --input-shape.",
        )
    files.write_bytes(output, _draw(opened, split, preprocessing, count, seed, recipe))
    return output


def _draw(
    dataset: Dataset, split: str, preprocessing: Preprocessing, count: int, seed: int, recipe: PictureRecipe
) -> bytes:
    """The sheet as a PNG file."""
    from matplotlib.figure import Figure  # no pyplot: it would look for a display

    with reading(dataset, split):  # pictures are decoded here
        pictures = list(dataset.read(split).take(count))
        names = [dataset.class_names[label][:CAPTION_LETTERS] for _, label in pictures]
        seen = list(zip(names, _versions([image for image, _ in pictures], preprocessing, seed, recipe), strict=True))
    headings = ["evaluation", *(f"training, epoch {epoch + 1}" for epoch in range(EPOCHS))]
    across = min(PICTURES_A_ROW, len(seen))
    down = -(-len(seen) // across)
    figure = Figure(figsize=(1.5 * len(headings) * across, 1.5 * down + 0.8), dpi=120, layout="constrained")
    low, high = preprocessing.value_range
    figure.suptitle(
        f"{dataset.name}, split {split}, preprocessing {preprocessing.name}: "
        f"{'x'.join(map(str, preprocessing.input_shape))}, {low:.3g} to {high:.3g} shown as 0 to 255, seed {seed}",
        fontsize=9,
    )
    axes = figure.subplots(down, across * len(headings), squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for number, (class_name, versions) in enumerate(seen):
        row, first = number // across, number % across * len(headings)
        for column, pixels in enumerate(versions):
            axes[row, first + column].imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            if row == 0:
                axes[row, first + column].set_title(headings[column], fontsize=7, color="gray")
        # Beside the picture, and not above it: the first row has its headings there.
        place = {"rotation": 90, "ha": "right", "va": "center", "transform": axes[row, first].transAxes}
        axes[row, first].text(-0.04, 0.5, class_name, fontsize=8, **place)
    png = io.BytesIO()
    figure.savefig(png, format="png")
    return png.getvalue()


def _versions(images: list[Any], preprocessing: Preprocessing, seed: int, recipe: PictureRecipe) -> list[list[Any]]:
    """Pictures as evaluation makes them, then as each epoch of training does: for each, NumPy uint8 [H, W, C]."""
    evaluated = [preprocessing.to_pixels(preprocessing.evaluate(image).numpy()) for image in images]
    trained = [pictures_of_epoch(images, preprocessing, seed, epoch, recipe) for epoch in range(EPOCHS)]
    return [list(versions) for versions in zip(evaluated, *trained, strict=True)]


def pictures_of_epoch(
    images: list[Any], preprocessing: Preprocessing, seed: int, epoch: int, recipe: PictureRecipe
) -> list[Any]:
    """The first pictures of a split as an epoch of training sees them; each is mixed with the next one here.

    Args:
        images: Scalar strings or uint8 [h, w, c].
        preprocessing: The run's.
        seed: Of the run.
        epoch: From 0.
        recipe: The run's.

    Returns:
        NumPy uint8 [H, W, C] of each.
    """
    tf = import_tensorflow()
    seeds = [augmentation_seed(seed, epoch, index) for index in range(len(images))]
    pixels = [recipe.augment(preprocessing, image, own) for image, own in zip(images, seeds, strict=True)]
    seen, _ = recipe.erase_and_mix(tf.stack(pixels), tf.zeros(len(images), tf.int64), tf.stack(seeds))
    return list(preprocessing.to_pixels(preprocessing.finish(seen).numpy()))
