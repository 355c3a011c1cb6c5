"""ReActNet-A, of MobileNet's shape, and ReActNet-18, of ResNet's.

Liu et al. 2020, ReActNet, arXiv 2003.03488. float32 [n, 224, 224, 3], ImageNet-normalised, to probabilities of 1000
classes. Signs and PReLUs are shifted by trained values of each channel (RSign, RPReLU), and every binary convolution
has a shortcut. The first convolution, the downsampling shortcuts of ReActNet-18 and the last dense layer are real.
"""

from __future__ import annotations

from typing import Any

from bopkit.architecture import Architecture, Counts, Published
from bopkit.hparams import HParams
from bopkit.keras2 import import_tensorflow
from bopkit.models import imagenet_sets
from bopkit.models.parts import INITIALIZER, classifier, halving_shortcut
from bopkit.optim import binary_kernel


def _normalise(x: Any, name: str) -> Any:
    return import_tensorflow().keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(x)


def _shift(x: Any, name: str) -> Any:
    import_tensorflow()
    from bopkit.layers import ChannelShift

    return ChannelShift(name=name)(x)


def _rprelu(x: Any, name: str) -> Any:
    import_tensorflow()
    from bopkit.layers import RPReLU

    return RPReLU(name=name)(x)


def _convolution(x: Any, filters: int, size: int, strides: int, hparams: HParams, name: str) -> Any:
    """Binary convolution of signs, and batch norm."""
    import larq as lq

    x = lq.layers.QuantConv2D(
        filters,
        size,
        strides=strides,
        padding="same",
        input_quantizer="approx_sign",
        kernel_initializer=INITIALIZER,
        use_bias=False,
        name=f"{name}_conv",
        **binary_kernel(hparams.optimizer),
    )(x)
    return _normalise(x, f"{name}_bn")


def _block_a(x: Any, filters: int, strides: int, hparams: HParams, name: str) -> Any:
    """A 3x3 convolution and one of 1x1, or two side by side where channels double, each with a shortcut."""
    layers = import_tensorflow().keras.layers
    channels = x.shape[-1]
    shortcut = layers.AvgPool2D(2, padding="same", name=f"{name}_pool")(x) if strides == 2 else x
    y = _convolution(_shift(x, f"{name}_shift1"), channels, 3, strides, hparams, f"{name}_3x3")
    x = _rprelu(layers.Add(name=f"{name}_3x3_add")([y, shortcut]), f"{name}_prelu1")
    shifted = _shift(x, f"{name}_shift2")
    parts = []
    for part in range(1, filters // channels + 1):
        y = _convolution(shifted, channels, 1, 1, hparams, f"{name}_1x1_{part}")
        parts.append(layers.Add(name=f"{name}_1x1_{part}_add")([y, x]))
    x = layers.Concatenate(name=f"{name}_concat")(parts) if len(parts) > 1 else parts[0]
    return _rprelu(x, f"{name}_prelu2")


def _build_a(hparams: HParams, input_shape: tuple[int, int, int], classes: int) -> Any:
    """Build ReActNet-A: float32 [n, *input_shape] to probabilities, float32 [n, classes]."""
    tf = import_tensorflow()
    layers = tf.keras.layers
    images = layers.Input(input_shape, name="images")
    x = layers.Conv2D(32, 3, strides=2, padding="same", use_bias=False, kernel_initializer=INITIALIZER, name="conv1")(
        images
    )
    x = _normalise(x, "conv1_bn")
    for number, filters in enumerate((64, 128, 128, 256, 256, *[512] * 6, 1024, 1024), start=1):
        strides = 2 if filters > max(x.shape[-1], 64) else 1
        x = _block_a(x, filters, strides, hparams, f"block{number}")
    return classifier(images, x, classes, "reactnet_a")


def _build_18(hparams: HParams, input_shape: tuple[int, int, int], classes: int) -> Any:
    """Build ReActNet-18: float32 [n, *input_shape] to probabilities, float32 [n, classes]."""
    tf = import_tensorflow()
    layers = tf.keras.layers
    images = layers.Input(input_shape, name="images")
    x = layers.Conv2D(64, 7, strides=2, padding="same", use_bias=False, kernel_initializer=INITIALIZER, name="conv1")(
        images
    )
    x = _normalise(x, "conv1_bn")
    x = layers.MaxPool2D(3, strides=2, padding="same", name="conv1_pool")(x)
    for stage, filters in enumerate((64, 128, 256, 512), start=1):
        for block in range(1, 5):
            name = f"stage{stage}_block{block}"
            downsample = x.shape[-1] != filters
            shortcut = halving_shortcut(x, filters, _normalise, name) if downsample else x
            y = _convolution(_shift(x, f"{name}_shift"), filters, 3, 2 if downsample else 1, hparams, name)
            x = _rprelu(layers.Add(name=f"{name}_add")([y, shortcut]), f"{name}_prelu")
    return classifier(images, x, classes, "reactnet18")


REACTNET_A = Architecture(
    name="reactnet_a",
    title="ReActNet-A",
    paper="arXiv 2003.03488",
    input_shape=(224, 224, 3),
    classes=1000,
    teacher="a ResNet-34 with real weights, in place of the labels",
    build=_build_a,
    # bopkit train reactnet_a --dataset imagenet2012 --hparams-set SET
    # No set has a published figure. `latent` is the second of the paper's two steps; how the others flip is our choice.
    sets=imagenet_sets.of_paper(epochs=256, batch_size=256, learning_rate=5e-4, schedule="linear"),
    min_size_px=32,
    counts=Counts(
        params=29_365_480, binary_params=28_253_184, binary_macs=4_816_896_000, mixed_macs=0, float_macs=11_862_016
    ),
    published=(
        Published(69.4, "imagenet2012", "", "Liu et al. 2020, arXiv 2003.03488, latent weights"),
        Published(70.5, "imagenet2012", "", "Liu et al. 2021, arXiv 2106.11309, latent weights, AdamBNN's recipe"),
    ),
)

REACTNET_18 = Architecture(
    name="reactnet18",
    title="ReActNet-18",
    paper="arXiv 2003.03488",
    input_shape=(224, 224, 3),
    classes=1000,
    teacher="a ResNet-34 with real weights, in place of the labels",
    build=_build_18,
    # bopkit train reactnet18 --dataset imagenet2012 --hparams-set SET
    # No set has a published figure. `latent` is the second of the paper's two steps; how the others flip is our choice.
    sets=imagenet_sets.of_paper(epochs=256, batch_size=256, learning_rate=5e-4, schedule="linear"),
    min_size_px=32,
    counts=Counts(
        params=11_714_024, binary_params=10_985_472, binary_macs=1_676_279_808, mixed_macs=0, float_macs=137_793_536
    ),
    published=(Published(65.9, "imagenet2012", "", "Liu et al. 2020, arXiv 2003.03488, latent weights"),),
)
