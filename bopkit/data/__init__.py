"""Datasets: prepared pictures with labels, the preprocessing that networks see, and batches of both.

Importing this package imports neither TensorFlow nor TFDS.
"""

from bopkit.data.catalogue import DatasetFacts, list_datasets
from bopkit.data.dataset import Dataset, readable, reading
from bopkit.data.opening import open_dataset, prepare_datasets
from bopkit.data.own.arrays import dataset_from_arrays
from bopkit.data.own.tf_data import dataset_from_tf_data
from bopkit.data.pipeline import BatchOptions, evaluation_batches, training_batches
from bopkit.data.preprocessing import Preprocessing, get_preprocessing
from bopkit.data.recipe import PictureRecipe

__all__ = [
    "BatchOptions",
    "Dataset",
    "DatasetFacts",
    "PictureRecipe",
    "Preprocessing",
    "dataset_from_arrays",
    "dataset_from_tf_data",
    "evaluation_batches",
    "get_preprocessing",
    "list_datasets",
    "open_dataset",
    "prepare_datasets",
    "readable",
    "reading",
    "training_batches",
]
