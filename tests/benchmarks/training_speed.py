"""Pictures per second and peak memory of training: our step against a plain Keras loop, in one run.

    python tests/benchmarks/training_speed.py [--networks binarynet birealnet] [--variants float32 bfloat16]
        [--rounds 5] [--steps 10] [--batch-size N]

The peer is `compile` and `fit` with larq's own Bop in larq's CaseOptimizer, Adam, float32 and accuracy as its metric.
Ours is `TrainStep` with the same network, set, seed and batch; `float32` has identical settings, `bfloat16` computes
layers in bfloat16, `_jit` compiles with XLA. BinaryNet trains on 32x32 in batches of 100, the others on 224x224 in
batches of 32; one batch of random pictures lies in memory and is trained on again and again.

Each variant lives in a process of its own, since peak memory is of a process, and waits there for its turn. Three
steps warm it up; their losses must be the peer's where settings are identical. The variants take turns, in another
order every round. Peak memory is the largest resident set, TensorFlow included; on a GPU, the most that TensorFlow took
of its memory.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from bopkit import keras2
from bopkit.host import cpu_name, logical_cores, peak_memory_bytes
from bopkit.hparams import override
from bopkit.registry import MODELS

PEER = "keras"
OURS = ("float32", "bfloat16", "float32_jit", "bfloat16_jit")
BATCH_SIZES = {"binarynet": 100}
DEFAULT_BATCH_SIZE = 32
STEPS_PER_EPOCH = 500  # of the schedules: BinaryNet's on CIFAR-10
WARM_UP_STEPS = 3
LOSS_TOLERANCE = 1e-4
"""Largest relative difference of a warm-up loss from the peer's, with identical settings."""


def peer_run(network, optimizer, batches):
    """`fit`: a function from a number of steps to their seconds and mean loss."""
    from plain_keras import EpochClock

    network.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])

    def run(steps):
        clock = EpochClock()
        history = network.fit(batches, steps_per_epoch=steps, verbose=0, callbacks=[clock]).history
        return clock.seconds[0], history["loss"][0]

    return run


def our_run(network, optimizer, batches, strategy, jit):
    """`TrainStep` as the trainer's loop drives it: a function from a number of steps to their seconds and mean loss."""
    from bopkit.training.step import Sums, TrainStep

    step = TrainStep(network, optimizer, strategy, jit=jit)
    iterator = iter(strategy.distribute_datasets_from_function(lambda context: batches))

    def run(steps):
        began = time.perf_counter()
        sums, unread = Sums(), None
        for _ in range(steps):
            result = step.train_next(iterator)
            if unread is not None:
                sums += unread.read()[0]
            unread = result
        sums += unread.read()[0]
        return time.perf_counter() - began, sums.loss / sums.pictures

    return run


def serve(name, variant, batch_size, device):
    """Be one variant: read numbers of steps from stdin, train, answer each with a line of JSON on stdout."""
    from bopkit.optim import make_optimizer
    from bopkit.training.devices import choose_devices
    from bopkit.training.network import build_training_network

    keras2.quiet = True
    tf = keras2.import_tensorflow()
    placement = choose_devices("one", device)
    architecture = MODELS.load(name)
    shape, classes = architecture.input_shape, architecture.classes
    hparams = override(architecture.hparams("bop"), {"batch_size": batch_size})
    rng = np.random.default_rng(0)
    pictures = rng.uniform(-1, 1, (batch_size, *shape)).astype(np.float32)
    batches = tf.data.Dataset.from_tensors((pictures, rng.integers(0, classes, batch_size))).repeat()
    tf.keras.utils.set_random_seed(1)
    if variant == PEER:
        from plain_keras import larq_optimizer

        network = architecture.build_network(hparams, shape, classes)
        run = peer_run(network, larq_optimizer(hparams, STEPS_PER_EPOCH), batches)
    else:
        precision, _, jit = variant.partition("_")
        with placement.strategy.scope():
            network = build_training_network(architecture, hparams, shape, classes, precision=precision)
            optimizer, _ = make_optimizer(network, hparams, STEPS_PER_EPOCH)
        run = our_run(network, optimizer, batches, placement.strategy, bool(jit))
    for line in sys.stdin:
        seconds, loss = run(int(line))
        if placement.on_gpu:
            peak_bytes = tf.config.experimental.get_memory_info("GPU:0")["peak"]
        else:
            peak_bytes = peak_memory_bytes()
        answer = {"seconds": seconds, "loss": loss, "peak_bytes": peak_bytes, "on": placement.describe()}
        print(json.dumps(answer), flush=True)


class Child:
    """A variant in its process."""

    def __init__(self, name, variant, batch_size, device):
        self._what = f"{name} {variant}"
        command = [sys.executable, str(Path(__file__).resolve()), "--networks", name, "--child", variant]
        self._process = subprocess.Popen(
            [*command, "--batch-size", str(batch_size), "--device", device],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ},
        )

    def run(self, steps):
        """What `serve` answers."""
        self._process.stdin.write(f"{steps}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self._what} ended with code {self._process.wait()}: not enough memory?")
        return json.loads(line)

    def end(self):
        """Let it go."""
        self._process.stdin.close()
        self._process.wait()


def warm_up(children):
    """The first losses of each variant, printed.

    Raises:
        SystemExit: Identical settings give other losses than the peer's: they would not be compared fairly.
    """
    losses = {}
    for variant, child in children.items():
        answers = [child.run(1) for _ in range(WARM_UP_STEPS)]
        losses[variant] = [answer["loss"] for answer in answers]
        print(f"first losses {variant:14}", *(f"{loss:.6f}" for loss in losses[variant]), flush=True)
    print(f"on {answers[-1]['on']}")
    if "float32" in losses and not np.allclose(losses["float32"], losses[PEER], rtol=LOSS_TOLERANCE, atol=0):
        raise SystemExit("float32 and the peer do not train alike: no comparison.")


def compare(name, variants, rounds, steps, batch_size, device):
    """Train all variants of a network and print their lines."""
    children = {variant: Child(name, variant, batch_size, device) for variant in variants}
    try:
        warm_up(children)
        rates, peaks = {variant: [] for variant in variants}, {}
        for number in range(rounds):
            start = number % len(variants)
            for variant in variants[start:] + variants[:start]:
                answer = children[variant].run(steps)
                rates[variant].append(steps * batch_size / answer["seconds"])
                peaks[variant] = answer["peak_bytes"]
    finally:
        for child in children.values():
            child.end()
    print("| variant | images/s min | median | max | ratio of medians | median of ratios | peak memory MB |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for variant, each in rates.items():
        ratio = statistics.median(each) / statistics.median(rates[PEER])
        ratios = [ours / peer for ours, peer in zip(each, rates[PEER], strict=True)]
        print(
            f"| {variant} | {min(each):.1f} | {statistics.median(each):.1f} | {max(each):.1f} | {ratio:.2f} "
            f"| {statistics.median(ratios):.2f} | {peaks[variant] / 1e6:.0f} |",
            flush=True,
        )


def cpu_features():
    """The CPU's bfloat16 instructions, as far as Linux names them."""
    try:
        flags = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        return "bfloat16 instructions unknown"
    have = flags[1].split() if flags else []
    return ", ".join(f"{'has' if flag in have else 'no'} {flag.upper()}" for flag in ("amx_bf16", "avx512_bf16"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["binarynet", "birealnet"])
    parser.add_argument("--variants", nargs="+", choices=OURS, default=["float32", "bfloat16"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10, help="steps of a variant in one round")
    parser.add_argument("--batch-size", type=int, help="default: 100 for binarynet, 32 for the others")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        serve(options.networks[0], options.child, options.batch_size, options.device)
        return
    print(f"{cpu_name()}, {logical_cores()} cores, {cpu_features()}")
    for name in options.networks:
        batch_size = options.batch_size or BATCH_SIZES.get(name, DEFAULT_BATCH_SIZE)
        print(f"\n{name}, batches of {batch_size}, {options.rounds} rounds of {options.steps} steps", flush=True)
        compare(name, [PEER, *options.variants], options.rounds, options.steps, batch_size, options.device)


if __name__ == "__main__":
    main()
