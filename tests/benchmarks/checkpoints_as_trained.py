"""Accuracy of a run's checkpoints as training left them: with the moving averages of batch norm."""

import numpy as np

from bopkit.data import evaluation_batches, get_preprocessing
from bopkit.keras2 import import_tensorflow
from bopkit.metrics import top_k_accuracy
from bopkit.training.network import build_plain_network


class CheckpointsAsTrained:
    """Validates the network in a checkpoint.

    Args:
        architecture: The network.
        hparams: The hyper-parameters that it was built with.
        data: An opened dataset.
        split: The split that validates.
        preprocessing: Name of the preprocessing.
    """

    def __init__(self, architecture, hparams, data, split, preprocessing):
        self._network = build_plain_network(architecture, hparams, data.input_shape, len(data.class_names))
        self._batches = evaluation_batches(data, split, get_preprocessing(preprocessing, data.input_shape), 500)
        self._labels = np.concatenate([labels for _, labels in self._batches])

    def top1(self, checkpoint):
        """Top-1 of the network in a checkpoint, 0 to 1."""
        tf = import_tensorflow()
        tf.train.Checkpoint(network=self._network).read(str(checkpoint / "state")).expect_partial()
        return top_k_accuracy(self._network.predict(self._batches, verbose=0), self._labels, 1)
