"""MeliusNet22.

Bethge et al. 2020, MeliusNet, arXiv 2001.05936; layers, settings and figures as in Larq Zoo (github larq/zoo,
Apache-2.0). float32 [n, 224, 224, 3], ImageNet-normalised, to probabilities of 1000 classes. A block has two binary
convolutions: one adds 64 channels behind those that it sees, the other improves these 64. The stem, of grouped
convolutions, the transitions and the last dense layer are real.
"""

from __future__ import annotations

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

_REAL = {"use_bias": False, "kernel_initializer": "he_normal"}


def _normalise(x: Any, name: str) -> Any:
    return import_tensorflow().keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(x)


def _grouped(x: Any, filters: int, groups: int, name: str) -> Any:
    """A real 3x3 convolution in groups: one a group, each of its own part of the channels."""
    tf = import_tensorflow()
    layers = tf.keras.layers
    parts = [
        layers.Conv2D(filters // groups, 3, padding="same", name=f"{name}_group{group}", **_REAL)(part)
        for group, part in enumerate(tf.split(x, groups, axis=-1), start=1)
    ]
    return layers.Concatenate(name=f"{name}_concat")(parts)


def _stem(x: Any) -> Any:
    layers = import_tensorflow().keras.layers
    x = layers.Conv2D(32, 3, strides=2, padding="same", name="stem1", **_REAL)(x)
    x = layers.ReLU(name="stem1_relu")(_normalise(x, "stem1_bn"))
    for number, (filters, groups) in enumerate(((32, 4), (64, 8)), start=2):
        x = _grouped(x, filters, groups, f"stem{number}")
        x = layers.ReLU(name=f"stem{number}_relu")(_normalise(x, f"stem{number}_bn"))
    return layers.MaxPool2D(2, name="stem_pool")(x)


def _convolution(x: Any, hparams: HParams, name: str) -> Any:
    """Batch norm and a binary 3x3 convolution to `GROWTH` channels."""
    import larq as lq

    return lq.layers.QuantConv2D(
        GROWTH,
        3,
        padding="same",
        input_quantizer=lq.quantizers.SteSign(clip_value=CLIP),
        kernel_initializer="glorot_normal",
        use_bias=False,
        name=f"{name}_conv",
        **binary_kernel(hparams.optimizer, CLIP),
    )(_normalise(x, f"{name}_bn"))


def _block(x: Any, hparams: HParams, name: str) -> Any:
    """The dense part adds channels, the improvement part adds onto these."""
    from bopkit.layers import AddToLastChannels

    new = _convolution(x, hparams, f"{name}_dense")
    x = import_tensorflow().keras.layers.Concatenate(name=f"{name}_dense_concat")([x, new])
    improvement = _convolution(x, hparams, f"{name}_improvement")
    return AddToLastChannels(x.shape[-1] - GROWTH, name=f"{name}_improvement_add")([x, improvement])


def _transition(x: Any, filters: int, name: str) -> Any:
    """Halve the picture by maxima and its channels with a real 1x1 convolution."""
    layers = import_tensorflow().keras.layers
    x = _normalise(x, f"{name}_bn")
    x = layers.MaxPool2D(2, name=f"{name}_pool")(x)
    x = layers.ReLU(name=f"{name}_relu")(x)
    return layers.Conv2D(filters, 1, name=f"{name}_conv", **_REAL)(x)


def build(hparams: HParams, input_shape: tuple[int, int, int], classes: int) -> Any:
    """Build MeliusNet22: float32 [n, *input_shape] to probabilities, float32 [n, classes]."""
    tf = import_tensorflow()
    layers = tf.keras.layers
    images = layers.Input(input_shape, name="images")
    x = _stem(images)
    for section, (blocks, filters) in enumerate(_SECTIONS, start=1):
        if filters:
            x = _transition(x, filters, f"transition{section - 1}")
        for block in range(1, blocks + 1):
            x = _block(x, hparams, f"section{section}_block{block}")
    x = layers.ReLU(name="head_relu")(_normalise(x, "head_bn"))
    return classifier(images, x, classes, "meliusnet22", initializer="he_normal")


_SECTIONS = ((4, 0), (5, 160), (4, 224), (4, 256))
"""Blocks of each section, and filters of the transition in front of it."""


ARCHITECTURE = Architecture(
    name="meliusnet22",
    title="MeliusNet22",
    paper="arXiv 2001.05936",
    input_shape=(224, 224, 3),
    classes=1000,
    build=build,
    # bopkit train meliusnet22 --dataset imagenet2012 --hparams-set SET
    # No set has a published figure; settings are our choice, epochs and batch size too.
    sets=imagenet_sets.of_paper(epochs=120, batch_size=1024),
    min_size_px=32,
    counts=Counts(
        params=6_969_672, binary_params=6_119_424, binary_macs=4_624_220_160, mixed_macs=0, float_macs=136_388_608
    ),
    published=(Published(62.4, "imagenet2012", "", "Larq Zoo, latent weights"),),
)
