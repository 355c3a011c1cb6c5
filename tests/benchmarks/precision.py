"""What bfloat16 does to the accuracy: test top-1 of runs in float32 and in bfloat16, over some seeds.

    python tests/benchmarks/precision.py [--dataset digits|cifar10] [--seeds 5] [--epochs N] [--noise 70]
        [--data-dir DIR] [--hparams-set bop_digits] [--filters 32]

Trains a BinaryNet of a quarter of the width, alternating between the two, and prints top-1 on the whole test split
after the last epoch, the difference of the means and its 95 % interval by Welch's t test. `cifar10` are drawn pictures
of CIFAR-10's format, the tests' crossed stripes, made in a temporary folder; with --data-dir, what is prepared there.
Where both means exceed 99 % the task says nothing: it is made harder, by a quarter more noise or half the epochs, and
repeated.
"""

import argparse
import contextlib
import functools
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "support"))  # for `standins`

from bopkit import keras2, train_model

PRECISIONS = ("float32", "bfloat16")
SATURATED = 99.0  # percent
LIMIT = 1.0  # points of top-1 that may be lost
TRAIN, TEST = 4000, 2000  # drawn pictures
EPOCHS = {"digits": 40, "cifar10": 12}


def draw_cifar10(folder, noise):
    """Prepare drawn pictures in `folder`; `noise` is the standard deviation of their noise."""
    import standins
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    with contextlib.redirect_stdout(sys.stderr):
        standins.prepare_cifar10(folder, TRAIN, TEST, draw=functools.partial(standins.crossed_picture, noise=noise))


def train(dataset, data_dir, precision, seed, hparams, options):
    """Top-1 in percent on the test split after the last epoch, and seconds."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        result = train_model(
            "binarynet",
            dataset,
            hparams_set=options.hparams_set,
            hparams=hparams,
            data_dir=data_dir,
            output_dir=Path(folder, "run"),
            precision=precision,
            tensorboard=False,
            seed=seed,
            limit_steps=options.limit_steps,
        )
    return 100 * result.metrics["val_top1"], time.perf_counter() - began


def compare(data_dir, epochs, options):
    """Train all, print a line each; the top-1 in percent by precision, in the order of the seeds."""
    hparams = {"epochs": epochs, "filters": options.filters, "dense_units": 8 * options.filters}
    top1 = {precision: [] for precision in PRECISIONS}
    for seed in range(options.seeds):
        for precision in PRECISIONS:
            percent, seconds = train(options.dataset, data_dir, precision, seed, hparams, options)
            top1[precision].append(percent)
            print(f"seed {seed}  {precision:8}  {percent:6.2f} %  {seconds:.0f} s", flush=True)
    return top1


def print_difference(top1):
    """Means, spread, and the 95 % interval of the difference of means, which need not have equal variances."""
    from scipy.stats import ttest_ind

    for precision, each in top1.items():
        spread = f", standard deviation {statistics.stdev(each):.2f}" if len(each) > 1 else ""
        print(f"{precision}: mean {statistics.mean(each):.2f} %{spread}, {len(each)} seeds")
    difference = statistics.mean(top1["bfloat16"]) - statistics.mean(top1["float32"])
    print(f"bfloat16 - float32: {difference:+.2f} points, {verdict(difference, difference)}")
    if len(top1["float32"]) > 1:
        low, high = ttest_ind(top1["bfloat16"], top1["float32"], equal_var=False).confidence_interval(0.95)
        print(f"95 % interval: {low:+.2f} to {high:+.2f} points, {verdict(low, high)}")


def verdict(low, high):
    """Whether both ends are within the limit."""
    return f"{'' if max(abs(low), abs(high)) <= LIMIT else 'not '}within {LIMIT:g} point"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", choices=list(EPOCHS), default="digits")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, help=f"default: {EPOCHS}")
    parser.add_argument(
        "--noise", type=float, default=70.0, help="its standard deviation in drawn pictures of 0 to 255"
    )
    parser.add_argument("--data-dir", type=Path, help="with a prepared cifar10; default: drawn pictures")
    parser.add_argument("--hparams-set", default="bop_digits")
    parser.add_argument("--filters", type=int, default=32)
    parser.add_argument("--limit-steps", type=int, help="steps an epoch, to try the command out")
    options = parser.parse_args()
    keras2.quiet = True
    epochs, noise = options.epochs or EPOCHS[options.dataset], options.noise
    is_drawn = options.dataset == "cifar10" and options.data_dir is None
    while True:
        print(f"{options.dataset}, {options.hparams_set}, {epochs} epochs" + (f", noise {noise:g}" if is_drawn else ""))
        with tempfile.TemporaryDirectory() if is_drawn else contextlib.nullcontext(options.data_dir) as data_dir:
            if is_drawn:
                draw_cifar10(data_dir, noise)
            top1 = compare(data_dir, epochs, options)
        print_difference(top1)
        if min(map(statistics.mean, top1.values())) <= SATURATED or epochs == 1:
            return
        print(f"both above {SATURATED:g} %: repeated with a harder task", flush=True)
        if is_drawn:
            noise *= 1.25
        else:
            epochs //= 2


if __name__ == "__main__":
    main()
