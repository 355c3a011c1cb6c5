"""Size and latency of bopkit's flatbuffers against stock LCE's of the same untrained networks, in one run.

    python tests/benchmarks/packed_sizes.py [NETWORK ...] [--runs 30] [--float-weights int8 [--calibrate DATASET]]

Both files run in LCE's interpreter on one thread with indirect BGEMM, its fastest setting that changes no score, taking
turns.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from bopkit import ExportOptions, export_model, init_model, list_models, load_model


def stock_flatbuffer(model_file):
    """What LCE's own converter makes of the model."""
    import larq_compute_engine as lce

    return lce.convert_keras_model(load_model(model_file))


def interleaved_latencies_ms(flatbuffers, runs):
    """CPU milliseconds of one picture, `runs` times each, taking turns; one list a flatbuffer."""
    from larq_compute_engine.tflite.python.interpreter import Interpreter

    interpreters = [Interpreter(each, 1, use_indirect_bgemm=True) for each in flatbuffers]
    pictures = [
        np.random.default_rng(0).uniform(-1, 1, each.input_shapes[0]).astype(np.float32) for each in interpreters
    ]
    samples = [[] for _ in interpreters]
    for run in range(runs + 3):
        for interpreter, picture, sample in zip(interpreters, pictures, samples, strict=True):
            start = time.thread_time_ns()  # this thread alone computes, and others may be busy
            interpreter.predict(picture)
            if run >= 3:  # the first ones warm up
                sample.append((time.thread_time_ns() - start) / 1e6)
    return samples


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=[model["name"] for model in list_models()])
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--float-weights", default="float32", help="float32, float16 or int8")
    parser.add_argument("--calibrate", help="with int8: dataset for int8 activations")
    parser.add_argument("--data-dir", help="where prepared datasets lie")
    arguments = parser.parse_args()
    settings = {name: getattr(arguments, name) for name in ("float_weights", "calibrate", "data_dir")}
    print(f"{'network':16}{'floor MB':>10}{'LCE MB':>10}{'bopkit MB':>11}{'smaller':>8}", end="")
    print(f"{'LCE ms':>10}{'bopkit ms':>11}{'faster':>8}")
    for name in arguments.networks:
        with tempfile.TemporaryDirectory() as folder:
            model_file = init_model(name, Path(folder) / "model.h5")
            artifact = export_model(
                model_file, options=ExportOptions(savedmodel=False, pictures=8, **settings)
            ).artifacts[0]
            flatbuffers = [stock_flatbuffer(model_file), Path(artifact.path).read_bytes()]
            stock_ms, ours_ms = map(statistics.median, interleaved_latencies_ms(flatbuffers, arguments.runs))
        stock_mb, ours_mb = (len(each) / 1e6 for each in flatbuffers)
        print(
            f"{name:16}{artifact.floor_bytes / 1e6:10.2f}{stock_mb:10.2f}{ours_mb:11.2f}{stock_mb / ours_mb:8.2f}",
            end="",
        )
        print(f"{stock_ms:10.2f}{ours_ms:11.2f}{stock_ms / ours_ms:8.2f}", flush=True)


if __name__ == "__main__":
    main()
