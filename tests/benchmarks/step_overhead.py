"""What rows, flips, TensorBoard and checks cost a training step: `train_model` against bare `fit`, in one run.

    python tests/benchmarks/step_overhead.py [--cases short long] [--rounds 10] [--log-every 50] [--precision float32]

Both train a BinaryNet on the digits: same settings, seed, optimizer and input pipeline (`training_batches`). Bare `fit`
has no callbacks (but a clock that sees epochs) and no metrics but the loss; `train_model` does all it does for a user,
TensorBoard included. They take turns, an epoch each. The first epoch traces and is left out. Timed is the training part
of an epoch, its rows and flips included; validation, epoch row and checkpoint come between epochs, and their time is
printed beside it. An epoch shorter than `--log-every` steps has one row with flips all the same.
"""

import argparse
import concurrent.futures
import statistics
import tempfile
import threading
import time
from pathlib import Path

from plain_keras import EpochClock

from bopkit import train_model
from bopkit.data import BatchOptions, get_preprocessing, open_dataset, training_batches
from bopkit.host import cpu_name, logical_cores
from bopkit.hparams import override
from bopkit.keras2 import import_tensorflow
from bopkit.optim import make_optimizer
from bopkit.registry import MODELS
from bopkit.training.network import build_training_network

CASES = {
    "short": {"filters": 8, "dense_units": 32, "batch_size": 10},
    "long": {"filters": 128, "dense_units": 1024, "batch_size": 100},
}
"""Settings on top of `bop_digits`; `long` is the paper's BinaryNet."""

SEED = 0


class Turns:
    """Lets two threads work one at a time; the first to work is "ours"."""

    def __init__(self):
        self._may_work = {"ours": threading.Semaphore(1), "bare": threading.Semaphore(0)}

    def begin(self, me):
        """Wait for one's turn."""
        self._may_work[me].acquire()

    def end(self, other):
        """Give the other one its turn."""
        self._may_work[other].release()


class TakeTurns(EpochClock):
    """The clock of bare `fit`, which waits before each epoch."""

    def __init__(self, turns):
        super().__init__()
        self._turns = turns

    def on_epoch_begin(self, epoch, logs=None):
        self._turns.begin("bare")
        super().on_epoch_begin(epoch, logs)

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        self._turns.end("ours")


def bare_fit(hparams, precision):
    """A function that trains all epochs when it is given its callback."""
    tf = import_tensorflow()
    data = open_dataset("digits")
    preprocessing = get_preprocessing(data.default_preprocessing, data.input_shape)
    steps = data.count("train") // hparams.batch_size
    tf.keras.utils.set_random_seed(SEED + 1)
    network = build_training_network(
        MODELS.load("binarynet"), hparams, preprocessing.input_shape, len(data.class_names), precision=precision
    )
    network.compile(make_optimizer(network, hparams, steps)[0], "sparse_categorical_crossentropy")
    options = BatchOptions(batch_size=hparams.batch_size, steps_per_epoch=steps, seed=SEED, epochs=hparams.epochs)
    batches = training_batches(data, "train", preprocessing, options)
    inputs = batches.map(lambda pixels, labels: (preprocessing.finish(pixels), labels)).prefetch(tf.data.AUTOTUNE)

    def run(clock):
        network.fit(inputs, epochs=hparams.epochs, steps_per_epoch=steps, verbose=0, callbacks=[clock])

    return run, steps


def measure(case, rounds, log_every, precision):
    """Seconds of the training part of each epoch, ours and bare, and of what ours does between two epochs."""
    values = {**CASES[case], "epochs": rounds + 1}
    hparams = override(MODELS.load("binarynet").hparams("bop_digits"), values)
    run, steps = bare_fit(hparams, precision)
    turns = Turns()
    clock = TakeTurns(turns)
    ours_s, between_s = [], []
    turn_began = 0.0

    def on_epoch(row):
        nonlocal turn_began
        ours_s.append(steps * hparams.batch_size / row["images_per_second"])
        between_s.append(time.perf_counter() - turn_began - ours_s[-1])
        turns.end("bare")
        turns.begin("ours")
        turn_began = time.perf_counter()

    def train():
        turns.begin("ours")
        with tempfile.TemporaryDirectory() as folder:
            train_model(
                "binarynet",
                "digits",
                hparams_set="bop_digits",
                hparams=values,
                output_dir=Path(folder, "run"),
                precision=precision,
                log_every=log_every,
                seed=SEED,
                strategy="one",
                on_epoch=on_epoch,
            )

    # Both in threads of their own, since glibc allocates for the main thread in another way than for the others.
    # `fit`'s is a daemon: it waits for a turn that never comes where `train_model` fails.
    threading.Thread(target=run, args=(clock,), daemon=True).start()
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        executor.submit(train).result()
    return [each / steps for each in ours_s[1:]], [each / steps for each in clock.seconds[1:]], between_s[1:], steps


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--rounds", type=int, default=10, help="epochs of each that are timed")
    parser.add_argument("--log-every", type=int, default=50)
    parser.add_argument("--precision", default="float32")
    options = parser.parse_args()
    print(
        f"{cpu_name()}, {logical_cores()} cores, {options.precision}, a row with flips every {options.log_every} steps"
    )
    print("| steps | an epoch | bare fit, ms a step | train_model | ratio of medians | median of ratios | ms between |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for case in options.cases:
        ours, bare, between, steps = measure(case, options.rounds, options.log_every, options.precision)
        ours_ms, bare_ms, between_ms = (1e3 * statistics.median(each) for each in (ours, bare, between))
        ratios = [one / other for one, other in zip(ours, bare, strict=True)]
        print(
            f"| {case} | {steps} | {bare_ms:.2f} | {ours_ms:.2f} | {ours_ms / bare_ms:.3f} "
            f"| {statistics.median(ratios):.3f} | {between_ms:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
