"""A binary dense layer behind a flattened feature map: as a 1x1 convolution, as exports hold it, or as one of its size.

    python tests/benchmarks/dense_after_map.py [--runs 300]

Both are the same layer with the same bits, and take turns in LCE's interpreter: one thread, indirect BGEMM.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import numpy as np
from packed_sizes import interleaved_latencies_ms

from bopkit import ExportOptions, export_model
from bopkit.keras2 import import_tensorflow

MAPS = {"BinaryNet": ((3, 3, 512), 1024), "Binary AlexNet": ((6, 6, 256), 4096), "wide": ((7, 7, 512), 512)}
"""Feature maps before the first dense layer, and its units."""


def both(shape, units, folder):
    """Flatbuffers of the dense layer, exported, and of the convolution, which need not be flattened before."""
    tf = import_tensorflow()
    import larq
    import larq_compute_engine as lce

    settings = {"input_quantizer": "ste_sign", "use_bias": False, "kernel_quantizer": larq.quantizers.NoOp(precision=1)}
    signs = np.where(np.random.default_rng(0).random((*shape, units)) < 0.5, -1.0, 1.0)
    dense = tf.keras.Sequential(
        [tf.keras.Input(shape), tf.keras.layers.Flatten(), larq.layers.QuantDense(units, **settings)]
    )
    dense.set_weights([signs.reshape(-1, units)])
    dense.save(folder / "dense.h5")
    export = export_model(folder / "dense.h5", options=ExportOptions(savedmodel=False, pictures=8))
    convolution = tf.keras.Sequential(
        [tf.keras.Input(shape), larq.layers.QuantConv2D(units, shape[:2], **settings), tf.keras.layers.Flatten()]
    )
    convolution.set_weights([signs])
    return Path(export.artifacts[0].path).read_bytes(), lce.convert_keras_model(convolution)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=300)
    arguments = parser.parse_args()
    print(f"{'map':>24}{'units':>7}{'1x1 ms':>9}{'whole ms':>10}{'ratio':>7}")
    for name, (shape, units) in MAPS.items():
        with tempfile.TemporaryDirectory() as folder:
            flatbuffers = both(shape, units, Path(folder))
        one, whole = map(statistics.median, interleaved_latencies_ms(flatbuffers, arguments.runs))
        size = "x".join(map(str, shape))
        print(f"{f'{name} {size}':>24}{units:7}{one:9.3f}{whole:10.3f}{one / whole:7.2f}", flush=True)


if __name__ == "__main__":
    main()
