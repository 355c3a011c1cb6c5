"""The inputs that a network is checked on: real pictures, and noise."""

from __future__ import annotations

import dataclasses
import functools
import importlib.resources
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bopkit.artifacts.card import ModelCard
from bopkit.data import Dataset, Preprocessing, evaluation_batches, get_preprocessing, open_dataset, readable
from bopkit.data.fit import describe_fit
from bopkit.data.run_dataset import find_run_data
from bopkit.data.splits import last_tenth, measuring_split, training_split
from bopkit.errors import BopkitError, UsageError
from bopkit.export.network.signature import Signature, SignatureTensor
from bopkit.export.spec import CALIBRATION_PICTURES, RANDOM_PICTURES
from bopkit.keras2 import import_tensorflow

PHOTOGRAPHS = ("china.jpg", "flower.jpg")
PHOTOGRAPHS_SOURCE = "crops of scikit-learn's two bundled photographs"
SEED = 0
UNKNOWN_VALUE_RANGE = (-1.0, 1.0)
"""Range of the pictures for a network without a card: what most networks of larq are trained on."""


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Inputs for a network.

    Attributes:
        source: What they are, for the report.
        real: False for noise, unless the network takes nothing else.
        inputs: float32 [n, ...], one an input of the network: [n, H, W, C] where that takes pictures.
        note: Why they are these, where that is not what one would expect.
        labels: int64 [n], the class of each; None where that is not known.
        dataset: Name of the dataset that they are test pictures of, where they have labels; else empty.
        fit: What the preprocessing took from them or added, a line each: `bopkit.data.fit`.
    """

    source: str
    real: bool
    inputs: tuple[np.ndarray, ...]
    note: str = ""
    labels: np.ndarray | None = None
    dataset: str = ""
    fit: tuple[str, ...] = ()

    @property
    def images(self) -> np.ndarray:
        """What a network with one input takes."""
        (images,) = self.inputs
        return images


def real_pictures(
    input_shape: tuple[int, int, int],
    card: ModelCard | None,
    dataset: str | None,
    data_dir: str | Path | None,
    count: int,
    model_file: Path | None = None,
) -> Pictures:
    """Pictures of `dataset`, else of the run's or the card's dataset if it is prepared, else crops of two photographs.

    Args:
        input_shape: Height, width, channels.
        card: Names the dataset and the preprocessing.
        dataset: Name of a dataset that must be used.
        data_dir: Where prepared datasets lie.
        count: Largest number of pictures.
        model_file: The network's own, which may be in a run directory; None for one that is in none.

    Raises:
        UsageError: `dataset` is given, and there is none of that name or it has no pictures to test with.
        BopkitError: `dataset` is given and cannot be opened.
    """
    if dataset is not None:
        return _of_dataset(dataset, open_dataset(dataset, data_dir=data_dir), input_shape, card, count)
    run_data, note = find_run_data(model_file, data_dir) if model_file is not None else (None, "")
    if run_data is not None:
        with run_data.as_in_the_run():
            opened = open_dataset(run_data.dataset, run_data.data_dir)
            return _of_dataset(run_data.dataset, opened, input_shape, card, count)
    if card is not None and card.dataset:
        try:
            found = _of_dataset(card.dataset, _open_dataset_of_card(card, data_dir), input_shape, card, count)
            return dataclasses.replace(found, note=" ".join(filter(None, (note, found.note))))
        except BopkitError as error:  # photographs serve too
            note = note or f"The card's dataset was not used: {error}"
    images = photograph_crops(input_shape, _value_range(card), count)
    return Pictures(PHOTOGRAPHS_SOURCE, real=True, inputs=(images,), note=note)


def real_inputs(inputs: tuple[SignatureTensor, ...], card: ModelCard | None, count: int) -> Pictures | None:
    """Photographs for the inputs that take pictures, no two the same, and noise for any others.

    Returns:
        None where no input takes pictures.
    """
    if not any(each.is_picture for each in inputs):
        return None
    values = tuple(
        photograph_crops(each.shape, _value_range(card), count, SEED + index)  # type: ignore[arg-type]
        if each.is_picture
        else _noise(each, card, count, SEED + index)
        for index, each in enumerate(inputs)
    )
    others = ", ".join(each.name for each in inputs if not each.is_picture)
    return Pictures(PHOTOGRAPHS_SOURCE + (f", noise for {others}" if others else ""), real=True, inputs=values)


def pictures_for(
    signature: Signature,
    card: ModelCard | None,
    dataset: str | None,
    data_dir: str | Path | None,
    count: int,
    model_file: Path | None = None,
) -> tuple[Pictures | None, Pictures]:
    """The pictures that a network is checked on: real ones, None where it takes none, and noise.

    Args:
        signature: Of the network; one that does not take one picture alone is shown photographs.
        card: Its card.
        dataset: As for `real_pictures`.
        data_dir: As for `real_pictures`.
        count: Largest number of real pictures.
        model_file: As for `real_pictures`.
    """
    noise = random_inputs(signature.inputs, card, RANDOM_PICTURES)
    if not signature.takes_picture:
        return real_inputs(signature.inputs, card, count), noise
    shape: Any = signature.inputs[0].shape
    return real_pictures(shape, card, dataset, data_dir, count, model_file), noise


def calibration_pictures(
    dataset: str, data_dir: str | Path | None, input_shape: tuple[int, int, int], card: ModelCard | None
) -> np.ndarray:
    """Training pictures from all over a dataset, preprocessed as for evaluation: float32 [n, H, W, C].

    Raises:
        UsageError: There is no dataset of that name.
        BopkitError: It cannot be opened.
    """
    opened = open_dataset(dataset, data_dir=data_dir)
    return _read(opened, training_split(opened, card), input_shape, card, CALIBRATION_PICTURES)[0]


def round_to_pixels(pictures: Pictures, preprocessing: Preprocessing) -> Pictures:
    """The nearest pictures that uint8 pixels can be preprocessed to."""
    tf = import_tensorflow()
    pixels = preprocessing.to_pixels(pictures.images)
    return dataclasses.replace(pictures, inputs=(preprocessing.finish(tf.cast(pixels, tf.float32)).numpy(),))


def random_inputs(inputs: Sequence[SignatureTensor], card: ModelCard | None, count: int) -> Pictures:
    """Uniform noise over what a network's inputs take, no two the same: a range of values, or all indices."""
    values = tuple(_noise(each, card, count, SEED + index) for index, each in enumerate(inputs))
    words = all(each.indices is not None for each in inputs)
    return Pictures("uniform random indices" if words else "uniform random input", real=False, inputs=values)


def batches(inputs: tuple[np.ndarray, ...], batch_size: int) -> Iterator[tuple[np.ndarray, ...]]:
    """The inputs of a network, at most so many examples at a time."""
    for start in range(0, len(inputs[0]), batch_size):
        yield tuple(each[start : start + batch_size] for each in inputs)


def photograph_crops(
    input_shape: tuple[int, int, int], value_range: tuple[float, float], count: int, seed: int = SEED
) -> np.ndarray:
    """Square crops of random size and place from scikit-learn's two photographs, the same ones for the same seed.

    Returns:
        float32 [count, H, W, C] in `value_range`; grey for one channel, and repeated channels above three.
    """
    tf = import_tensorflow()
    folder = importlib.resources.files("sklearn.datasets.images")
    # scikit-learn's own loader needs Pillow, which nothing else here does.
    photographs = [tf.io.decode_jpeg((folder / name).read_bytes(), channels=3).numpy() for name in PHOTOGRAPHS]
    generator = np.random.default_rng(seed)
    height, width, channels = input_shape
    crops = [_square_crop(photographs[index % len(photographs)], generator) for index in range(count)]
    resized = np.stack([tf.image.resize(crop, [height, width], antialias=True).numpy() for crop in crops])
    if channels == 1:
        resized = resized.mean(axis=-1, keepdims=True)
    elif channels != 3:
        resized = resized[..., np.arange(channels) % 3]
    low, high = value_range
    return (low + resized / 255.0 * (high - low)).astype(np.float32)


def with_preprocessing(card: ModelCard | None, name: str, picture: SignatureTensor) -> ModelCard:
    """The card of a network of one picture with the preprocessing that the user names, or a new one that names it.

    Args:
        card: None for a network without one, which is taken for trained.
        name: Of the preprocessing.
        picture: The network's input.

    Raises:
        UsageError: There is none of that name for such pictures.
    """
    shape: Any = picture.shape
    value_range = get_preprocessing(name, shape).value_range
    if card is None:
        return ModelCard("", shape, value_range, name, trained=True)
    return dataclasses.replace(card, preprocessing=name, value_range=value_range)


def _noise(tensor: SignatureTensor, card: ModelCard | None, count: int, seed: int) -> np.ndarray:
    generator, shape = np.random.default_rng(seed), (count, *tensor.shape)
    if tensor.indices is not None:
        return generator.integers(tensor.indices, size=shape).astype(np.float32)
    return generator.uniform(*_value_range(card), shape).astype(np.float32)


def _value_range(card: ModelCard | None) -> tuple[float, float]:
    return card.value_range if card is not None else UNKNOWN_VALUE_RANGE


def _open_dataset_of_card(card: ModelCard, data_dir: str | Path | None) -> Dataset:
    """Open the dataset that a card names, unless that would run code of the card's choice."""
    return open_dataset(card.stock_dataset(), data_dir=data_dir, own_modules=False)


def source_of(dataset: str, split: str) -> str:
    """How reports name pictures of a dataset."""
    return f"{dataset} {split} split"


def _square_crop(photograph: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    short_side = min(photograph.shape[:2])
    side = int(generator.integers(short_side // 4, short_side + 1))
    top = int(generator.integers(0, photograph.shape[0] - side + 1))
    left = int(generator.integers(0, photograph.shape[1] - side + 1))
    return photograph[top : top + side, left : left + side]


def _of_dataset(
    name: str, dataset: Dataset, input_shape: tuple[int, int, int], card: ModelCard | None, count: int
) -> Pictures:
    """Pictures of a dataset that was opened by a name: of its test split, or what stands for it."""
    split = measuring_split(dataset, card) or last_tenth(dataset, card)
    if not dataset.count(split):
        raise UsageError(f"Split {split} of dataset {dataset.name} is empty.", "Name another with --dataset.")
    images, labels = _read(dataset, split, input_shape, card, count)
    fit = describe_fit(dataset, split, _preprocessing(dataset, input_shape, card))
    shown = functools.partial(Pictures, source_of(dataset.name, split), True, (images,), fit=tuple(fit))
    if card is not None and card.class_names and card.class_names != dataset.class_names:
        note = f"The classes of dataset {dataset.name} are not those of the network: accuracy cannot be measured on it."
        return shown(note=note)
    if not (card is not None and card.preprocessing):
        note = (
            f"Nobody said what range of values the network wants; the pictures of {dataset.name} were prepared as that "
            "dataset's are by default, which proves agreement, and says nothing of accuracy."
        )
        return shown(note=note)
    note = ""
    if not measuring_split(dataset, card):
        note = f"Dataset {dataset.name} has no test split: training may have seen these pictures."
    return shown(note=note, labels=labels, dataset=name)


def _read(
    dataset: Dataset, split: str, input_shape: tuple[int, int, int], card: ModelCard | None, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Pictures from all over a split, float32 [n, H, W, C], and their labels, int64 [n]."""
    preprocessing = _preprocessing(dataset, input_shape, card)
    batches = evaluation_batches(dataset, split, preprocessing, batch_size=32, limit=count)
    images, labels = zip(*readable(batches.as_numpy_iterator(), dataset, split), strict=True)
    return np.concatenate(images), np.concatenate(labels)


def _preprocessing(dataset: Dataset, input_shape: tuple[int, int, int], card: ModelCard | None) -> Preprocessing:
    """That of the card, else the dataset's own."""
    name = card.preprocessing if card is not None and card.preprocessing else dataset.default_preprocessing
    return get_preprocessing(name, input_shape)
