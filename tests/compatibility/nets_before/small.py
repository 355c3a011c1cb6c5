"""A network of a user, as the README shows one; what `write_data.py` wrote is of it, so it stays as it is.

It has a float, a binary convolutional and a binary dense layer, and few weights: its files are mostly structure.
"""

from bopkit.architecture import Architecture
from bopkit.hparams import HParams
from bopkit.keras2 import import_tensorflow
from bopkit.optim import binary_kernel


def build(hparams, input_shape, classes):
    tf = import_tensorflow()
    import larq as lq

    layers = tf.keras.layers
    binary = {"input_quantizer": "ste_sign", "use_bias": False, **binary_kernel(hparams.optimizer)}

    images = layers.Input(input_shape, name="images")
    x = layers.Conv2D(4, 5, strides=2, use_bias=False, name="conv1")(images)
    x = layers.BatchNormalization(momentum=0.8, name="conv1_bn")(x)
    x = lq.layers.QuantConv2D(16, 3, padding="same", pad_values=1, name="conv2", **binary)(x)
    x = layers.MaxPool2D(4, name="conv2_pool")(x)
    x = layers.BatchNormalization(momentum=0.8, scale=False, name="conv2_bn")(x)
    x = lq.layers.QuantDense(classes, name="dense1", **binary)(layers.Flatten(name="flatten")(x))
    x = layers.BatchNormalization(momentum=0.8, name="dense1_bn")(x)
    return tf.keras.Model(images, layers.Softmax(name="probabilities")(x), name="small")


_DIGITS = {"epochs": 2, "batch_size": 64, "learning_rate": 2e-2, "learning_rate_end": 1e-3}

ARCHITECTURE = Architecture(
    name="small",
    title="Small",
    paper="none",
    input_shape=(32, 32, 1),
    classes=10,
    build=build,
    sets={
        "bop": HParams(threshold=1e-6, gamma=1e-2, gamma_end=1e-3, **_DIGITS),
        "latent": HParams(optimizer="latent", **_DIGITS),
    },
)
