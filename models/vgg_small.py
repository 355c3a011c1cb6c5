"""VGG-Small for small pictures, with binary convolutions.

Zhang et al. 2018, LQ-Nets, arXiv 1807.10029, in the form that papers on binary networks compare with. float32
[n, 32, 32, 3] in -1..1 to probabilities of 10 classes. The first convolution and the dense layer are real.
"""

from __future__ import annotations

from typing import Any

from bopkit.architecture import Architecture, Counts, Published
from bopkit.hparams import HParams
from bopkit.keras2 import import_tensorflow
from bopkit.models import cifar_sets
from bopkit.optim import binary_kernel


def _normalise(x: Any, name: str) -> Any:
    return import_tensorflow().keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(x)


def build(hparams: HParams, input_shape: tuple[int, int, int], classes: int) -> Any:
    """Build VGG-Small: float32 [n, *input_shape] to probabilities, float32 [n, classes]."""
    tf = import_tensorflow()
    import larq as lq

    layers = tf.keras.layers
    images = layers.Input(input_shape, name="images")
    x = layers.Conv2D(128, 3, padding="same", use_bias=False, name="conv1")(images)
    x = _normalise(x, "conv1_bn")
    for number, (filters, pool) in enumerate(_CONVOLUTIONS, start=2):
        x = lq.layers.QuantConv2D(
            filters,
            3,
            padding="same",
            input_quantizer="ste_sign",
            use_bias=False,
            name=f"conv{number}",
            **binary_kernel(hparams.optimizer),
        )(x)
        if pool:
            x = layers.MaxPool2D(2, name=f"conv{number}_pool")(x)
        x = _normalise(x, f"conv{number}_bn")
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(classes, name="logits")(x)
    return tf.keras.Model(images, layers.Softmax(name="probabilities")(x), name="vgg_small")


_CONVOLUTIONS = ((128, True), (256, False), (256, True), (512, False), (512, True))
"""Filters, and whether a 2x2 max pool follows."""


ARCHITECTURE = Architecture(
    name="vgg_small",
    title="VGG-Small",
    paper="arXiv 1807.10029",
    input_shape=(32, 32, 3),
    classes=10,
    build=build,
    # bopkit train vgg_small --dataset cifar10 --hparams-set SET
    # No set has a published figure; settings are our choice.
    sets=cifar_sets.sets(),
    min_size_px=8,
    counts=Counts(
        params=4_663_690, binary_params=4_571_136, binary_macs=603_979_776, mixed_macs=0, float_macs=3_620_864
    ),
    published=(
        Published(90.4, "cifar10", "", "IR-Net, Qin et al. 2020, arXiv 1909.10788, latent weights"),
        Published(92.37, "cifar10", "", "BOLD, arXiv 2405.16339, without latent weights"),
    ),
)
