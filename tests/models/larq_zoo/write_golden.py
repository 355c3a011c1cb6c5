"""Write the golden values of Larq Zoo's networks, with Larq Zoo's own code, beside this file.

Runs in an environment of its own, with Python 3.11, and takes a few minutes:

    python -m venv zoo && zoo/bin/pip install 'tensorflow==2.15.*' 'larq-zoo==2.4.*'
    zoo/bin/python tests/models/larq_zoo/write_golden.py

networks.json has, by our name of each network, its number of weights, of those that are trained, and the last part of
the name and the shape of each weight array in order. logits.npz has the logits of the pictures and weights that
tests/support/golden_weights.py makes, computed in float64 and stored as float32. In float32 the order of additions,
another one on each processor, decides the signs of sums near zero, and with them the second digit of the logits.
"""

import json
import sys
from pathlib import Path

import larq_zoo
import numpy as np
import tensorflow as tf

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "support"))

from golden_weights import golden_pictures, golden_weight  # noqa: E402

NETWORKS = {
    "quicknet_small": larq_zoo.sota.QuickNetSmall,
    "quicknet": larq_zoo.sota.QuickNet,
    "quicknet_large": larq_zoo.sota.QuickNetLarge,
    "binary_resnet_e18": larq_zoo.literature.BinaryResNetE18,
    "binary_densenet28": larq_zoo.literature.BinaryDenseNet28,
    "binary_densenet37": larq_zoo.literature.BinaryDenseNet37,
    "binary_densenet37_dilated": larq_zoo.literature.BinaryDenseNet37Dilated,
    "binary_densenet45": larq_zoo.literature.BinaryDenseNet45,
    "meliusnet22": larq_zoo.literature.MeliusNet22,
    "real_to_binary": larq_zoo.literature.RealToBinaryNet,
}


def main():
    tf.keras.backend.set_floatx("float64")
    pictures = golden_pictures()
    networks, logits = {}, {}
    for name, make in NETWORKS.items():
        network = make(input_shape=pictures.shape[1:], weights=None, num_classes=1000)
        weights = [(each.name.partition(":")[0].rpartition("/")[2], each.shape.as_list()) for each in network.weights]
        trained = sum(int(np.prod(each.shape)) for each in network.trainable_weights)
        networks[name] = {"params": network.count_params(), "trained": trained, "weights": weights}
        network.set_weights([golden_weight(index, *each) for index, each in enumerate(weights)])
        before_softmax = tf.keras.Model(network.input, network.layers[-1].input)
        logits[name] = before_softmax(pictures, training=False).numpy().astype(np.float32)
    lines = [f'"{name}": {json.dumps(each, separators=(",", ":"))}' for name, each in networks.items()]
    (HERE / "networks.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    np.savez_compressed(HERE / "logits.npz", **logits)


if __name__ == "__main__":
    main()
