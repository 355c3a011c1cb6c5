"""From released weights to a model file with its card, in a process of its own: the same weights, the same bytes."""

from __future__ import annotations

from typing import Any

from bopkit.architecture import Architecture
from bopkit.artifacts.card import ModelCard
from bopkit.artifacts.keras_file import load_weights, save_model
from bopkit.data import get_preprocessing
from bopkit.data.tfds_builder import find_builder
from bopkit.hparams import HParams, override
from bopkit.keras2 import import_tensorflow
from bopkit.pretrained.releases import Release
from bopkit.registry import MODELS
from bopkit.unfused_norms import unfuse_norms_of_rows
from bopkit.versions import package_versions


def build_release(values: dict[str, Any], weights: str, model_file: str) -> None:
    """Build a network, give it released weights, and save it with its model card.

    Args:
        values: A `Release` as a dictionary.
        weights: The file of the weights, whose checksum is right.
        model_file: The `.h5` file to write.

    Raises:
        BopkitError: The weights are those of another network, or nothing can be written.
    """
    release = Release(**values)
    architecture: Architecture = MODELS.load(release.architecture)
    hparams = override(architecture.hparams(), {"optimizer": "latent"})
    network = architecture.build_network(hparams, architecture.input_shape, architecture.classes)
    if release.kernel_quantizer:
        network = _with_kernel_quantizer(network, release.kernel_quantizer)
    load_weights(network, weights)
    card = release_card(release, architecture, hparams)
    save_model(unfuse_norms_of_rows(network), card, model_file)


def release_card(release: Release, architecture: Architecture, hparams: HParams) -> ModelCard:
    """The model card of a released network.

    It has no hyper-parameters of the training, which was not bopkit's, but those that the network is built with.
    """
    preprocessing = get_preprocessing(release.preprocessing, architecture.input_shape)
    own = [name for name in type(hparams).model_fields if name not in HParams.model_fields]
    return ModelCard(
        architecture=architecture.name,
        input_shape=architecture.input_shape,
        value_range=preprocessing.value_range,
        preprocessing=preprocessing.name,
        dataset=release.dataset,
        class_names=_class_names(release.dataset),
        hparams={"optimizer": "latent", **{name: getattr(hparams, name) for name in own}},
        trained=True,
        trained_on="train",
        versions=package_versions(),
        source=f"{release.address()} (SHA-256 {release.sha256})",
        publisher=release.publisher,
        licence=release.licence,
        published={"top1": release.top1, "top5": release.top5},
    )


def _class_names(dataset: str) -> tuple[str, ...]:
    """As a run on the dataset has them: those of TFDS, which need no pictures."""
    return tuple(find_builder(dataset, None, None).info.features["label"].names)


def _with_kernel_quantizer(network: Any, name: str) -> Any:
    """A copy of a network with another quantizer on its binary kernels; its weights are new."""
    tf = import_tensorflow()

    def copied(layer: Any) -> Any:
        config = layer.get_config()
        if config.get("kernel_quantizer") is not None:
            config["kernel_quantizer"] = name
        return type(layer).from_config(config)

    return tf.keras.models.clone_model(network, clone_function=copied)
