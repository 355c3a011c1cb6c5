"""BinaryNet with three of its nine layers: traced in a third of the time, for tests that train many times."""

import dataclasses

from bopkit.keras2 import import_tensorflow
from bopkit.models import binarynet
from bopkit.optim import binary_kernel


def build(hparams, input_shape, classes):
    tf = import_tensorflow()
    import larq as lq

    layers = tf.keras.layers
    kernel = binary_kernel(hparams.optimizer)
    binary = {"input_quantizer": "ste_sign", "use_bias": False, **kernel}

    images = layers.Input(input_shape, name="images")
    x = lq.layers.QuantConv2D(hparams.filters, 3, strides=2, use_bias=False, name="conv1", **kernel)(images)
    x = layers.BatchNormalization(scale=False, name="conv1_bn")(x)
    x = lq.layers.QuantConv2D(2 * hparams.filters, 3, padding="same", name="conv2", **binary)(x)
    x = layers.MaxPool2D(2, name="conv2_pool")(x)
    x = layers.BatchNormalization(scale=False, name="conv2_bn")(x)
    x = lq.layers.QuantDense(classes, name="dense1", **binary)(layers.Flatten(name="flatten")(x))
    x = layers.BatchNormalization(scale=False, name="dense1_bn")(x)
    return tf.keras.Model(images, layers.Softmax(name="probabilities")(x), name="tiny")


ARCHITECTURE = dataclasses.replace(binarynet.ARCHITECTURE, name="tiny", title="Tiny", build=build)
