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

from checkpoints_as_trained import CheckpointsAsTrained

from bopkit import train_model
from bopkit.data import open_dataset
from bopkit.host import cpu_name, logical_cores
from bopkit.hparams import override
from bopkit.registry import MODELS
from bopkit.runs.directory import Place
from bopkit.training.evaluated_network import EvaluatedNetwork

HPARAMS = {"filters": 32, "dense_units": 256}
PREPROCESSING = "resize_and_flip"
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
            preprocess_fn=PREPROCESSING,
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
    data = open_dataset("fashion_mnist", arguments.data_dir, prepare=True)
    architecture = MODELS.load("binarynet")
    hparams = override(architecture.hparams("bop"), HPARAMS)
    averages = CheckpointsAsTrained(architecture, hparams, data, "test", PREPROCESSING)
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
