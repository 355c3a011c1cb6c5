"""Where a network comes from: a whole model, a run directory, weights with an architecture, a SavedModel.

Needs TensorFlow; imports it inside the functions.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from bopkit.artifacts import checkpoint, checksum
from bopkit.artifacts.c_sources import is_c_sources
from bopkit.artifacts.custom_code import CustomCode, import_custom_code
from bopkit.artifacts.keras_file import LoadedModel, open_model
from bopkit.errors import BopkitError, UsageError
from bopkit.export.options import ExportOptions
from bopkit.export.sources.keras_saved_model import NoConfigError, load_from_config
from bopkit.export.sources.subclassed import as_graph
from bopkit.export.sources.weights_alone import load_into_architecture
from bopkit.keras2 import import_tensorflow

Model = Any  # TensorFlow is imported inside the functions


def artifact_name(source: Path) -> str:
    """What the artifacts of a resolved source are called: a SavedModel's version is not its name."""
    if checkpoint.is_prefix(source):
        return source.name
    return _network_directory(source).name if source.is_dir() else source.stem


def default_output(source: Path) -> Path:
    """The folder beside a resolved source."""
    return _network_directory(source).parent if source.is_dir() else source.parent


def refuse_nesting(folder: Path) -> None:
    """Refuse to put versions into a folder that is a SavedModel itself: loaders would find two.

    Raises:
        UsageError: It is one.
    """
    if (folder / "saved_model.pb").is_file():
        raise UsageError(
            f"{folder} is itself a SavedModel, and the version would be written inside it.",
            "Name another --output, or --tflite.",
        )


def _network_directory(source: Path) -> Path:
    """The directory with a network's name: that of a SavedModel, or the one that holds its versions."""
    resolved = source.resolve()
    return resolved.parent if resolved.name.isdecimal() else resolved


@contextlib.contextmanager
def use_custom_code(modules: Iterable[str]) -> Iterator[CustomCode]:
    """Import the user's modules, and let Keras find their objects by name within the context, as copies of layers need.

    Args:
        modules: Names or files, as `--custom` gives them.

    Raises:
        UsageError: There is no such module, or it defines no public class or function.
        BopkitError: A module does not import.
    """
    custom_code = import_custom_code(modules)
    if not custom_code.objects:
        yield custom_code
        return
    with import_tensorflow().keras.utils.custom_object_scope(dict(custom_code.objects)):
        yield custom_code


def offered_formats(model: Model, options: ExportOptions) -> ExportOptions:
    """The options without the formats that a network has none of: a graph of code is a SavedModel already.

    Raises:
        UsageError: None is left.
    """
    if not any(hasattr(layer, "frozen_operations") for layer in model.layers):
        return options
    if not options.tflite:
        raise UsageError(
            "The source is already a SavedModel of code, which can only become a flatbuffer.", "Type --tflite."
        )
    return dataclasses.replace(options, savedmodel=False)


def load_source(path: Path, options: ExportOptions, custom_code: CustomCode) -> LoadedModel:
    """Load what `artifact.resolve` has returned, as a graph of layers where that can be had.

    Args:
        path: A `.h5` or `.keras` file, a SavedModel's version directory, or the prefix of a checkpoint.
        options: Name the architecture where the file holds weights only.
        custom_code: Code of the user's own that the file may name.

    Raises:
        BopkitError: It cannot be read, is not known to be safe, or holds weights of another network.
    """
    if is_c_sources(path):
        raise BopkitError(
            f"{path} is a folder of C sources, which was exported already.", "Give the .h5 file that it was made from."
        )
    if path.is_dir():
        checksum.check(path)
    if options.architecture is not None:
        return load_into_architecture(path, options.architecture, options)
    return _load_saved_model(path, custom_code) if path.is_dir() else load_file(path, custom_code)


def load_file(path: Path, custom_code: CustomCode) -> LoadedModel:
    """Load a whole model from a `.h5` or `.keras` file, as a graph of layers where that can be had.

    Raises:
        BopkitError: It cannot be read, or is not known to be safe.
    """
    loaded = open_model(path, custom_code)
    model, note = as_graph(loaded.model, None)
    return dataclasses.replace(loaded, model=model, notes=(*loaded.notes, *note))


def _load_saved_model(path: Path, custom_code: CustomCode) -> LoadedModel:
    try:
        return load_from_config(path, custom_code)
    except NoConfigError:
        from bopkit.export.sources.frozen_saved_model import load_frozen

        return load_frozen(path)
