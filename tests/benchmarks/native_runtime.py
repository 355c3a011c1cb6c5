"""The native runtime against LCE's interpreter, and against full-precision twins of the same shape in LiteRT.

    python tests/benchmarks/native_runtime.py [NETWORK ...] [--runs 50] [--threads 1] [--isa NAME ...] [--no-twins]
    python tests/benchmarks/native_runtime.py birealnet xnornet quicknet --int8

Untrained networks, one picture at a time, everything in this one process and taking turns of a few runs, of which the
first brings weights back into the caches and is not counted. Of each it prints the least and the median time of a run
on the processor (`--wall`, and with several threads: by the clock), and how many times faster than LCE's best setting
it is. Then, of the runtime's fastest instruction set: the share of time in binary convolutions, in float and in int8
ones, in the rest, and outside of the delegate; and the distance from the roofline, the time that the network would take
at what this core does on registers and reads from memory (runtime/benchmarks/peak.cc, compiled here with ziglang).
With `--int8` real layers compute in int8 (`--float-weights int8 --calibrate`), and the float32 file takes turns too.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import bopkit_runtime
import numpy as np

from bopkit import ExportOptions, export_model, init_model, list_models, load_model
from bopkit.export.comparison.twin import convert_twin, make_twin
from bopkit.export.pictures import photograph_crops
from bopkit.host import cpu_name

RUNTIME = Path(__file__).parents[2] / "runtime"
PEAK = (RUNTIME / "benchmarks" / "peak.cc", RUNTIME / "src" / "cpu.cc")

RUNS_A_TURN = 5

KINDS = ("binary", "float", "int8")
"""Of multiply-accumulates."""


def peak(folder):
    """Multiply-accumulates and bytes a nanosecond of one core."""
    program = Path(folder, "peak")
    compiler = [sys.executable, "-m", "ziglang", "c++", "-O3", "-std=c++17", *map(str, PEAK), "-o", str(program)]
    subprocess.run(compiler, check=True)
    return json.loads(subprocess.run([program], check=True, capture_output=True).stdout)


def lce_runner(flatbuffer, threads, **settings):
    from larq_compute_engine.tflite.python.interpreter import Interpreter

    interpreter = Interpreter(flatbuffer, threads, **settings)
    return lambda picture: interpreter.predict(picture)


def litert_runner(flatbuffer, threads):
    """LiteRT with XNNPACK, as it comes."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=flatbuffer, num_threads=threads)
    interpreter.allocate_tensors()
    details = interpreter.get_input_details()[0]

    def run(picture):
        interpreter.set_tensor(details["index"], picture.astype(details["dtype"]))
        interpreter.invoke()

    return run


def native_runner(path, threads, isa):
    return bopkit_runtime.Interpreter(path, num_threads=threads, isa=isa).predict


def interleaved_ms(runners, picture, runs, clock):
    """Milliseconds of each run, taking turns; one list a runner."""
    samples = {name: [] for name in runners}
    for _ in range(-(-runs // RUNS_A_TURN)):
        for name, runner in runners.items():
            runner(picture)
            for _ in range(RUNS_A_TURN):
                start = clock()
                runner(picture)
                samples[name].append((clock() - start) / 1e6)
    return samples


def calibration_pictures(shape, folder):
    """A dataset of crops of photographs, to calibrate a network that takes pictures of that shape; its name."""
    path = Path(folder, "photographs.npz")
    pictures = photograph_crops(shape, (0, 255), 32).astype(np.uint8)
    labels = np.arange(len(pictures)) % 10
    np.savez(path, x_train=pictures, y_train=labels, x_test=pictures[:16], y_test=labels[:16])
    return f"npz:{path}"


def export(model_file, folder, **options):
    artifacts = export_model(model_file, folder, ExportOptions(savedmodel=False, pictures=8, **options)).artifacts
    return Path(artifacts[0].path)


def runners_of(name, folder, arguments):
    model_file = init_model(name, Path(folder, f"{name}.h5"))
    path = float_path = export(model_file, Path(folder, "float32"))
    if arguments.int8:
        dataset = calibration_pictures(load_model(model_file).input_shape[1:], folder)
        # An untrained network has no accuracy to lose.
        calibration = {"calibrate": dataset, "preprocess_fn": "resize:-1..1", "max_drop": 100}
        path = export(model_file, Path(folder, "int8"), float_weights="int8", **calibration)
    flatbuffer, threads = path.read_bytes(), arguments.threads
    runners = {f"bopkit {isa}": native_runner(path, threads, isa) for isa in arguments.isa or bopkit_runtime.isas()}
    if arguments.int8:
        runners["bopkit float32"] = native_runner(float_path, threads, bopkit_runtime.isas()[0])
    runners["LCE default"] = lce_runner(flatbuffer, threads)
    runners["LCE best"] = lce_runner(flatbuffer, threads, use_indirect_bgemm=True, use_xnnpack=True)
    model = load_model(model_file)
    if not arguments.no_twins:
        twin = make_twin(model)
        for kind, int8 in (("float32", False), ("int8", True)):
            runners[f"{kind} twin"] = litert_runner(convert_twin(twin, int8=int8), threads)
    picture = np.random.default_rng(0).uniform(-1, 1, (1, *model.input_shape[1:])).astype(np.float32)
    return path, runners, picture


def profile(path, picture, runs):
    """Milliseconds of LiteRT's part of a call, the least of all runs; the steps; and what else the delegate tells."""
    interpreter = bopkit_runtime.Interpreter(path, profile=True)
    interpreter.predict(picture)
    invoke = interpreter.litert.invoke
    whole_ms = min(interleaved_ms({"": lambda _: invoke()}, picture, runs, time.thread_time_ns)[""])
    told = interpreter.describe()
    return whole_ms, [step for part in told["partitions"] for step in part["steps"]], told


def print_shares(path, picture, runs, peaks):
    """Where the time of the fastest instruction set goes, and how far it is from what the core can do."""
    whole_ms, steps, _ = profile(path, picture, runs)

    def least_ms(kind):
        return sum(step["least_ns"] for step in steps if kind(step)) / 1e6

    binary_ms, float_ms = least_ms(lambda step: step["binary_macs"]), least_ms(lambda step: step["float_macs"])
    int8_ms = least_ms(lambda step: step["int8_macs"])
    rest_ms = least_ms(lambda step: not any(step[f"{kind}_macs"] for kind in KINDS))
    outside_ms = max(0.0, whole_ms - binary_ms - float_ms - int8_ms - rest_ms)
    shares = {"binary": binary_ms, "float": float_ms, "int8": int8_ms, "rest": rest_ms, "outside": outside_ms}
    print(
        "   time in", ", ".join(f"{name} {ms / whole_ms:.0%}" for name, ms in shares.items()), f"of {whole_ms:.3f} ms"
    )
    if peaks["binary_macs_per_ns"]:
        macs_ns = sum(step[f"{kind}_macs"] / peaks[f"{kind}_macs_per_ns"] for kind in KINDS for step in steps)
        bytes_ns = path.stat().st_size / peaks["bytes_per_ns"]
        roof_ms = max(macs_ns, bytes_ns) / 1e6
        print(f"   roofline {roof_ms:.3f} ms (operations {macs_ns / 1e6:.3f}, weights {bytes_ns / 1e6:.3f}):", end="")
        print(f" {whole_ms / roof_ms:.2f} times as long")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=[model["name"] for model in list_models()])
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--isa", action="append", help="only these instruction sets")
    parser.add_argument("--no-twins", action="store_true")
    parser.add_argument("--int8", action="store_true", help="real layers in int8")
    parser.add_argument("--wall", action="store_true", help="by the clock: only where nobody else is busy")
    arguments = parser.parse_args()
    # This thread alone computes, and others may be busy: its time on the processor is what an idle machine would take.
    clock = time.perf_counter_ns if arguments.wall or arguments.threads > 1 else time.thread_time_ns
    with tempfile.TemporaryDirectory() as folder:
        peaks = peak(folder)
        print(f"{cpu_name()}, {arguments.threads} thread(s); one core at most: {json.dumps(peaks)}", flush=True)
        for name in arguments.networks:
            path, runners, picture = runners_of(name, folder, arguments)
            samples = interleaved_ms(runners, picture, arguments.runs, clock)
            reference = samples["LCE best"]
            print(f"{name:18}{'least ms':>10}{'median ms':>11}{'least':>9}{'median':>9}  times LCE best")
            for runner, each in samples.items():
                least, median = min(each), statistics.median(each)
                ratios = f"{min(reference) / least:9.2f}{statistics.median(reference) / median:9.2f}"
                print(f"   {runner:15}{least:10.3f}{median:11.3f}{ratios}", flush=True)
            print_shares(path, picture, arguments.runs, peaks)


if __name__ == "__main__":
    main()
