"""Size, load time and first-request time of packed SavedModels against unpacked ones, of the untrained networks.

    python tests/benchmarks/saved_model_start.py [NETWORK ...] [--processes 3]

Sizes are without `assets.extra`, in which the server keeps what is not needed to answer. Each time is the median of
new processes; TensorFlow's own import is not in it. The last column is for answers of both to the same pictures.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import numpy as np

from bopkit import ExportOptions, export_model, init_model, list_models
from bopkit.export.serving.saved_model import predict
from bopkit.export.serving.start import measure_start
from bopkit.files import size_bytes
from bopkit.keras2 import import_tensorflow


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=[model["name"] for model in list_models()])
    parser.add_argument("--processes", type=int, default=3)
    arguments = parser.parse_args()
    print(f"{'network':16}{'':10}{'floor B':>12}{'size B':>13}{'over':>8}{'load s':>9}{'first s':>9}  same answers")
    for name in arguments.networks:
        with tempfile.TemporaryDirectory() as folder:
            model_file = init_model(name, Path(folder) / "model.h5")
            answers = []
            for pack in (True, False):
                options = ExportOptions(tflite=False, pictures=2, pack=pack)
                (artifact,) = export_model(model_file, options=options).artifacts
                path = Path(artifact.path)
                size = size_bytes(path) - size_bytes(path / "assets.extra")
                starts = [measure_start(path) for _ in range(arguments.processes)]
                load_s, first_s = (
                    statistics.median(getattr(start, key) for start in starts) for key in ("load_s", "first_request_s")
                )
                answers.append(answer(path))
                print(
                    f"{name:16}{'packed' if pack else 'unpacked':10}{artifact.floor_bytes:12,}{size:13,}"
                    f"{size / artifact.floor_bytes - 1:8.1%}{load_s:9.2f}{first_s:9.2f}"
                    f"  {np.array_equal(answers[0], answers[-1])}",
                    flush=True,
                )


def answer(path):
    """Scores of eight random pictures."""
    loaded = import_tensorflow().saved_model.load(str(path))
    shape = loaded.signatures["serving_default"].structured_input_signature[1]["images"].shape[1:]
    return predict(loaded, np.random.default_rng(0).uniform(-1, 1, (8, *shape)).astype(np.float32), batch_size=4)


if __name__ == "__main__":
    main()
