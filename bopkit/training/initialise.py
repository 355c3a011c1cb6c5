"""An untrained network with everything in place for export and timing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bopkit.architecture import Architecture
from bopkit.artifacts.card import ModelCard
from bopkit.artifacts.keras_file import save_model
from bopkit.data.preprocessing import SMALL_PICTURE_PX, get_preprocessing
from bopkit.errors import UsageError
from bopkit.hparams import override
from bopkit.keras2 import import_tensorflow
from bopkit.registry import MODELS
from bopkit.seeds import check_seed
from bopkit.versions import package_versions

CALIBRATION_PICTURES = 16
"""Pictures whose statistics batch norm starts from: enough for a standard deviation, few enough for a laptop."""


def init_model(
    model: str,
    output: str | Path,
    *,
    input_shape: tuple[int, int, int] | None = None,
    classes: int | None = None,
    hparams_set: str | None = None,
    hparams: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Path:
    """Write an untrained network, so that an architecture can be exported and timed before anyone trains it.

    Its kernels are -1 and +1, and its batch-norm statistics are those of random pictures, so that activations have
    the spread of a trained network's. Its predictions mean nothing.

    Args:
        model: Name of an architecture.
        output: The .h5 file to write.
        input_shape: Height, width, channels; None for the architecture's own.
        classes: Number of outputs; None for the architecture's own.
        hparams_set: Name of a hyper-parameter set; None for the architecture's first.
        hparams: Values that differ from the set, such as widths.
        seed: Seeds kernels and calibration pictures.

    Returns:
        The path of the file.

    Raises:
        UsageError: A name or value is wrong.
        BopkitError: The file cannot be written.
    """
    architecture: Architecture = MODELS.load(model)
    set_name = hparams_set or architecture.default_set
    settings = override(architecture.hparams(set_name), hparams or {})
    shape = input_shape or architecture.input_shape
    classes = classes or architecture.classes
    path = Path(output)
    if path.suffix != ".h5":
        raise UsageError(f"{path} does not end in .h5.", f"Write `-o {path.stem or 'model'}.h5`.")
    if min(*shape, classes) < 1:
        raise UsageError("Sizes and class count must be at least 1.", "Write for instance `--input-shape 32,32,3`.")
    check_seed(seed)
    architecture.check_input_shape(shape, "Leave out --input-shape for the network's own.")
    small = max(shape[:2]) <= SMALL_PICTURE_PX or shape[2] != 3
    preprocessing = get_preprocessing("resize" if small else "imagenet", shape)

    tf = import_tensorflow()
    tf.keras.utils.set_random_seed(seed)
    network = architecture.build_network(settings, shape, classes)
    _calibrate_batch_norm(network, shape, seed)
    card = ModelCard(
        architecture=architecture.name,
        input_shape=shape,
        value_range=preprocessing.value_range,
        preprocessing=preprocessing.name,
        hparams_set=set_name,
        hparams=settings.model_dump(exclude_none=True),
        versions=package_versions(),
    )
    save_model(network, card, path)
    return path


def _calibrate_batch_norm(network: Any, input_shape: tuple[int, int, int], seed: int) -> None:
    """Set moving mean and variance of every batch norm to those of one batch of random pictures."""
    tf = import_tensorflow()
    norms = [
        layer
        for layer in network._flatten_layers(include_self=False, recursive=True)
        if isinstance(layer, tf.keras.layers.BatchNormalization)
    ]
    momenta = [layer.momentum for layer in norms]
    pictures = np.random.default_rng(seed).normal(size=(CALIBRATION_PICTURES, *input_shape)).astype(np.float32)
    for layer in norms:
        layer.momentum = 0.0
    network(pictures, training=True)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum
