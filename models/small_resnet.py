"""ResNet-20 and ResNet-18 for small pictures, with binary convolutions.

He et al. 2015, Deep Residual Learning, arXiv 1512.03385, section 4.2; with one shortcut around every convolution, as in
Bi-Real Net (arXiv 1808.00278). float32 [n, 32, 32, 3] in -1..1 to probabilities of 10 classes. The first convolution,
the downsampling shortcuts of ResNet-18 and the last dense layer are real; those of ResNet-20 have no weights.
"""

from __future__ import annotations

from typing import Any

from bopkit.architecture import Architecture, Counts, Published
from bopkit.hparams import HParams
from bopkit.keras2 import import_tensorflow
from bopkit.models import cifar_sets
from bopkit.models.parts import INITIALIZER, halving_shortcut
from bopkit.optim import binary_kernel


def _normalise(x: Any, name: str) -> Any:
    return import_tensorflow().keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(x)


def _padded_shortcut(x: Any, filters: int, name: str) -> Any:
    """Every second pixel, with channels of zeros behind its own."""
    tf = import_tensorflow()
    pixels = tf.keras.layers.AvgPool2D(1, strides=2, name=f"{name}_shortcut_pixels")(x)
    return tf.pad(pixels, [[0, 0], [0, 0], [0, 0], [0, filters - x.shape[-1]]])


def _convolution(x: Any, filters: int, has_real_shortcuts: bool, hparams: HParams, name: str) -> Any:
    """Binary 3x3 convolution and batch norm, plus the shortcut; it downsamples where the width grows."""
    import larq as lq

    downsample = x.shape[-1] != filters
    shortcut = x
    if downsample and has_real_shortcuts:
        shortcut = halving_shortcut(x, filters, _normalise, name)
    elif downsample:
        shortcut = _padded_shortcut(x, filters, name)
    x = lq.layers.QuantConv2D(
        filters,
        3,
        strides=2 if downsample else 1,
        padding="same",
        input_quantizer="approx_sign",
        kernel_initializer=INITIALIZER,
        use_bias=False,
        name=f"{name}_conv",
        **binary_kernel(hparams.optimizer),
    )(x)
    x = _normalise(x, f"{name}_bn")
    return import_tensorflow().keras.layers.Add(name=f"{name}_add")([x, shortcut])


def _network(
    hparams: HParams,
    input_shape: tuple[int, int, int],
    classes: int,
    name: str,
    filters: tuple[int, ...],
    convolutions: int,
    has_real_shortcuts: bool,
) -> Any:
    """A network with so many binary convolutions in each stage: float32 [n, *input_shape] to float32 [n, classes]."""
    tf = import_tensorflow()
    layers = tf.keras.layers
    images = layers.Input(input_shape, name="images")
    x = layers.Conv2D(filters[0], 3, padding="same", use_bias=False, kernel_initializer=INITIALIZER, name="conv1")(
        images
    )
    x = _normalise(x, "conv1_bn")
    for stage, width in enumerate(filters, start=1):
        for number in range(1, convolutions + 1):
            x = _convolution(x, width, has_real_shortcuts, hparams, f"stage{stage}_{number}")
    x = layers.GlobalAvgPool2D(name="pool")(x)
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name="pool_bn")(x)
    x = layers.Dense(classes, kernel_initializer=INITIALIZER, name="logits")(x)
    return tf.keras.Model(images, layers.Softmax(name="probabilities")(x), name=name)


def _build_20(hparams: HParams, input_shape: tuple[int, int, int], classes: int) -> Any:
    """Build ResNet-20: float32 [n, *input_shape] to probabilities, float32 [n, classes]."""
    return _network(hparams, input_shape, classes, "resnet20", (16, 32, 64), 6, has_real_shortcuts=False)


def _build_18(hparams: HParams, input_shape: tuple[int, int, int], classes: int) -> Any:
    """Build ResNet-18: float32 [n, *input_shape] to probabilities, float32 [n, classes]."""
    return _network(hparams, input_shape, classes, "resnet18", (64, 128, 256, 512), 4, has_real_shortcuts=True)


RESNET_20 = Architecture(
    name="resnet20",
    title="ResNet-20",
    paper="arXiv 1512.03385",
    input_shape=(32, 32, 3),
    classes=10,
    build=_build_20,
    # bopkit train resnet20 --dataset cifar10 --hparams-set SET
    # No set has a published figure; settings are our choice.
    sets=cifar_sets.sets(),
    min_size_px=4,
    counts=Counts(params=271_354, binary_params=267_264, binary_macs=40_108_032, mixed_macs=0, float_macs=443_008),
    published=(Published(86.5, "cifar10", "", "IR-Net, Qin et al. 2020, arXiv 1909.10788, latent weights"),),
)

RESNET_18 = Architecture(
    name="resnet18",
    title="ResNet-18 for small pictures",
    paper="arXiv 1512.03385",
    input_shape=(32, 32, 3),
    classes=10,
    build=_build_18,
    # bopkit train resnet18 --dataset cifar10 --hparams-set SET
    # No set has a published figure; settings are our choice.
    sets=cifar_sets.sets(),
    min_size_px=8,
    counts=Counts(
        params=11_185_610, binary_params=10_985_472, binary_macs=547_356_672, mixed_macs=0, float_macs=8_066_048
    ),
    published=(Published(91.5, "cifar10", "", "IR-Net, Qin et al. 2020, arXiv 1909.10788, latent weights"),),
)
