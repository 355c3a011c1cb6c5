"""QuickNet, small, middle and large: Larq Zoo's networks that are fast on ARM processors.

Bannink et al. 2021, Larq Compute Engine, arXiv 2011.09398, section 5; layers, settings and figures as in Larq Zoo
(github larq/zoo, Apache-2.0). float32 [n, 224, 224, 3], ImageNet-normalised, to probabilities of 1000 classes. A
shortcut around every binary convolution; padding counts as +1. The stem, the 1x1 convolutions between sections and the
last dense layer are real; the depthwise blur of a transition is fixed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bopkit.architecture import Architecture, Counts, Published
from bopkit.hparams import HParams
from bopkit.keras2 import import_tensorflow
from bopkit.models import imagenet_sets
from bopkit.models.parts import classifier
from bopkit.optim import binary_kernel

CLIP = 1.25
"""Where the gradient of signs ends, of inputs and of latent kernels."""


def _normalise(x: Any, name: str, **options: Any) -> Any:
    settings = {"momentum": 0.9, "epsilon": 1e-5, **options}
    return import_tensorflow().keras.layers.BatchNormalization(name=name, **settings)(x)


def _stem(x: Any, filters: int) -> Any:
    """Two convolutions of stride 2, of which the second is depthwise, and one of 1x1."""
    tf = import_tensorflow()
    layers = tf.keras.layers
    real = {"use_bias": False, "kernel_initializer": "he_normal"}
    x = layers.Conv2D(filters // 4, 3, strides=2, padding="same", name="stem_conv", **real)(x)
    x = layers.BatchNormalization(name="stem_conv_bn")(x)
    x = layers.ReLU(name="stem_relu")(x)
    x = layers.DepthwiseConv2D(
        3, strides=2, padding="same", use_bias=False, depthwise_initializer="he_normal", name="stem_depthwise"
    )(x)
    x = layers.BatchNormalization(scale=False, center=False, name="stem_depthwise_bn")(x)
    x = layers.Conv2D(filters, 1, name="stem_pointwise", **real)(x)
    return layers.BatchNormalization(name="stem_pointwise_bn")(x)


def _block(x: Any, hparams: HParams, name: str) -> Any:
    """Binary 3x3 convolution, relu, batch norm, plus the input."""
    import larq as lq

    residual = lq.layers.QuantConv2D(
        x.shape[-1],
        3,
        padding="same",
        pad_values=1,
        activation="relu",
        input_quantizer=lq.quantizers.SteSign(clip_value=CLIP),
        kernel_initializer="glorot_normal",
        use_bias=False,
        name=f"{name}_conv",
        **binary_kernel(hparams.optimizer, CLIP),
    )(x)
    residual = _normalise(residual, f"{name}_bn")
    return import_tensorflow().keras.layers.Add(name=f"{name}_add")([x, residual])


def _transition(x: Any, filters: int, name: str) -> Any:
    """Halve the picture by maxima and a fixed blur, and widen it with a real 1x1 convolution."""
    tf = import_tensorflow()
    from bopkit.layers import BlurPool

    layers = tf.keras.layers
    x = layers.ReLU(name=f"{name}_relu")(x)
    x = layers.MaxPool2D(2, strides=1, name=f"{name}_pool")(x)
    x = layers.DepthwiseConv2D(
        3,
        strides=2,
        padding="same",
        use_bias=False,
        depthwise_initializer=BlurPool(),
        trainable=False,
        name=f"{name}_blur",
    )(x)
    x = layers.Conv2D(filters, 1, use_bias=False, kernel_initializer="glorot_normal", name=f"{name}_conv")(x)
    return _normalise(x, f"{name}_bn")


def _builder(
    name: str, filters: tuple[int, ...], blocks: tuple[int, ...]
) -> Callable[[HParams, tuple[int, int, int], int], Any]:
    """The `build` of a network with so many filters and blocks in each section."""

    def build(hparams: HParams, input_shape: tuple[int, int, int], classes: int) -> Any:
        """Build QuickNet: float32 [n, *input_shape] to probabilities, float32 [n, classes]."""
        tf = import_tensorflow()
        layers = tf.keras.layers
        images = layers.Input(input_shape, name="images")
        x = _stem(images, filters[0])
        for section, (width, count) in enumerate(zip(filters, blocks, strict=True), start=1):
            if section > 1:
                x = _transition(x, width, f"transition{section - 1}")
            for block in range(1, count + 1):
                x = _block(x, hparams, f"section{section}_block{block}")
        x = layers.ReLU(name="relu")(x)
        return classifier(images, x, classes, name)

    return build


FILTERS, SMALL_FILTERS = (64, 128, 256, 512), (32, 64, 256, 512)
BLOCKS, LARGE_BLOCKS = (4, 4, 4, 4), (6, 8, 12, 6)

QUICKNET_SMALL = Architecture(
    name="quicknet_small",
    title="QuickNet small",
    paper="arXiv 2011.09398",
    input_shape=(224, 224, 3),
    classes=1000,
    build=_builder("quicknet_small", SMALL_FILTERS, BLOCKS),
    # bopkit train quicknet_small --dataset imagenet2012 --hparams-set SET
    # No set has a published figure; settings are our choice.
    sets=imagenet_sets.of_paper(epochs=600, batch_size=2048, warmup_epochs=5),
    min_size_px=32,
    counts=Counts(
        params=12_664_344, binary_params=11_980_800, binary_macs=1_156_055_040, mixed_macs=0, float_macs=15_941_120
    ),
    published=(Published(59.4, "imagenet2012", "", "Larq Zoo, latent weights"),),
)

QUICKNET = Architecture(
    name="quicknet",
    title="QuickNet",
    paper="arXiv 2011.09398",
    input_shape=(224, 224, 3),
    classes=1000,
    build=_builder("quicknet", FILTERS, BLOCKS),
    # bopkit train quicknet --dataset imagenet2012 --hparams-set SET
    # No set has a published figure; settings are our choice.
    sets=imagenet_sets.of_paper(epochs=600, batch_size=2048, warmup_epochs=5),
    min_size_px=32,
    counts=Counts(
        params=13_243_720, binary_params=12_533_760, binary_macs=1_849_688_064, mixed_macs=0, float_macs=29_651_712
    ),
    published=(Published(63.3, "imagenet2012", "", "Larq Zoo, latent weights"),),
)

QUICKNET_LARGE = Architecture(
    name="quicknet_large",
    title="QuickNet large",
    paper="arXiv 2011.09398",
    input_shape=(224, 224, 3),
    classes=1000,
    build=_builder("quicknet_large", FILTERS, LARGE_BLOCKS),
    # bopkit train quicknet_large --dataset imagenet2012 --hparams-set SET
    # No set has a published figure; settings are our choice.
    sets=imagenet_sets.of_paper(epochs=600, batch_size=2048, warmup_epochs=5),
    min_size_px=32,
    counts=Counts(
        params=23_359_304, binary_params=22_634_496, binary_macs=3_699_376_128, mixed_macs=0, float_macs=29_651_712
    ),
    published=(Published(66.9, "imagenet2012", "", "Larq Zoo, latent weights"),),
)
