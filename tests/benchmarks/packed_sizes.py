"""Size and latency of bopkit's flatbuffers against stock LCE's of the same untrained networks, in one run.

    python tests/benchmarks/packed_sizes.py [NETWORK ...] [--runs 30]

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

    return lce.convert_keras_model(load_model(model_file)[0])


def interleaved_latencies_ms(flatbuffers, runs):
    """Milliseconds of one picture, `runs` times each, taking turns; one list a flatbuffer."""
    from larq_compute_engine.tflite.python.interpreter import Interpreter

    interpreters = [Interpreter(each, 1, use_indirect_bgemm=True) for each in flatbuffers]
    pictures = [
        np.random.default_rng(0).uniform(-1, 1, each.input_shapes[0]).astype(np.float32) for each in interpreters
    ]
    samples = [[] for _ in interpreters]
    for run in range(runs + 3):
        for interpreter, picture, sample in zip(interpreters, pictures, samples, strict=True):
            start = time.perf_counter_ns()
            interpreter.predict(picture)
            if run >= 3:  # the first ones warm up
                sample.append((time.perf_counter_ns() - start) / 1e6)
    return samples


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=[model["name"] for model in list_models()])
    parser.add_argument("--runs", type=int, default=30)
    arguments = parser.parse_args()
    print(f"{'network':16}{'floor MB':>10}{'LCE MB':>10}{'bopkit MB':>11}{'ratio':>8}", end="")
    print(f"{'LCE ms':>10}{'bopkit ms':>11}{'ratio':>8}")
    for name in arguments.networks:
        with tempfile.TemporaryDirectory() as folder:
            model_file = init_model(name, Path(folder) / "model.h5")
            artifact = export_model(
                model_file, options=ExportOptions(tflite=True, savedmodel=False, pictures=8)
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
