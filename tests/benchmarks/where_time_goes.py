"""Where the time of a small network's training goes, and its speed against another version of bopkit, taking turns.

    python tests/benchmarks/where_time_goes.py --data-dir DIR [--dataset fashion_mnist] [--precisions bfloat16 float32]
        [--steps 100] [--rounds 5]
    python tests/benchmarks/where_time_goes.py --data-dir DIR --against OTHER [--epochs 4] [--limit-steps N]

BinaryNet, `filters=32,dense_units=256`, set `bop` (batches of 100), with the dataset's own preprocessing.

Without `--against`: milliseconds of processor time and of waiting for each part of a step, the parts taking turns.
`convolutions` runs the very convolutions of a step and their two gradients, and nothing else: no change around them
makes a step faster than that. What one part includes of another is said in its line.

With it: whole epochs of `train_model` of this version and of the other, an epoch each, the first of them left out;
pictures a second are of training alone, processor time is of all, validation included. OTHER is a folder to import
that version from: `git worktree add old COMMIT && pip install --no-deps --target OTHER ./old`. Both losses are printed:
equal ones have trained alike.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SETTINGS = {"filters": 32, "dense_units": 256}
WARM_UP_STEPS = 20


def parts_of_a_step(dataset, data_dir, precision):
    """A function that does each part a number of times, by what the part is."""
    import numpy as np

    from bopkit.data import BatchOptions, get_preprocessing, open_dataset, training_batches
    from bopkit.hparams import override
    from bopkit.keras2 import import_tensorflow
    from bopkit.optim import make_optimizer
    from bopkit.registry import MODELS
    from bopkit.training.network import build_training_network
    from bopkit.training.step import TrainStep

    tf = import_tensorflow()
    data = open_dataset(dataset, data_dir)
    preprocessing = get_preprocessing(data.default_preprocessing, data.input_shape)
    architecture = MODELS.load("binarynet")
    hparams = override(architecture.hparams("bop"), SETTINGS)
    steps_per_epoch = data.count("train") // hparams.batch_size
    classes = len(data.class_names)
    network = build_training_network(architecture, hparams, data.input_shape, classes, precision=precision)
    optimizer, _ = make_optimizer(network, hparams, steps_per_epoch)
    options = BatchOptions(batch_size=hparams.batch_size, steps_per_epoch=steps_per_epoch, epochs=1000, seed=0)
    batches = iter(training_batches(data, "train", preprocessing, options))
    pixels, labels = next(batches)
    same_batch = iter(tf.data.Dataset.from_tensors((pixels, labels)).repeat())
    step = TrainStep(network, optimizer, tf.distribute.get_strategy(), finish=preprocessing.finish)

    def forward_and_back():
        with tf.GradientTape() as tape:
            probabilities = network(preprocessing.finish(pixels), training=True)
            loss = tf.reduce_mean(tf.keras.losses.sparse_categorical_crossentropy(labels, probabilities))
        return tape.gradient(loss, network.trainable_variables)

    rng, variables = np.random.default_rng(0), network.trainable_variables
    gradients = [tf.constant(rng.normal(size=each.shape) * 1e-3, tf.float32) for each in variables]

    def optimize():
        # A new tensor every time, as backpropagation gives: TensorFlow may then reuse its memory.
        optimizer.apply_gradients([(each * 1.0, of) for each, of in zip(gradients, variables, strict=True)])

    def graph(function, jit=False):
        traced = tf.function(function, autograph=False, jit_compile=jit)

        def repeat(count):
            for _ in range(count):
                traced()

        return repeat

    def train(iterator):
        def repeat(count):
            unread = None
            for _ in range(count):
                result = step.train_next(iterator, [0.0, 0.0])
                if unread is not None:
                    unread.read()
                unread = result
            unread.read()

        return repeat

    def take(count):
        for _ in range(count):
            next(batches)

    convolutions = _convolutions(network, hparams.batch_size)
    return {
        "training: input and step": train(batches),
        "input alone": take,
        "step on one batch": train(same_batch),
        "of it forward and back": graph(forward_and_back),
        "of that convolutions": graph(convolutions),
        "of it optimizer": graph(optimize),
        "the convolutions by XLA": graph(convolutions, jit=True),
    }


def _convolutions(network, batch_size):
    """A function that computes each convolution of a network, and its gradients, on random numbers of its shapes."""
    from bopkit.keras2 import import_tensorflow

    tf = import_tensorflow()
    cases = []
    for layer in network.layers:
        if not hasattr(layer, "kernel_size"):
            continue
        dtype, options = layer.compute_dtype, {"strides": [1, *layer.strides, 1], "padding": layer.padding.upper()}
        shapes = [
            (batch_size, *layer.input_shape[1:]),
            tuple(layer.kernel.shape),
            (batch_size, *layer.output_shape[1:]),
        ]
        inputs, kernel, gradient = (tf.cast(tf.random.normal(shape), dtype) for shape in shapes)
        cases.append((tf.sign(inputs), tf.sign(kernel), gradient, options, not cases))

    def compute():
        results = []
        for inputs, kernel, gradient, options, is_first in cases:
            results.append(tf.nn.conv2d(inputs, kernel, **options))
            of_kernel = {"input": inputs, "filter_sizes": kernel.shape, "out_backprop": gradient}
            results.append(tf.raw_ops.Conv2DBackpropFilter(**of_kernel, **options))
            if not is_first:  # nobody asks for the gradient of the pictures
                of_inputs = {"input_sizes": inputs.shape, "filter": kernel, "out_backprop": gradient}
                results.append(tf.raw_ops.Conv2DBackpropInput(**of_inputs, **options))
        return results

    return compute


def print_parts(options):
    """One table a precision."""
    for precision in options.precisions:
        parts = parts_of_a_step(options.dataset, options.data_dir, precision)
        times = {name: [] for name in parts}
        for _ in range(options.rounds):
            for name, repeat in parts.items():
                repeat(WARM_UP_STEPS)  # also uses up what the input has prepared meanwhile
                wall, cpu = time.perf_counter(), time.process_time()
                repeat(options.steps)
                spent = (time.process_time() - cpu, time.perf_counter() - wall)
                times[name].append([1e3 * seconds / options.steps for seconds in spent])
        print(f"\n| {precision} | processor ms a step | share | ms a step |")
        print("|---|--:|--:|--:|")
        whole = statistics.median(cpu for cpu, _ in next(iter(times.values())))
        for name, each in times.items():
            cpu, wall = (statistics.median(column) for column in zip(*each, strict=True))
            print(f"| {name} | {cpu:.1f} | {cpu / whole:.0%} | {wall:.1f} |", flush=True)


def serve(options):
    """Be one version: train, and tell each epoch in a line of JSON when a line on stdin asks for it."""
    import bopkit

    cpu = time.process_time()

    def on_epoch(row):
        nonlocal cpu
        spent, cpu = time.process_time() - cpu, time.process_time()
        told = {name: row[name] for name in ("images_per_second", "epoch_seconds", "loss", "step")}
        print(json.dumps({**told, "cpu_seconds": spent, "from": bopkit.__file__}), flush=True)
        sys.stdin.readline()
        cpu = time.process_time()

    sys.stdin.readline()
    with tempfile.TemporaryDirectory() as folder:
        bopkit.train_model(
            "binarynet",
            options.dataset,
            hparams_set="bop",
            hparams={**SETTINGS, "epochs": options.epochs},
            data_dir=options.data_dir,
            output_dir=Path(folder, "run"),
            precision=options.precisions[0],
            device="cpu",
            limit_steps=options.limit_steps,
            on_epoch=on_epoch,
        )


class Child:
    """A version in its process."""

    def __init__(self, options, precision, imported_from=None):
        command = [sys.executable, str(Path(__file__).resolve()), "--child", "--precisions", precision]
        command += ["--dataset", options.dataset, "--epochs", str(options.epochs)]
        command += ["--data-dir", options.data_dir] if options.data_dir else []
        command += ["--limit-steps", str(options.limit_steps)] if options.limit_steps else []
        path = {"PYTHONPATH": imported_from} if imported_from else {}
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **path},
        )

    def epoch(self):
        """Train one: what `serve` tells of it."""
        self._process.stdin.write("go on\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"A version ended with code {self._process.wait()}.")
        return json.loads(line)

    def end(self):
        """Let it end."""
        self._process.stdin.close()
        self._process.wait()


def print_comparison(options):
    """One line a precision."""
    print("| precision | images/s, other | this | ratio | processor s an epoch, other | this | ratio | loss | this |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    for precision in options.precisions:
        children = {"other": Child(options, precision, str(Path(options.against).resolve()))}
        children["this"] = Child(options, precision)
        told = {name: [] for name in children}
        for _ in range(options.epochs):
            for name, child in children.items():
                told[name].append(child.epoch())
        for child in children.values():
            child.end()
        if told["other"][0]["from"] == told["this"][0]["from"]:
            raise SystemExit(f"{options.against} holds no bopkit to import.")
        columns = [precision]
        for key, digits in (("images_per_second", 0), ("cpu_seconds", 1)):
            other, this = ([each[key] for each in told[name][1:]] for name in ("other", "this"))
            ratios = [ours / theirs for ours, theirs in zip(this, other, strict=True)]
            columns += [f"{statistics.median(each):,.{digits}f}" for each in (other, this)]
            columns.append(f"{statistics.median(ratios):.2f}")
        columns += [f"{told[name][-1]['loss']:.6f}" for name in ("other", "this")]
        print(f"| {' | '.join(columns)} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="fashion_mnist")
    parser.add_argument("--data-dir")
    parser.add_argument("--precisions", nargs="+", default=["bfloat16", "float32"])
    parser.add_argument("--steps", type=int, default=50, help="steps of a part in one round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--against", help="folder to import another version of bopkit from")
    parser.add_argument("--epochs", type=int, default=4, help="of each version, the first of them not counted")
    parser.add_argument("--limit-steps", type=int, help="steps an epoch, where a whole one takes too long")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        serve(options)
        return
    from bopkit.host import cpu_name, logical_cores

    print(f"{cpu_name()}, {logical_cores()} cores")
    if options.against:
        print_comparison(options)
    else:
        print_parts(options)


if __name__ == "__main__":
    main()
