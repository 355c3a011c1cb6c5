"""What batch-norm statistics estimated anew bring, and what they cost, with several seeds.

    python tests/benchmarks/batch_norm_statistics.py [--seeds 5] [--epochs 10] [--pictures 1000] [--data-dir DIR]

Trains BinaryNet (`filters=32,dense_units=256`) with the set `bop` and the preprocessing `resize_and_flip` on
Fashion-MNIST: 60,000 pictures train, and the 10,000 test pictures validate. Both columns are of the same run: its rows
have the statistics that are estimated anew; after each epoch its checkpoint, which keeps the moving averages of
training, is validated too. The spread is between the best and the worst of the last five epochs, in points.
The cost is the time of all estimates but the first, which also traces, as a share of the time of the epochs that they
belong to, validation included.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from bopkit import train_model
from bopkit.data import evaluation_batches, get_preprocessing, open_dataset
from bopkit.host import cpu_name, logical_cores
from bopkit.hparams import override
from bopkit.keras2 import import_tensorflow
from bopkit.metrics import top_k_accuracy
from bopkit.registry import MODELS
from bopkit.runs.directory import Place
from bopkit.training.evaluated_network import EvaluatedNetwork
from bopkit.training.network import build_plain_network

HPARAMS = {"filters": 32, "dense_units": 256}
LAST_EPOCHS = 5


class Estimates:
    """Takes the time of every estimate of `EvaluatedNetwork`."""

    def __init__(self):
        self.seconds = []
        self._update = EvaluatedNetwork.update

    def __enter__(self):
        def update(network):
            began = time.perf_counter()
            self._update(network)
            self.seconds.append(time.perf_counter() - began)

        EvaluatedNetwork.update = update
        return self

    def __exit__(self, *failure):
        EvaluatedNetwork.update = self._update


class MovingAverages:
    """Validates checkpoints as they are."""

    def __init__(self, data):
        hparams = override(MODELS.load("binarynet").hparams("bop"), HPARAMS)
        self._network = build_plain_network(MODELS.load("binarynet"), hparams, data.input_shape, len(data.class_names))
        self._batches = evaluation_batches(data, "test", get_preprocessing("resize_and_flip", data.input_shape), 500)
        self._labels = np.concatenate([labels for _, labels in self._batches])

    def top1(self, checkpoint):
        tf = import_tensorflow()
        tf.train.Checkpoint(network=self._network).read(str(checkpoint / "state")).expect_partial()
        return top_k_accuracy(self._network.predict(self._batches, verbose=0), self._labels, 1)


def one_seed(seed, arguments, averages):
    """Validation top-1 of each epoch, in percent, anew and as trained; and the cost of the estimates in percent."""
    anew, as_trained, epoch_seconds = [], [], []
    with tempfile.TemporaryDirectory() as folder, Estimates() as estimates:
        run = Path(folder, "run")

        def on_epoch(row):
            anew.append(100 * row["val_top1"])
            epoch_seconds.append(row["epoch_seconds"])
            as_trained.append(100 * averages.top1(run / "checkpoints" / str(Place(row["epoch"], 0))))

        train_model(
            "binarynet",
            "fashion_mnist",
            hparams_set="bop",
            hparams={**HPARAMS, "epochs": arguments.epochs},
            preprocess_fn="resize_and_flip",
            data_dir=arguments.data_dir,
            output_dir=run,
            batch_norm_pictures=arguments.pictures,
            seed=seed,
            tensorboard=False,
            on_epoch=on_epoch,
        )
    cost = 100 * sum(estimates.seconds[1 : arguments.epochs]) / sum(epoch_seconds[1:])
    return anew, as_trained, cost


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--data-dir")
    arguments = parser.parse_args()
    averages = MovingAverages(open_dataset("fashion_mnist", arguments.data_dir, prepare=True))
    print(f"{logical_cores()} cores of {cpu_name()}; validation top-1 in percent after {arguments.epochs} epochs")
    print(f"{'':6}{'estimated anew':>18}{'moving averages':>20}{'cost':>8}")
    print(f"{'seed':6}{'last':>10}{'spread':>8}{'last':>12}{'spread':>8}{'of epoch':>10}")
    found = []
    for seed in range(arguments.seeds):
        anew, as_trained, cost = one_seed(seed, arguments, averages)
        spreads = [max(top1[-LAST_EPOCHS:]) - min(top1[-LAST_EPOCHS:]) for top1 in (anew, as_trained)]
        found.append((anew[-1], spreads[0], as_trained[-1], spreads[1], cost))
        print_row(str(seed), found[-1])
    print_row("mean", [statistics.mean(column) for column in zip(*found, strict=True)])


def print_row(name, figures):
    last, spread, last_as_trained, spread_as_trained, cost = figures
    print(f"{name:6}{last:10.2f}{spread:8.2f}{last_as_trained:12.2f}{spread_as_trained:8.2f}{cost:8.2f} %", flush=True)


if __name__ == "__main__":
    main()
