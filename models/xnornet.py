"""XNOR-Net.

Rastegari et al., XNOR-Net, ECCV 2016, arXiv 1603.05279; as in Helwegen et al. 2019, arXiv 1906.02107. float32
[n, 224, 224, 3], ImageNet-normalised, to probabilities of 1000 classes. No biases. The first convolution and the
last dense layer are real.
"""

from __future__ import annotations

from typing import Any

from bopkit.architecture import Architecture, Counts, Published
from bopkit.hparams import HParams
from bopkit.keras2 import import_tensorflow
from bopkit.models import imagenet_sets
from bopkit.optim import binary_kernel

_L2 = 5e-7
"""Weight decay of the real kernels."""


def build(hparams: HParams, input_shape: tuple[int, int, int], classes: int) -> Any:
    """Build XNOR-Net: float32 [n, *input_shape] to probabilities, float32 [n, classes]."""
    tf = import_tensorflow()
    import larq as lq

    layers = tf.keras.layers
    binary = {"input_quantizer": "ste_sign", "use_bias": False, **binary_kernel(hparams.optimizer)}
    l2 = tf.keras.regularizers.l2(_L2)

    def normalise(x: Any, name: str, epsilon: float = 1e-4) -> Any:
        return layers.BatchNormalization(momentum=0.9, epsilon=epsilon, name=name)(x)

    def pool(x: Any, name: str) -> Any:
        return layers.MaxPool2D(3, strides=2, name=name)(x)

    images = layers.Input(input_shape, name="images")
    x = layers.Conv2D(96, 11, strides=4, padding="same", use_bias=False, kernel_regularizer=l2, name="conv1")(images)
    x = normalise(x, "conv1_bn", epsilon=1e-5)
    x = layers.Activation("relu", name="conv1_relu")(x)
    x = pool(x, "conv1_pool")
    x = normalise(x, "conv1_pool_bn")
    for index, (filters, size, padding, pooled) in enumerate(_CONVOLUTIONS, start=2):
        x = lq.layers.QuantConv2D(filters, size, padding=padding, name=f"conv{index}", **binary)(x)
        if pooled:
            x = pool(x, f"conv{index}_pool")
        x = normalise(x, f"conv{index}_bn")
    x = lq.layers.QuantConv2D(4096, 1, name="conv7", **binary)(x)
    x = normalise(x, "conv7_bn", epsilon=1e-3)
    x = layers.Activation("relu", name="conv7_relu")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(classes, use_bias=False, kernel_regularizer=l2, name="logits")(x)
    return tf.keras.Model(images, layers.Softmax(name="probabilities")(x), name="xnornet")


_CONVOLUTIONS = (
    (256, 5, "same", True),
    (384, 3, "same", False),
    (384, 3, "same", False),
    (256, 3, "same", True),
    (4096, 6, "valid", False),
)
"""Filters, kernel size, padding, and whether a 3x3 max pool of stride 2 follows."""

ARCHITECTURE = Architecture(
    name="xnornet",
    title="XNOR-Net",
    paper="arXiv 1603.05279",
    input_shape=(224, 224, 3),
    classes=1000,
    build=build,
    sets={
        # bopkit train xnornet --dataset imagenet2012
        # Published top-1 45.9 %, arXiv 1906.02107; not yet reproduced.
        "bop": imagenet_sets.bop(epochs=100),
        # bopkit train xnornet --dataset imagenet2012 --hparams-set bop2nd
        # Published top-1 46.9 %, arXiv 2104.05124; not yet reproduced.
        "bop2nd": imagenet_sets.bop2nd(epochs=100),
        # bopkit train xnornet --dataset imagenet2012 --hparams-set cema
        # No published figure for this network; our choice of settings.
        "cema": imagenet_sets.cema(epochs=100),
        # bopkit train xnornet --dataset imagenet2012 --hparams-set bold
        # No published figure for this network; our choice of settings.
        "bold": imagenet_sets.bold(epochs=100),
        # bopkit train xnornet --dataset imagenet2012 --hparams-set latent
        # No published figure with these settings, which are our choice; other latent-weight figures are in `published`.
        "latent": imagenet_sets.latent(epochs=100),
    },
    min_size_px=217,
    counts=Counts(
        params=62_406_432, binary_params=58_236_928, binary_macs=1_025_744_896, mixed_macs=0, float_macs=113_379_328
    ),
    published=(
        Published(45.9, "imagenet2012", "bop", "Helwegen et al. 2019, arXiv 1906.02107"),
        Published(46.9, "imagenet2012", "bop2nd", "Suarez-Ramirez et al. 2021, arXiv 2104.05124"),
        Published(44.96, "imagenet2012", "", "Larq Zoo, latent weights"),
    ),
)
