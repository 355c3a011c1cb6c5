"""A start from a trained network: its weights, as far as they fit, and layers that are not trained.

Layers are matched by their place where both networks have the same kinds of layers in the same order, as two of one
architecture have, else by their names. A layer is taken whole or not at all.
"""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bopkit.architecture import Architecture
from bopkit.artifacts import artifact, checksum
from bopkit.artifacts.card import ModelCard
from bopkit.artifacts.keras_file import open_model
from bopkit.batch_norm import is_batch_norm
from bopkit.binary_kernels import set_binary_kernels_to_signs
from bopkit.errors import UsageError, guess_text
from bopkit.hparams import HParams
from bopkit.pretrained import model_path
from bopkit.progress import Progress
from bopkit.runs.directory import MODEL_FILE, is_run
from bopkit.text import count_text, setting_text, shortened_list
from bopkit.training.scaled_kernels import is_scaled, take_scale_out

Layer = Any  # TensorFlow is imported inside the functions


@dataclasses.dataclass(frozen=True)
class StartFile:
    """The network that a run starts from, not loaded yet.

    Attributes:
        name: Its path, as it was typed.
        path: The model file.
        sha256: Of its content.
        card: Its model card; None for a file without one.
    """

    name: str
    path: Path
    sha256: str
    card: ModelCard | None


@dataclasses.dataclass(frozen=True)
class LayerChoice:
    """What was done to layers of a network.

    Attributes:
        layers: Their places among the layers with weights.
        lines: What to say of them.
    """

    layers: tuple[int, ...]
    lines: tuple[str, ...]


def find_start(name: str | Path, architecture: Architecture, progress: Progress | None = None) -> StartFile:
    """Find the network that a run starts from.

    Args:
        name: A model file, a run, the folder of a pulled network, or `pull:NAME`.
        architecture: Of the run.
        progress: Called with one line before something slow, and during a download.

    Raises:
        UsageError: It is of another architecture, or no Keras file.
        BopkitError: It is missing or damaged.
    """
    if not str(name) or (Path(name).is_dir() and not is_run(Path(name)) and not (Path(name) / MODEL_FILE).is_file()):
        raise UsageError(f"{str(name)!r} holds no {MODEL_FILE}.", "Give a run, a pulled network or a .h5 file.")
    path = artifact.resolve(model_path(name, progress))
    kind = artifact.kind(path)
    if kind != "keras":
        raise UsageError(
            f"A training cannot start from {name}, which is no Keras file.",
            "Give a run, a pulled network or a .h5 file; of a flatbuffer, the one that it was made from.",
        )
    card = artifact.read_card(path)
    if card is not None and card.architecture != architecture.name:
        raise UsageError(
            f"{name} is a {card.architecture}, and {architecture.name} is to be trained.",
            f"Train {card.architecture}, or start from a {architecture.name}.",
        )
    return StartFile(str(name), path, checksum.source_checksum(path), card)


def start_from(network: Any, start: StartFile, hparams: HParams) -> LayerChoice:
    """Give a network the weights of another one, as far as they fit.

    Kernels that are flipped become signs; the others are taken as they are, batch norms with their statistics. Where
    the other network multiplies signs by their mean magnitude, and this one does not, the statistics are divided by it.

    Args:
        network: A built `tf.keras.Model`, changed in place.
        start: The other one.
        hparams: Of the network, for what to type if little fits.

    Raises:
        UsageError: Nothing fits.
        BopkitError: The file cannot be read.
    """
    taken, new = [], []
    pairs = _pairs(layers_with_weights(network), layers_with_weights(open_model(start.path).model))
    for place, (layer, source) in enumerate(pairs):
        values = None if source is None else source.get_weights()
        if values is None or [value.shape for value in values] != [tuple(each.shape) for each in layer.weights]:
            new.append(layer.name)
            continue
        layer.set_weights(values)
        taken.append(place)
    lines = _without_scales([pairs[place] for place in taken], start)
    set_binary_kernels_to_signs(network)
    other = _other_settings(start, hparams)
    hint = f" With --hparams {other} more fits." if other else ""
    if not taken:
        raise UsageError(
            f"No layer of {start.name} fits the network.", hint.strip() or "Start from one of the same shape."
        )
    rest = f"; new: {shortened_list(new, NAMED_LAYERS)}" if new else ", all there are"
    line = f"from {start.name}: {count_text(len(taken), 'layer')} taken{rest}.{hint if new else ''}"
    return LayerChoice(tuple(taken), (line, *lines))


def _without_scales(taken: list[tuple[Layer, Layer]], start: StartFile) -> list[str]:
    """Let layers with plain signs compute what the others do with scaled ones; what to say where they cannot."""
    unlike = [(layer, source) for layer, source in taken if is_scaled(source) and not is_scaled(layer)]
    layers = [layer for layer, _ in taken]
    left = [layer.name for layer, source in unlike if not take_scale_out(layer, source, layers)]
    if not left:
        return []
    names = shortened_list(left, NAMED_LAYERS)
    return [f"Warning: {start.name} multiplies signs by their mean magnitude, and this network does not: {names}"]


NAMED_LAYERS = 8
"""Layers that a line names."""


def frozen_layers(network: Any, patterns: Sequence[str], batch_norm: bool, started: LayerChoice | None) -> LayerChoice:
    """Which layers are not trained.

    Args:
        network: A built `tf.keras.Model`.
        patterns: Names of layers, with `*` and `?` as in a shell.
        batch_norm: Whether the batch norms that were taken from another network are kept as they are.
        started: What was taken; None for a new network.

    Returns:
        Places among the layers with weights, and lines to say of them.

    Raises:
        UsageError: A pattern is of no layer, or there is no batch norm that could be kept.
    """
    layers = layers_with_weights(network)
    taken = () if started is None else started.layers
    frozen: set[int] = set()
    for pattern in patterns:
        found = {place for place, layer in enumerate(layers) if fnmatch.fnmatchcase(layer.name, pattern)}
        if not found:
            names = [layer.name for layer in layers]
            raise UsageError(
                f"No layer with weights is named {pattern!r}.",
                f"{guess_text(pattern, names)}There are {shortened_list(names, NAMED_LAYERS)}.",
            )
        frozen |= found
    lines = []
    untrained = [layers[place].name for place in sorted(frozen) if place not in taken]
    if untrained:
        lines.append(
            f"Warning: frozen as they were drawn, and never trained: {shortened_list(untrained, NAMED_LAYERS)}"
        )
    if batch_norm:
        norms = {place for place in taken if is_batch_norm(layers[place])}
        if not norms:
            raise UsageError(
                "--freeze-batch-norm keeps batch norms of the network that a run starts from, and none is taken.",
                "Add --from MODEL, or leave it out.",
            )
        frozen |= norms
    if frozen:
        names = [layers[place].name for place in sorted(frozen)]
        lines.append(f"frozen: {shortened_list(names, NAMED_LAYERS)}")
    return LayerChoice(tuple(sorted(frozen)), tuple(lines))


def freeze(network: Any, places: Sequence[int]) -> None:
    """Keep layers of a network as they are: training changes none of their weights.

    Args:
        network: A built `tf.keras.Model`, changed in place.
        places: Of the layers, among those with weights.

    Raises:
        UsageError: Nothing is left to train.
    """
    layers = layers_with_weights(network)
    for place in places:
        layers[place].trainable = False
    if not network.trainable_variables:
        raise UsageError("Every layer is frozen: nothing is left to train.", "Freeze fewer of them.")


def layers_with_weights(network: Any) -> list[Layer]:
    """The layers of a network that have weights, those of nested models in their places, in order."""
    layers = network._flatten_layers(include_self=False, recursive=True)
    return [layer for layer in layers if layer.weights and not hasattr(layer, "layers")]


def _pairs(layers: list[Layer], sources: list[Layer]) -> list[tuple[Layer, Layer | None]]:
    """Each layer with the one that it may take its weights from."""
    if [type(layer).__name__ for layer in layers] == [type(layer).__name__ for layer in sources]:
        return list(zip(layers, sources, strict=True))
    by_name = {source.name: source for source in sources}
    return [(layer, by_name.get(layer.name)) for layer in layers]


def _other_settings(start: StartFile, hparams: HParams) -> str:
    """Hyper-parameters of the architecture itself that the other network has with other values, as they are typed."""
    if start.card is None:
        return ""
    own = [name for name in type(hparams).model_fields if name not in HParams.model_fields]
    theirs = {name: start.card.hparams[name] for name in own if name in start.card.hparams}
    return ",".join(setting_text(name, value) for name, value in theirs.items() if value != getattr(hparams, name))
