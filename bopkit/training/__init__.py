"""Training: one run, its directory, its progress. Importing this package imports no TensorFlow."""

from bopkit.training.trainer import TrainResult, train_model

__all__ = ["TrainResult", "train_model"]
