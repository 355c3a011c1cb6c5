"""`pull:NAME` in the place of a model file: it stands for one that is kept in the user's cache folder.

The network is built when it is first asked for, after a download where it does not come with bopkit. Functions that
take a model resolve its name here, first of all.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from bopkit.artifacts import artifact, checksum, keras_file
from bopkit.artifacts.card import ModelCard
from bopkit.errors import BopkitError, UsageError, unknown_name
from bopkit.files import sha256
from bopkit.isolation import Child
from bopkit.pretrained import cache
from bopkit.pretrained.download import check_mirror, download
from bopkit.pretrained.releases import RELEASES, Release
from bopkit.pretrained.shipped import read_facts, shipped_names
from bopkit.progress import Progress, silent
from bopkit.registry import MODELS
from bopkit.versions import package_versions

PREFIX = "pull:"

_FORMAT = 1
"""Raised when what is built of the same weights is to be another file."""

TIMEOUT_S = 600.0
"""For building the largest network on a slow machine."""


def known_names() -> list[str]:
    """The trained networks that can be had by name: those that come with bopkit, then those that others released."""
    return [*shipped_names(), *RELEASES]


def is_pulled(model: str | Path) -> bool:
    """Whether what a user typed for a model is `pull:NAME`."""
    return str(model).startswith(PREFIX)


def model_path(model: str | Path, progress: Progress | None = None) -> Path:
    """The path that what a user typed for a model means.

    Args:
        model: `pull:NAME`, which is got and built if it is not there yet, or a path, which is returned as it is.
        progress: Called with one line before what is slow, and during a download.

    Raises:
        UsageError: There is no such trained network, or the name of one is given without `pull:`.
        BopkitError: It cannot be downloaded, or a file of bopkit is damaged.
        OSError: Nothing can be written into the cache folder.
    """
    if is_pulled(model):
        return kept_model(str(model).removeprefix(PREFIX), progress or silent)
    name = str(model)
    if name in known_names() and not os.path.lexists(name):
        untrained = f" `bopkit init {name} -o {name}.h5` makes it untrained." if name in MODELS else ""
        raise UsageError(
            f"{name} does not exist.",
            f"Type {PREFIX}{name} for the trained network of that name, or `bopkit pull {name}` first.{untrained}",
        )
    return Path(model)


def kept_model(name: str, progress: Progress, mirror: str | None = None) -> Path:
    """The model file of a trained network in the cache folder; it is got and built if it is not there, or damaged.

    Args:
        name: Of `known_names`.
        progress: Called with one line before what is slow, and during a download.
        mirror: Address of a copy of Larq Zoo's releases, for a network of these; None for the original.

    Raises:
        UsageError: There is no such network, or the mirror is no address.
        BopkitError: It cannot be downloaded, or a file of bopkit is damaged.
        OSError: Nothing can be written into the cache folder.
    """
    check_name(name)
    if mirror is not None:
        check_mirror(mirror)
    path = kept_path(name)
    if _is_whole(path):
        return path
    with cache.locked(name, progress):
        if _is_whole(path):  # another process was faster
            return path
        if name in RELEASES:
            release = RELEASES[name]
            weights = _released_weights(release, progress, mirror)
            progress(f"Building {release.architecture} from the released weights")
            function = "bopkit.pretrained.build_release:build_release"
            _build(function, dataclasses.asdict(release), str(weights), path=path, subject=str(weights))
        else:
            progress(f"Building {read_facts(name).architecture} from packed weights")
            function = "bopkit.pretrained.rebuild:build_shipped"
            _build(function, name, path=path, subject=f"the packed weights of {name}")
    return path


def kept_path(name: str) -> Path:
    """Where the model file of a trained network is kept, or would be: another path for each version of bopkit."""
    facts: Any = dataclasses.asdict(RELEASES[name]) if name in RELEASES else read_facts(name).parts
    parts = {key: getattr(part, "sha256", part) for key, part in facts.items()}
    text = json.dumps([_FORMAT, package_versions().get("bopkit"), parts], sort_keys=True)
    return cache.model_file(name, hashlib.sha256(text.encode()).hexdigest()[:12])


def check_name(name: str) -> None:
    """Refuse the name of no trained network.

    Raises:
        UsageError: It is one.
    """
    if name not in known_names():
        raise unknown_name("trained network", name, known_names(), "bopkit pull")


def load_model(path: str | Path) -> Any:
    """Load a Keras model that needs no code of the user's own, after checking that its file can run none.

    Args:
        path: A whole model in HDF5 (`.h5`) or in Keras' zip format (`.keras`), or `pull:NAME`.

    Returns:
        The `tf.keras.Model`, not compiled. `bopkit.read_card` reads the card of the same file.

    Raises:
        BopkitError: The file is missing, damaged or no model, it names something outside the allow-list, or
            TensorFlow does not import.
        MemoryError: The model does not fit into memory.
    """
    return keras_file.load_model(model_path(path))


def read_card(path: str | Path) -> ModelCard | None:
    """The model card of an artifact of any kind, or of `pull:NAME`; None where it carries none.

    Raises:
        BopkitError: There is no such artifact, or it or its card is damaged.
    """
    return artifact.read_card(model_path(path))


def _is_whole(path: Path) -> bool:
    try:
        return path.is_file() and checksum.check(path)
    except BopkitError:
        return False


def _released_weights(release: Release, progress: Progress, mirror: str | None) -> Path:
    """The file of the weights, downloaded if it is not there yet."""
    path, address = cache.weights_file(release), release.address(mirror)
    if path.is_file():
        if sha256(path) == release.sha256:
            return path
        wrong = path.with_name(f"{path.name}.wrong")  # someone may have put it there by hand
        os.replace(path, wrong)
        progress(f"{path} was not the released file, as its checksum is wrong: it is {wrong.name} beside it now")
    progress(f"Downloading {address}")
    copy = "" if mirror else f", or name a copy of these releases: `bopkit pull {release.name} --mirror URL`"
    hint = f"Put {release.address() if mirror else 'that file'} by hand at {path}{copy}."
    download(address, path, release.sha256, hint, progress)
    return path


def _build(function: str, *arguments: Any, path: Path, subject: str) -> None:
    """Build in a new process, where Keras has counted nothing yet: the same weights make the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with Child() as process:
        process.call(function, *arguments, str(path), subject=subject, timeout_s=TIMEOUT_S)
