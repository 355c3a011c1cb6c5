"""The tiny network with dropout, which draws numbers in training."""

import dataclasses

from tiny.network import ARCHITECTURE as TINY

from bopkit.keras2 import import_tensorflow


def build(hparams, input_shape, classes):
    tf = import_tensorflow()
    images, *layers = TINY.build(hparams, input_shape, classes).layers
    return tf.keras.Sequential([images, *layers[:2], tf.keras.layers.Dropout(0.3), *layers[2:]])


ARCHITECTURE = dataclasses.replace(TINY, name="tiny_with_dropout", build=build)
