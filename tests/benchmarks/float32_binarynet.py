"""BinaryNet's shape with real weights and ReLU: the ceiling of what its binary networks reach.

cd tests/benchmarks && bopkit train float32_binarynet --dataset fashion_mnist
"""

from bopkit.architecture import Architecture
from bopkit.keras2 import import_tensorflow
from bopkit.models.binarynet import BinaryNetHParams


def build(hparams, input_shape, classes):
    """The layers of `binarynet` in the same order; batch norm, then ReLU where the binary network takes signs."""
    layers = import_tensorflow().keras.layers
    images = x = layers.Input(input_shape, name="images")
    for index, (factor, pool) in enumerate(
        ((1, False), (1, True), (2, False), (2, True), (4, False), (4, True)), start=1
    ):
        padding = "valid" if index == 1 else "same"
        x = layers.Conv2D(factor * hparams.filters, 3, padding=padding, use_bias=False, name=f"conv{index}")(x)
        if pool:
            x = layers.MaxPool2D(2, name=f"conv{index}_pool")(x)
        x = layers.ReLU()(layers.BatchNormalization(scale=False, name=f"conv{index}_bn")(x))
    x = layers.Flatten(name="flatten")(x)
    for index in (1, 2):
        x = layers.Dense(hparams.dense_units, use_bias=False, name=f"dense{index}")(x)
        x = layers.ReLU()(layers.BatchNormalization(scale=False, name=f"dense{index}_bn")(x))
    x = layers.BatchNormalization(name="dense3_bn")(layers.Dense(classes, use_bias=False, name="dense3")(x))
    return import_tensorflow().keras.Model(images, layers.Softmax(name="probabilities")(x), name="float32_binarynet")


ARCHITECTURE = Architecture(
    name="float32_binarynet",
    title="BinaryNet in float32",
    paper="not published",
    input_shape=(28, 28, 1),
    classes=10,
    build=build,
    sets={
        "adam": BinaryNetHParams(
            optimizer="latent",
            epochs=20,
            batch_size=100,
            learning_rate=2e-3,
            learning_rate_end=1e-5,
            learning_rate_schedule="cosine",
            filters=32,
            dense_units=256,
        )
    },
    min_size_px=10,
)
