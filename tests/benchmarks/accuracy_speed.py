"""How fast accuracy is measured: `bopkit benchmark` against one LCE interpreter in a plain loop.

    python tests/benchmarks/accuracy_speed.py [NETWORK] [--pictures 1000] [--rounds 3]

An untrained network, exported, and the stand-in for ImageNet of tests/support/standins.py, JPEG pictures of 230 to 320
pixels. All read and preprocess the same pictures with the same pipeline; in the plain loops it prepares the next
pictures on another core while the interpreter computes, as tf.data does for anyone. They take turns, and the best round
of each counts, since others may be busy here. The clock starts before the first picture is read, and ends with the last
score; starting processes and loading the network do not count. `processor` is the time of all cores for one picture:
what an idle machine comes near to."""

import argparse
import itertools
import sys
import tempfile
import time
from pathlib import Path

from bopkit import ExportOptions, export_model, init_model
from bopkit.benchmark import benchmark_artifacts
from bopkit.benchmark.accuracy import plan_evaluation, write_scores
from bopkit.benchmark.runtimes.parallel import one_a_core
from bopkit.benchmark.runtimes.runtime import make_runtime
from bopkit.data import evaluation_batches, get_preprocessing, open_dataset
from bopkit.host import cpu_name, usable_cores

sys.path.append(str(Path(__file__).parents[1] / "support"))  # for `standins`

PROJECTED_PICTURES = 50_000
PREPROCESSING = "imagenet"


def bopkit_evaluation(path, data_dir, pictures):
    """What `bopkit benchmark` runs, without its process around it: pictures a second, and processor seconds."""
    runtime = make_runtime("tflite", 1, "litert")
    runtime.load(path)
    plan = plan_evaluation("imagenet2012", data_dir, None, PREPROCESSING, pictures, 32)
    with tempfile.TemporaryDirectory() as folder, one_a_core(runtime, "tflite", "litert", path, usable_cores()) as team:
        began_s = time.process_time()
        found = write_scores(team, plan, PREPROCESSING, Path(folder), print)
        return found.images_per_second, (time.process_time() - began_s) / pictures


def plain_loop(path, data_dir, pictures, **settings):
    from larq_compute_engine.tflite.python.interpreter import Interpreter

    interpreter = Interpreter(path.read_bytes(), num_threads=1, **settings)
    dataset = open_dataset("imagenet2012", data_dir)
    preprocessing = get_preprocessing(PREPROCESSING, tuple(interpreter.input_shapes[0][1:]))
    batches = evaluation_batches(dataset, dataset.test_split, preprocessing, 1, pictures)
    began_s, processor_began_s = time.monotonic(), time.process_time()
    for images, _ in batches.as_numpy_iterator():
        interpreter.predict(images)
    return pictures / (time.monotonic() - began_s), (time.process_time() - processor_began_s) / pictures


def main():
    import standins

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", nargs="?", default="birealnet")
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model_file = init_model(arguments.network, Path(folder, "model.h5"))
        options = ExportOptions(savedmodel=False, pictures=8)
        path = Path(export_model(model_file, options=options).artifacts[0].path)
        standins.prepare_imagenet2012(folder, classes=10, train_per_class=1, validation=arguments.pictures)
        few = min(arguments.pictures, 100)  # of the slow ones
        best = {"use_indirect_bgemm": True}
        measured = {
            "LCE default, plain loop": lambda: plain_loop(path, folder, few),
            "LCE best, plain loop": lambda: plain_loop(path, folder, few, **best),
            "bopkit, native runtime": lambda: bopkit_evaluation(path, folder, arguments.pictures),
        }
        found = {name: [] for name in measured}
        for _, (name, measure) in itertools.product(range(arguments.rounds), measured.items()):
            found[name].append(measure())
        row = benchmark_artifacts(
            [path], "imagenet2012", folder, runs=5, min_duration_s=0, runtime="litert", resume=False
        ).rows[0]
    rates = {name: max(rate for rate, _ in rounds) for name, rounds in found.items()}
    processor_ms = {name: 1e3 * min(seconds for _, seconds in rounds) for name, rounds in found.items()}
    print(f"{arguments.network}, {cpu_name()}, {usable_cores()} cores; best of {arguments.rounds} rounds")
    print(f"{'':26}{'pictures/s':>10}{'times LCE default':>19}{'times LCE best':>16}{'processor ms':>14}{'50,000':>12}")
    for name, rate in rates.items():
        default, lce_best = (rate / rates[other] for other in list(rates)[:2])
        minutes = PROJECTED_PICTURES / rate / 60
        print(f"{name:26}{rate:10.1f}{default:19.2f}{lce_best:16.2f}{processor_ms[name]:14.2f}{minutes:8.1f} min")
    print(f"`bopkit benchmark` itself, once: {row.images_per_second:.1f} pictures/s on {row.pictures} pictures")


if __name__ == "__main__":
    main()
