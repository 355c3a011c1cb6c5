"""BopNet-64k and BopNet-256k: networks of ours for microcontrollers, named by the flash that they fit in.

Plain stacks of binary 3x3 convolutions: between them nothing but bits has to be kept, and every channel count is a
multiple of 32, a word. float32 [n, 32, 32, 3] or [n, 96, 96, 3] in -1..1 to probabilities of 10 classes. Pictures of
`LARGE_PX` and more are halved by the first convolution, which is real, as the last dense layer is.
"""

from __future__ import annotations

from typing import Any

from bopkit.architecture import Architecture, Counts
from bopkit.hparams import HParams
from bopkit.keras2 import import_tensorflow
from bopkit.models import cifar_sets
from bopkit.models.parts import classifier
from bopkit.optim import binary_kernel

LARGE_PX = 64


def _normalise(x: Any, name: str) -> Any:
    return import_tensorflow().keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, scale=False, name=name)(x)


def _network(hparams: HParams, input_shape: tuple[int, int, int], classes: int, name: str, width: int) -> Any:
    """A network whose first stage has so many channels, the next ones two and four times as many."""
    tf = import_tensorflow()
    import larq as lq

    layers = tf.keras.layers
    strides = 2 if min(input_shape[:2]) >= LARGE_PX else 1
    images = layers.Input(input_shape, name="images")
    x = layers.Conv2D(width, 3, strides=strides, padding="same", use_bias=False, name="conv1")(images)
    x = layers.MaxPool2D(2, name="conv1_pool")(x) if strides == 2 else x
    x = _normalise(x, "conv1_bn")
    for number, (factor, pool) in enumerate(_CONVOLUTIONS, start=2):
        x = lq.layers.QuantConv2D(
            factor * width,
            3,
            padding="same",
            pad_values=1,
            input_quantizer="ste_sign",
            use_bias=False,
            name=f"conv{number}",
            **binary_kernel(hparams.optimizer),
        )(x)
        if pool:
            x = layers.MaxPool2D(2, name=f"conv{number}_pool")(x)
        x = _normalise(x, f"conv{number}_bn")
    x = layers.ReLU(name="relu")(x)
    return classifier(images, x, classes, name)


_CONVOLUTIONS = ((1, True), (2, False), (2, True), (4, False), (4, False))
"""Filters as a multiple of the first layer's, and whether a 2x2 max pool follows."""


def _build_64k(hparams: HParams, input_shape: tuple[int, int, int], classes: int) -> Any:
    """Build BopNet-64k: float32 [n, *input_shape] to probabilities, float32 [n, classes]."""
    return _network(hparams, input_shape, classes, "bopnet_64k", 32)


def _build_256k(hparams: HParams, input_shape: tuple[int, int, int], classes: int) -> Any:
    """Build BopNet-256k: float32 [n, *input_shape] to probabilities, float32 [n, classes]."""
    return _network(hparams, input_shape, classes, "bopnet_256k", 64)


BOPNET_64K = Architecture(
    name="bopnet_64k",
    title="BopNet-64k",
    paper="ours",
    input_shape=(32, 32, 3),
    classes=10,
    build=_build_64k,
    # bopkit train bopnet_64k --dataset cifar10 --hparams-set SET
    # No set has a published figure; settings are our choice.
    sets=cifar_sets.sets(),
    min_size_px=4,
    counts=Counts(params=289_194, binary_params=285_696, binary_macs=37_748_736, mixed_macs=0, float_macs=886_016),
    published=(),
)

BOPNET_256K = Architecture(
    name="bopnet_256k",
    title="BopNet-256k",
    paper="ours",
    input_shape=(96, 96, 3),
    classes=10,
    build=_build_256k,
    # bopkit train bopnet_256k --dataset cifar10 --hparams-set SET
    # No set has a published figure; settings are our choice.
    sets=cifar_sets.sets(),
    min_size_px=4,
    counts=Counts(
        params=1_149_770, binary_params=1_142_784, binary_macs=84_934_656, mixed_macs=0, float_macs=3_983_872
    ),
    published=(),
)
