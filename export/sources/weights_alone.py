"""Weights without a network: they are put into one that the user names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bopkit.architecture import Architecture
from bopkit.artifacts.keras_file import LoadedModel, load_weights, read_card, read_config
from bopkit.binary_kernels import binary_layers
from bopkit.counting import is_binary
from bopkit.errors import BopkitError
from bopkit.export.options import ExportOptions
from bopkit.export.sources.subclassed import as_graph
from bopkit.files import sha256
from bopkit.hparams import HParams, override
from bopkit.keras2 import import_tensorflow
from bopkit.pretrained.cache import weights_file
from bopkit.pretrained.releases import RELEASES
from bopkit.registry import MODELS
from bopkit.unfused_norms import unfuse_norms_of_rows

_SCALED_SIGNS = ("MagnitudeAwareSign", "magnitude_aware_sign", "magnitude_aware_sign_unclipped", "xnor_weight_scale")
"""Quantizers that multiply signs, which weights alone do not tell from plain ones."""

_LATENT = "Its binary kernels hold latent weights: the network was built with the optimizer latent, which takes signs."


def load_into_architecture(path: Path, name: str, options: ExportOptions) -> LoadedModel:
    """Build a network of the catalogue, or of the user's own, and give it the weights of a file.

    Where no optimizer is asked for, and binary kernels hold other values than -1 and +1, they are latent weights: the
    network is built anew with the optimizer `latent`.

    Args:
        path: A `.h5` or `.keras` file, whole or of weights, or the prefix of a checkpoint.
        name: Of the network.
        options: Its settings, input shape and classes, where they are not the usual ones.

    Raises:
        UsageError: There is no such network, set or shape.
        BopkitError: The file cannot be read, or holds weights of another network or another kind.
    """
    architecture: Architecture = MODELS.load(name)
    settings = override(architecture.hparams(options.hparams_set), options.hparams)
    card = read_card(path)
    shape = options.input_shape or (card.input_shape if card is not None else architecture.input_shape)
    classes = options.classes or (len(card.class_names) if card is not None else 0) or architecture.classes
    architecture.check_input_shape(shape, "Write for instance `--input-shape 224,224,3`.")
    notes: tuple[str, ...] = ()
    built = _with_weights(path, architecture, settings, shape, classes)
    if _has_latent_kernels(built):
        if options.hparams_set is not None or "optimizer" in options.hparams:
            raise BopkitError(
                f"{path} holds latent weights: its binary kernels have other values than -1 and +1, which "
                f"{settings.optimizer} never leaves.",
                _without_optimizer(architecture, options),
            )
        built = _with_weights(path, architecture, override(settings, {"optimizer": "latent"}), shape, classes)
        notes = (_LATENT,)
    _require_same_signs(built, path, name)
    model, note = as_graph(unfuse_norms_of_rows(built), shape)
    return LoadedModel(model, card, (*notes, *note))


def _without_optimizer(architecture: Architecture, options: ExportOptions) -> str:
    """What to type in place of an optimizer that has no latent weights."""
    if "optimizer" not in options.hparams:
        return "Leave out --hparams-set, or type --hparams-set latent."
    of_set = options.hparams_set is not None and architecture.hparams(options.hparams_set).optimizer != "latent"
    return "Leave out optimizer= from --hparams" + (", and --hparams-set." if of_set else ".")


def _with_weights(
    path: Path, architecture: Architecture, hparams: HParams, shape: tuple[int, int, int], classes: int
) -> Any:
    built = architecture.build(hparams, shape, classes)
    if not built.built:
        built(import_tensorflow().keras.Input(shape))  # a subclassed network makes its weights when it is called
    load_weights(built, path)
    return built


def _has_latent_kernels(model: Any) -> bool:
    """Whether a kernel that is used as it is, and declared binary, is not."""
    import larq as lq

    return any(
        isinstance(layer.kernel_quantizer, lq.quantizers.NoOp) and not is_binary(layer.kernel.numpy())
        for layer in binary_layers(model)
    )


def _require_same_signs(built: Any, path: Path, name: str) -> None:
    """Refuse weights that are known to go with signs times magnitudes, where the named network has plain ones."""
    digest = sha256(path) if path.is_file() else ""  # a checkpoint is several files
    release = next((each for each in RELEASES.values() if each.kernel_quantizer and each.sha256 == digest), None)
    if release is not None:
        raise BopkitError(
            f"{path} are Larq Zoo's weights of {release.name}, which go with the quantizer {release.kernel_quantizer}; "
            f"{name} has plain signs.",
            f"Put the file at {weights_file(release)} and type pull:{release.name} in its place.",
        )
    try:
        saved = json.dumps(read_config(path))
    except BopkitError:
        return  # weights alone, or a checkpoint
    own = json.dumps([layer.get_config().get("kernel_quantizer") for layer in binary_layers(built)], default=str)
    for quantizer in _SCALED_SIGNS:
        if f'"{quantizer}"' in saved and not any(f'"{each}"' in own for each in _SCALED_SIGNS):
            raise BopkitError(
                f"{path} was saved with the quantizer {quantizer}, and {name} has plain signs: the same weights are "
                "another network there.",
                "The file holds the whole network: leave out --architecture.",
            )
