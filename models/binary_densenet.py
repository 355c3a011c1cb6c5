"""BinaryDenseNet with 28, 37 and 45 layers.

Bethge et al. 2019, Back to Simplicity, arXiv 1906.08637; layers, settings and figures as in Larq Zoo (github larq/zoo,
Apache-2.0). float32 [n, 224, 224, 3], ImageNet-normalised, to probabilities of 1000 classes. Every binary convolution
adds 64 channels behind those that it sees. The first convolution, the transitions and the last dense layer are real.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from bopkit.architecture import Architecture, Counts, Published
from bopkit.hparams import HParams
from bopkit.keras2 import import_tensorflow
from bopkit.models import imagenet_sets
from bopkit.models.parts import classifier
from bopkit.optim import binary_kernel

CLIP = 1.3
"""Where the gradient of signs ends, of inputs and of latent kernels."""

GROWTH = 64
"""Channels that a block adds."""

SMALL_PX = 50
"""Smaller pictures are not made smaller by the stem."""


@dataclasses.dataclass(frozen=True)
class _Shape:
    """What tells the networks of the family apart.

    Attributes:
        name: Of the network.
        blocks: In each section.
        reductions: Of the channels, by each transition.
        dilations: Of the convolutions in each section; a section that is dilated is not made smaller.
    """

    name: str
    blocks: tuple[int, int, int, int]
    reductions: tuple[float, float, float]
    dilations: tuple[int, int, int, int] = (1, 1, 1, 1)

    def build(self, hparams: HParams, input_shape: tuple[int, int, int], classes: int) -> Any:
        """Build BinaryDenseNet: float32 [n, *input_shape] to probabilities, float32 [n, classes]."""
        tf = import_tensorflow()
        layers = tf.keras.layers
        images = layers.Input(input_shape, name="images")
        x = _stem(images)
        for section, (blocks, dilation) in enumerate(zip(self.blocks, self.dilations, strict=True), start=1):
            if section > 1:
                x = _transition(x, self.reductions[section - 2], dilation > 1, f"transition{section - 1}")
            for block in range(1, blocks + 1):
                x = _block(x, dilation, hparams, f"section{section}_block{block}")
        x = _normalise(x, "head_bn")
        x = layers.ReLU(name="head_relu")(x)
        return classifier(images, x, classes, self.name, initializer="he_normal")


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
    return layers.MaxPool2D(3, strides=2, padding="same", name="conv1_pool")(x)


def _block(x: Any, dilation: int, hparams: HParams, name: str) -> Any:
    """Batch norm and a binary 3x3 convolution, whose channels come behind those of the input."""
    import larq as lq

    new = lq.layers.QuantConv2D(
        GROWTH,
        3,
        padding="same",
        dilation_rate=dilation,
        input_quantizer=lq.quantizers.SteSign(clip_value=CLIP),
        kernel_initializer="glorot_normal",
        use_bias=False,
        name=f"{name}_conv",
        **binary_kernel(hparams.optimizer, CLIP),
    )(_normalise(x, f"{name}_bn"))
    return import_tensorflow().keras.layers.Concatenate(name=f"{name}_concat")([x, new])


def _transition(x: Any, reduction: float, is_dilated: bool, name: str) -> Any:
    """Halve the picture by maxima, where the next section is not dilated, and its channels with a real convolution."""
    layers = import_tensorflow().keras.layers
    filters = round(x.shape[-1] // reduction / 32) * 32
    x = _normalise(x, f"{name}_bn")
    if not is_dilated:
        x = layers.MaxPool2D(2, name=f"{name}_pool")(x)
    x = layers.ReLU(name=f"{name}_relu")(x)
    return layers.Conv2D(filters, 1, use_bias=False, kernel_initializer="he_normal", name=f"{name}_conv")(x)


BINARY_DENSENET28 = Architecture(
    name="binary_densenet28",
    title="BinaryDenseNet28",
    paper="arXiv 1906.08637",
    input_shape=(224, 224, 3),
    classes=1000,
    build=_Shape("binary_densenet28", (6, 6, 6, 5), (2.7, 2.7, 2.2)).build,
    # bopkit train binary_densenet28 --dataset imagenet2012 --hparams-set SET
    # No set has a published figure; settings are our choice.
    sets=imagenet_sets.of_paper(epochs=120, batch_size=256, learning_rate=4e-3),
    min_size_px=32,
    counts=Counts(
        params=5_150_504, binary_params=4_202_496, binary_macs=3_587_383_296, mixed_macs=0, float_macs=202_484_224
    ),
    published=(Published(60.91, "imagenet2012", "", "Larq Zoo, latent weights"),),
)

BINARY_DENSENET37 = Architecture(
    name="binary_densenet37",
    title="BinaryDenseNet37",
    paper="arXiv 1906.08637",
    input_shape=(224, 224, 3),
    classes=1000,
    build=_Shape("binary_densenet37", (6, 8, 12, 6), (3.3, 3.3, 4)).build,
    # bopkit train binary_densenet37 --dataset imagenet2012 --hparams-set SET
    # No set has a published figure; settings are our choice.
    sets=imagenet_sets.of_paper(epochs=120, batch_size=192, learning_rate=4e-3),
    min_size_px=32,
    counts=Counts(
        params=8_734_120, binary_params=7_593_984, binary_macs=4_506_808_320, mixed_macs=0, float_macs=199_738_368
    ),
    published=(Published(62.89, "imagenet2012", "", "Larq Zoo, latent weights"),),
)

BINARY_DENSENET37_DILATED = Architecture(
    name="binary_densenet37_dilated",
    title="BinaryDenseNet37 dilated",
    paper="arXiv 1906.08637",
    input_shape=(224, 224, 3),
    classes=1000,
    build=_Shape("binary_densenet37_dilated", (6, 8, 12, 6), (3.3, 3.3, 4), (1, 1, 2, 4)).build,
    # bopkit train binary_densenet37_dilated --dataset imagenet2012 --hparams-set SET
    # No set has a published figure; settings are our choice.
    sets=imagenet_sets.of_paper(epochs=80, batch_size=256, learning_rate=4e-3),
    min_size_px=32,
    counts=Counts(
        params=8_734_120, binary_params=7_593_984, binary_macs=7_774_470_144, mixed_macs=0, float_macs=452_625_408
    ),
    published=(Published(64.34, "imagenet2012", "", "Larq Zoo, latent weights"),),
)

BINARY_DENSENET45 = Architecture(
    name="binary_densenet45",
    title="BinaryDenseNet45",
    paper="arXiv 1906.08637",
    input_shape=(224, 224, 3),
    classes=1000,
    build=_Shape("binary_densenet45", (6, 12, 14, 8), (2.7, 3.3, 4)).build,
    # bopkit train binary_densenet45 --dataset imagenet2012 --hparams-set SET
    # No set has a published figure; settings are our choice.
    sets=imagenet_sets.of_paper(epochs=125, batch_size=384, learning_rate=8e-3),
    min_size_px=32,
    counts=Counts(
        params=13_939_240, binary_params=12_349_440, binary_macs=6_430_556_160, mixed_macs=0, float_macs=244_103_424
    ),
    published=(Published(64.59, "imagenet2012", "", "Larq Zoo, latent weights"),),
)
