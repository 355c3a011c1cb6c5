"""Training: one run, its directory, its progress. Importing this package imports no TensorFlow."""

from bopkit.training.api import train_model
from bopkit.training.observer import Observer
from bopkit.training.options import TrainOptions
from bopkit.training.result import TrainResult
from bopkit.training.trainer import run_training

__all__ = ["Observer", "TrainOptions", "TrainResult", "run_training", "train_model"]
