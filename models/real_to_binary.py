"""Real-to-Binary network: ResNet-18 with gates.

Martinez et al. 2020, Training binary neural networks with real-to-binary convolutions, ICLR, arXiv 2003.11535; layers,
settings and figures as in Larq Zoo (github larq/zoo, Apache-2.0). float32 [n, 224, 224, 3], ImageNet-normalised, to
probabilities of 1000 classes. Every binary convolution has a shortcut, and is scaled by channel with what a small gate
makes of its input. The first convolution, the gates, the downsampling shortcuts and the last dense layer are real.
"""

from __future__ import annotations

from typing import Any

from bopkit.architecture import Architecture, Counts, Published
from bopkit.hparams import HParams
from bopkit.keras2 import import_tensorflow
from bopkit.models import imagenet_sets
from bopkit.models.parts import classifier, halving_shortcut
from bopkit.optim import binary_kernel

REDUCTION = 8
"""Of the channels within a gate."""


def _normalise(x: Any, name: str) -> Any:
    return import_tensorflow().keras.layers.BatchNormalization(momentum=0.99, name=name)(x)


def _gate(x: Any, filters: int, name: str) -> Any:
    """A factor for each channel, from the mean of each input channel: [n, h, w, c] to [n, 1, 1, filters]."""
    layers = import_tensorflow().keras.layers
    dense = {"use_bias": False, "kernel_initializer": "he_normal"}
    means = layers.GlobalAvgPool2D(name=f"{name}_gate_pool")(x)
    reduced = layers.Dense(x.shape[-1] // REDUCTION, activation="relu", name=f"{name}_gate_reduce", **dense)(means)
    factors = layers.Dense(filters, activation="sigmoid", name=f"{name}_gate_expand", **dense)(reduced)
    return layers.Reshape((1, 1, filters), name=f"{name}_gate")(factors)


def _block(x: Any, filters: int, hparams: HParams, name: str) -> Any:
    """Batch norm, binary 3x3 convolution, gate and PReLU, plus the shortcut."""
    import larq as lq

    layers = import_tensorflow().keras.layers
    downsample = x.shape[-1] != filters
    shortcut = halving_shortcut(x, filters, _normalise, name) if downsample else x
    normalised = _normalise(x, f"{name}_bn")
    factors = _gate(normalised, filters, name)
    x = lq.layers.QuantConv2D(
        filters,
        3,
        strides=2 if downsample else 1,
        padding="same",
        input_quantizer="ste_sign",
        kernel_initializer="glorot_normal",
        use_bias=False,
        name=f"{name}_conv",
        **binary_kernel(hparams.optimizer),
    )(normalised)
    x = layers.Multiply(name=f"{name}_scale")([x, factors])
    x = layers.PReLU(shared_axes=(1, 2), name=f"{name}_prelu")(x)
    return layers.Add(name=f"{name}_add")([x, shortcut])


def build(hparams: HParams, input_shape: tuple[int, int, int], classes: int) -> Any:
    """Build Real-to-Binary: float32 [n, *input_shape] to probabilities, float32 [n, classes]."""
    tf = import_tensorflow()
    layers = tf.keras.layers
    images = layers.Input(input_shape, name="images")
    x = layers.Conv2D(
        64, 7, strides=2, padding="same", use_bias=False, kernel_initializer="glorot_normal", name="conv1"
    )(images)
    x = _normalise(x, "conv1_bn")
    x = layers.PReLU(shared_axes=(1, 2), name="conv1_prelu")(x)
    x = layers.MaxPool2D(3, strides=2, padding="same", name="conv1_pool")(x)
    for stage, filters in enumerate((64, 128, 256, 512), start=1):
        for block in range(1, 5):
            x = _block(x, filters, hparams, name=f"stage{stage}_block{block}")
    return classifier(images, x, classes, "real_to_binary")


ARCHITECTURE = Architecture(
    name="real_to_binary",
    title="Real-to-Binary",
    paper="arXiv 2003.11535",
    input_shape=(224, 224, 3),
    classes=1000,
    teacher="networks of its own shape, from real to binary in several steps",
    build=build,
    # bopkit train real_to_binary --dataset imagenet2012 --hparams-set SET
    # No set has a published figure. Epochs, batch size, learning rate and warm-up are those of the first stage in Larq
    # Zoo's training script; how kernels flip is our choice.
    sets=imagenet_sets.of_paper(epochs=75, batch_size=256, learning_rate=1e-3, warmup_epochs=5),
    min_size_px=32,
    counts=Counts(
        params=11_995_624, binary_params=10_985_472, binary_macs=1_676_279_808, mixed_macs=0, float_macs=138_087_936
    ),
    published=(Published(65.01, "imagenet2012", "", "Larq Zoo, latent weights"),),
)
