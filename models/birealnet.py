"""Bi-Real Net with 18 layers.

Liu et al., Bi-Real Net, ECCV 2018, arXiv 1808.00278; as in Helwegen et al. 2019, arXiv 1906.02107. float32
[n, 224, 224, 3], ImageNet-normalised, to probabilities of 1000 classes. A shortcut around every binary convolution
keeps the real activations. The first convolution, the downsampling shortcuts and the last dense layer are real.
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
    return import_tensorflow().keras.layers.BatchNormalization(momentum=0.8, name=name)(x)


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
        input_quantizer="approx_sign",
        kernel_initializer=INITIALIZER,
        use_bias=False,
        name=f"{name}_conv",
        **binary_kernel(hparams.optimizer),
    )(x)
    x = _normalise(x, f"{name}_bn")
    return import_tensorflow().keras.layers.Add(name=f"{name}_add")([x, shortcut])


def build(hparams: HParams, input_shape: tuple[int, int, int], classes: int) -> Any:
    """Build Bi-Real Net: float32 [n, *input_shape] to probabilities, float32 [n, classes]."""
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
            x = _block(x, filters, hparams, name=f"stage{stage}_block{block}")
    return classifier(images, x, classes, "birealnet")


ARCHITECTURE = Architecture(
    name="birealnet",
    title="Bi-Real Net",
    paper="arXiv 1808.00278",
    input_shape=(224, 224, 3),
    classes=1000,
    build=build,
    sets={
        # bopkit train birealnet --dataset imagenet2012
        # Published top-1 56.6 %, arXiv 1906.02107; not yet reproduced.
        "bop": imagenet_sets.bop(epochs=300),
        # bopkit train birealnet --dataset imagenet2012 --hparams-set bop2nd
        # Published top-1 57.2 %, arXiv 2104.05124, in half of the epochs of `bop`; not yet reproduced.
        "bop2nd": imagenet_sets.bop2nd(epochs=150),
        # bopkit train birealnet --dataset imagenet2012 --hparams-set cema
        # No published figure for this network; our choice of settings.
        "cema": imagenet_sets.cema(epochs=300),
        # bopkit train birealnet --dataset imagenet2012 --hparams-set bold
        # No published figure for this network; our choice of settings.
        "bold": imagenet_sets.bold(epochs=300),
        # bopkit train birealnet --dataset imagenet2012 --hparams-set latent
        # No published figure with these settings, which are our choice; other latent-weight figures are in `published`.
        "latent": imagenet_sets.latent(epochs=300),
    },
    min_size_px=32,
    counts=Counts(
        params=11_699_112, binary_params=10_985_472, binary_macs=1_676_279_808, mixed_macs=0, float_macs=137_793_536
    ),
    published=(
        Published(56.6, "imagenet2012", "bop", "Helwegen et al. 2019, arXiv 1906.02107"),
        Published(57.2, "imagenet2012", "bop2nd", "Suarez-Ramirez et al. 2021, arXiv 2104.05124"),
        Published(57.47, "imagenet2012", "", "Larq Zoo, latent weights"),
    ),
)
