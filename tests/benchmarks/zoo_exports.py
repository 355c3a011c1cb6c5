"""Sizes of bopkit's flatbuffers against LCE's of the same untrained network, and with int8 weights against the floor.

    python tests/benchmarks/zoo_exports.py [NETWORK ...] [--hparams-set SET]

The floor with int8 weights is one bit for each binary weight, and one byte for any other. Both exports are checked as
`bopkit export` does it, on a few pictures. `packed` counts binary layers with one bit a weight, of all binary layers;
`agree` is `yes` where no picture had another class than in Keras, else how many had; `NO` if one is no near-tie.
"""

import argparse
import tempfile
from pathlib import Path

from bopkit import ExportOptions, export_model, init_model, list_models, load_model


def export(model_file, folder, float_weights):
    options = ExportOptions(savedmodel=False, pictures=4, float_weights=float_weights)
    return export_model(model_file, folder, options).artifacts[0]


def stock_bytes(model_file):
    """Size of what LCE's own converter makes of the model."""
    import larq_compute_engine as lce

    return len(lce.convert_keras_model(load_model(model_file)))


def agreement(artifact):
    """In a word or two."""
    misses = [each for agreement in artifact.agreements for each in agreement.disagreements]
    if not misses:
        return "yes"
    # Of many, only the first are examined.
    return "NO" if any(each.near_tie is False for each in misses) else f"{len(misses)} near-tie(s)"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=[model["name"] for model in list_models()])
    parser.add_argument("--hparams-set", help="`latent` for networks with latent weights")
    arguments = parser.parse_args()
    columns = ("network", "bytes", "LCE's", "ratio", "int8", "its floor", "ratio", "packed", "agree")
    print("{:26}{:>12}{:>12}{:>7}{:>12}{:>12}{:>7}{:>8}  {}".format(*columns))
    for name in arguments.networks:
        (facts,) = list_models(name)
        with tempfile.TemporaryDirectory() as folder:
            model_file = init_model(name, Path(folder, f"{name}.h5"), hparams_set=arguments.hparams_set)
            ours = export(model_file, Path(folder, "float32"), "float32")
            int8 = export(model_file, Path(folder, "int8"), "int8")
            stock = stock_bytes(model_file)
        floor = facts["binary_params"] / 8 + facts["params"] - facts["binary_params"]
        binary = [layer for layer in ours.layers if layer.kernel_bits == 1 and layer.input_bits == 1]
        packed = f"{sum(layer.packed for layer in binary)}/{len(binary)}"
        print(f"{name:26}{ours.size_bytes:12,}{stock:12,}{ours.size_bytes / stock:7.3f}", end="")
        ratio = int8.size_bytes / floor
        print(f"{int8.size_bytes:12,}{floor:12,.0f}{ratio:7.3f}{packed:>8}  {agreement(ours)}", flush=True)


if __name__ == "__main__":
    main()
