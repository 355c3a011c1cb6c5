"""Training: one run, its directory, its progress. Importing this package imports no TensorFlow."""

from bopkit.training.observer import Observer
from bopkit.training.options import TrainOptions
from bopkit.training.result import TrainResult
from bopkit.training.trainer import run_training, train_model

__all__ = ["Observer", "TrainOptions", "TrainResult", "run_training", "train_model"]
