"""The five optimizers on digits: top-1 on the test pictures after the last epoch, over some seeds.

    python tests/benchmarks/optimizers.py [--sets bop_digits bold_digits] [--seeds 3] [--epochs N]
    python tests/benchmarks/optimizers.py --speed [--size 4096] [--runs 20]

The sets differ in the optimizer alone: same network, epochs, batch and learning rate. With `--speed`, the time of one
update of one square float32 kernel under tf.function instead, against larq's Bop in the same process, taking turns.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from bopkit import train_model
from bopkit.keras2 import import_tensorflow

SETS = ("bop_digits", "bop2nd_digits", "cema_digits", "bold_digits", "latent_digits")


def accuracies(hparams_set, seeds, hparams):
    """Top-1 in percent of one run a seed, in the seeds' order."""
    with tempfile.TemporaryDirectory() as folder:
        return [
            100
            * train_model(
                "binarynet",
                "digits",
                hparams_set=hparams_set,
                hparams=hparams,
                output_dir=Path(folder, str(seed)),
                tensorboard=False,
                seed=seed,
            ).metrics["val_top1"]
            for seed in range(seeds)
        ]


def print_accuracies(sets, seeds, epochs):
    """One line of a Markdown table a set."""
    print("| set | top-1, mean (%) | standard deviation | seeds | seconds a run |")
    print("|---|--:|--:|--:|--:|")
    for name in sets:
        began = time.perf_counter()
        figures = accuracies(name, seeds, {} if epochs is None else {"epochs": epochs})
        seconds = (time.perf_counter() - began) / seeds
        spread = f"{statistics.stdev(figures):.2f}" if seeds > 1 else "-"
        print(f"| `{name}` | {statistics.mean(figures):.2f} | {spread} | {seeds} | {seconds:.0f} |", flush=True)


def print_speed(size, runs):
    """Median milliseconds of an update, and the ratio to larq's Bop."""
    tf = import_tensorflow()
    import larq

    from bopkit.optim import CEMA, Bold, Bop, Bop2nd

    rng = np.random.default_rng(0)
    signs = np.sign(rng.normal(size=(size, size))).astype(np.float32)
    source = tf.constant(rng.normal(size=(size, size)), tf.float32)

    def update_of(optimizer):
        kernel = tf.Variable(signs)

        @tf.function
        def update():
            # A new tensor every time, as backpropagation gives: TensorFlow may then reuse its memory.
            optimizer.apply_gradients([(source * 1e-3, kernel)])

        update()
        return update

    updates = {
        "larq Bop": update_of(larq.optimizers.Bop(1e-6, 1e-3)),
        "Bop": update_of(Bop(1e-6, 1e-3)),
        "Bop2nd": update_of(Bop2nd(1e-3, 1e-3, 1e-2)),
        "Bop2nd unbiased": update_of(Bop2nd(1e-3, 1e-3, 1e-2, "unbiased")),
        "CEMA": update_of(CEMA()),
        "Bold": update_of(Bold()),
    }
    times_ms = {name: [] for name in updates}
    for _ in range(runs):
        for name, update in updates.items():
            began = time.perf_counter()
            update()
            times_ms[name].append(1e3 * (time.perf_counter() - began))
    print(f"| optimizer | ms an update of {size} x {size} | against larq's Bop |")
    print("|---|--:|--:|")
    larq_ms = statistics.median(times_ms["larq Bop"])
    for name, each_ms in times_ms.items():
        print(f"| {name} | {statistics.median(each_ms):.1f} | {statistics.median(each_ms) / larq_ms:.2f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="default: the sets' own")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--runs", type=int, default=20)
    options = parser.parse_args()
    if options.speed:
        print_speed(options.size, options.runs)
    else:
        print_accuracies(options.sets, options.seeds, options.epochs)


if __name__ == "__main__":
    main()
