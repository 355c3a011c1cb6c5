"""The native runtime against LCE's best setting on every network of the catalogue, and what stays outside of it.

    python tests/benchmarks/zoo_runtime.py [NETWORK ...] [--runs 20] [--threads 1] [--steps 0] [--folder FOLDER]

Untrained networks whose batch norms, shifts and slopes are random, so that nothing of them folds away; one picture at
a time, in one process and taking turns as in native_runtime.py. `claimed` counts operators of the file that the runtime
runs, of all. The shares are those of the least time of LiteRT's `invoke`: in binary convolutions, in float ones, in the
rest of the delegate, and outside. `slowest` is the slowest step; `--steps` prints more of them. `--folder` keeps the
flatbuffers, and takes those that are there.
"""

import argparse
import tempfile
import time
from pathlib import Path

import bopkit_runtime
import numpy as np
from native_runtime import interleaved_ms, lce_runner, native_runner, profile

from bopkit import ExportOptions, export_model, init_model, list_models, load_model
from bopkit.host import cpu_name
from bopkit.keras2 import import_tensorflow


def scatter(model_file):
    """Give what a network begins with zeros or ones random values: batch norms, shifts and slopes."""
    tf = import_tensorflow()
    model, rng = load_model(model_file), np.random.default_rng(0)
    ranges = {"gamma": (0.5, 1.5), "moving_variance": (0.5, 1.5), "alpha": (0.1, 0.4)}
    ranges |= dict.fromkeys(("beta", "moving_mean", "shift", "shift_before", "shift_behind"), (-0.2, 0.2))
    for variable in model.variables:
        name = variable.name.split("/")[-1].partition(":")[0]
        if name in ranges:
            variable.assign(tf.constant(rng.uniform(*ranges[name], variable.shape), tf.float32))
    model.save(model_file)


def flatbuffer_of(name, folder):
    path = Path(folder, f"{name}.tflite")
    if not path.exists():
        model_file = init_model(name, Path(folder, f"{name}.h5"))
        scatter(model_file)
        export_model(model_file, folder, ExportOptions(savedmodel=False, pictures=2))
        model_file.unlink()
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=[model["name"] for model in list_models()])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=0, help="how many of the slowest steps to print")
    parser.add_argument("--folder", help="of the flatbuffers")
    arguments = parser.parse_args()
    clock = time.perf_counter_ns if arguments.threads > 1 else time.thread_time_ns
    print(f"{cpu_name()}, {arguments.threads} thread(s), {bopkit_runtime.isas()[0]}")
    columns = ("network", "ms", "LCE best", "times", "claimed", "parts", "binary", "float", "rest", "outside")
    print("{:26}{:>8}{:>10}{:>7}{:>10}{:>7}{:>8}{:>7}{:>7}{:>9}  slowest".format(*columns))
    with tempfile.TemporaryDirectory() as scratch:
        for name in arguments.networks:
            path = flatbuffer_of(name, arguments.folder or scratch)
            (facts,) = list_models(name)
            picture = np.random.default_rng(0).uniform(-1, 1, (1, *facts["input_shape"])).astype(np.float32)
            runners = {
                "ours": native_runner(path, arguments.threads, bopkit_runtime.isas()[0]),
                "LCE best": lce_runner(path.read_bytes(), arguments.threads, use_indirect_bgemm=True, use_xnnpack=True),
            }
            samples = interleaved_ms(runners, picture, arguments.runs, clock)
            ours_ms, lce_ms = min(samples["ours"]), min(samples["LCE best"])
            whole_ms, steps, told = profile(path, picture, arguments.runs)
            print_row(name, ours_ms, lce_ms, whole_ms, steps, told, path)
            steps.sort(key=lambda step: -step["least_ns"])
            for step in steps[: arguments.steps]:
                print(f"    {step['least_ns'] / 1e6:8.3f} ms  {step['name']}", flush=True)


def print_row(name, ours_ms, lce_ms, whole_ms, steps, told, path):
    def share(kind):
        return sum(step["least_ns"] for step in steps if kind(step)) / 1e6 / whole_ms

    binary, real = share(lambda step: step["binary_macs"]), share(lambda step: step["float_macs"])
    rest = share(lambda step: not step["binary_macs"] and not step["float_macs"])
    outside = max(0.0, 1 - binary - real - rest)
    slowest = max(steps, key=lambda step: step["least_ns"])
    claimed = f"{told['claimed_nodes']}/{operators_of(path)}"
    figures = f"{ours_ms:8.3f}{lce_ms:10.3f}{lce_ms / ours_ms:7.2f}{claimed:>10}{len(told['partitions']):7}"
    shares = f"{binary:8.0%}{real:7.0%}{rest:7.0%}{outside:9.0%}"
    print(f"{name:26}{figures}{shares}  {slowest['least_ns'] / 1e6:.3f} {slowest['name']}", flush=True)


def operators_of(path):
    """How many operators the file has."""
    from ai_edge_litert import schema_py_generated as schema

    return schema.Model.GetRootAs(path.read_bytes()).Subgraphs(0).OperatorsLength()


if __name__ == "__main__":
    main()
