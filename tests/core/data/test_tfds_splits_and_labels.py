"""Datasets of TFDS whose splits have other names, and whose labels are whole numbers."""

import re

import numpy as np
import pytest

from bopkit.data import open_dataset
from bopkit.errors import UsageError
from bopkit.keras2 import import_tensorflow

pytestmark = pytest.mark.integration


def prepare(data_dir, name, splits, label=None):
    """Prepare a dataset of black pictures with these labels by split; `label` is the feature, None for classes."""
    import tensorflow_datasets as tfds

    tf = import_tensorflow()
    features = {
        "image": tfds.features.Image(shape=(8, 8, 3)),
        "label": label or tfds.features.ClassLabel(num_classes=3),
    }
    tfds.dataset_builders.TfDataBuilder(
        name=name,
        version="1.0.0",
        features=tfds.features.FeaturesDict(features),
        data_dir=data_dir,
        split_datasets={
            split: tf.data.Dataset.from_tensor_slices(
                {"image": np.zeros((len(labels), 8, 8, 3), np.uint8), "label": np.array(labels, "int64")}
            )
            for split, labels in splits.items()
        },
    ).download_and_prepare()
    return open_dataset(name, data_dir)


def test_splits_by_other_names_are_counted_and_compared(tmp_path):
    data = prepare(tmp_path, "others", {"training": [0, 1] * 25, "holdout": [0] * 10})
    assert data.split_names == ("training", "holdout")
    assert (data.count("training[90%:]"), data.count("training[5:2]"), data.count("all")) == (5, 0, 60)
    assert data.share_pictures("training", "all") and data.share_pictures("training[:50%]", "training[-26:]")
    assert not data.share_pictures("training[:50%]", "training[-25:]")
    with pytest.raises(UsageError, match=re.escape("Known: training, holdout, and slices such as training[:90%].")):
        data.count("train")


@pytest.mark.parametrize("dtype", ["int64", "uint8"])
def test_whole_numbers_that_count_from_zero_are_classes(tmp_path, dtype):
    import tensorflow_datasets as tfds

    label = tfds.features.Scalar(np.dtype(dtype))
    data = prepare(tmp_path, "numbered", {"train": [0, 1, 1, 0], "test": [2]}, label)
    assert (data.class_names, data.facts.classes) == (("0", "1", "2"), 3)
    labels = [(label.dtype.name, int(label)) for _, label in data.read("train")]
    assert sorted(labels) == [("int64", 0), ("int64", 0), ("int64", 1), ("int64", 1)]


@pytest.mark.parametrize("labels", [[1, 2], [0, 2], [-5, 0, 1]])
def test_whole_numbers_that_do_not_are_refused(tmp_path, labels):
    import tensorflow_datasets as tfds

    low, high = min(labels), max(labels)
    with pytest.raises(UsageError, match=f"whole numbers from {low} to {high}, not all of 0, 1, 2 and so on"):
        prepare(tmp_path, "numbered", {"train": labels}, tfds.features.Scalar(np.int64))
