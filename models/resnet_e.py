"""ResNetE with 18 layers.

Bethge et al. 2019, Back to Simplicity, arXiv 1906.08637; layers, settings and figures as in Larq Zoo (github larq/zoo,
Apache-2.0). float32 [n, 224, 224, 3], ImageNet-normalised, to probabilities of 1000 classes. A shortcut around every
binary convolution. The first convolution, the downsampling shortcuts and the last dense layer are real.
"""

from __future__ import annotations

from typing import Any

from bopkit.architecture import Architecture, Counts, Published
from bopkit.hparams import HParams
from bopkit.keras2 import import_tensorflow
from bopkit.models import imagenet_sets
from bopkit.models.parts import classifier, halving_shortcut
from bopkit.optim import binary_kernel

CLIP = 1.25
"""Where the gradient of signs ends, of inputs and of latent kernels."""

SMALL_PX = 50
"""Smaller pictures are not made smaller by the stem."""


def _normalise(x: Any, name: str) -> Any:
    return import_tensorflow().keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(x)


def _stem(x: Any) -> Any:
    layers = import_tensorflow().keras.layers
    real = {"padding": "same", "use_bias": False, "kernel_initializer": "he_normal"}
    if min(x.shape[1:3]) < SMALL_PX:
        return layers.Conv2D(64, 3, name="conv1", **real)(x)
    x = layers.Conv2D(64, 7, strides=2, name="conv1", **real)(x)
    x = _normalise(x, "conv1_bn")
    x = layers.ReLU(name="conv1_relu")(x)
    x = layers.MaxPool2D(3, strides=2, padding="same", name="conv1_pool")(x)
    return _normalise(x, "conv1_pool_bn")


def _block(x: Any, filters: int, hparams: HParams, name: str) -> Any:
    """Binary 3x3 convolution and batch norm, plus the shortcut; it downsamples where the width doubles."""
    import larq as lq

    downsample = x.shape[-1] != filters
    shortcut = halving_shortcut(x, filters, _normalise, name) if downsample else x
    x = lq.layers.QuantConv2D(
        filters,
        3,
        strides=2 if downsample else 1,
        padding="same",
        input_quantizer=lq.quantizers.SteSign(clip_value=CLIP),
        kernel_initializer="glorot_normal",
        use_bias=False,
        name=f"{name}_conv",
        **binary_kernel(hparams.optimizer, CLIP),
    )(x)
    x = _normalise(x, f"{name}_bn")
    return import_tensorflow().keras.layers.Add(name=f"{name}_add")([x, shortcut])


def build(hparams: HParams, input_shape: tuple[int, int, int], classes: int) -> Any:
    """Build ResNetE-18: float32 [n, *input_shape] to probabilities, float32 [n, classes]."""
    tf = import_tensorflow()
    layers = tf.keras.layers

    images = layers.Input(input_shape, name="images")
    x = _stem(images)
    for stage, filters in enumerate((64, 128, 256, 512), start=1):
        for block in range(1, 5):
            x = _block(x, filters, hparams, name=f"stage{stage}_block{block}")
    x = layers.ReLU(name="relu")(x)
    return classifier(images, x, classes, "binary_resnet_e18")


ARCHITECTURE = Architecture(
    name="binary_resnet_e18",
    title="ResNetE-18",
    paper="arXiv 1906.08637",
    input_shape=(224, 224, 3),
    classes=1000,
    build=build,
    # bopkit train binary_resnet_e18 --dataset imagenet2012 --hparams-set SET
    # No set has a published figure; settings are our choice.
    sets=imagenet_sets.of_paper(epochs=120, batch_size=1024, learning_rate=4e-3),
    min_size_px=32,
    counts=Counts(
        params=11_699_368, binary_params=10_985_472, binary_macs=1_676_279_808, mixed_macs=0, float_macs=137_793_536
    ),
    published=(Published(58.32, "imagenet2012", "", "Larq Zoo, latent weights"),),
)
