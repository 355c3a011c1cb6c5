"""Keras model files (.h5 and .keras): load without running code from the file, save whole or not at all.

A model file is input from a stranger. Its config is checked against an allow-list (`bopkit.artifacts.keras_config`),
its tensors must lie inside the file and be of a bounded size (`keras_hdf5` and `keras_zip`), and its training config is
never used. The bound is on what the file holds: a config of a few lines can still make Keras allocate a layer larger
than memory.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import re
import shutil
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bopkit import files, own_code
from bopkit.artifacts import checkpoint, checksum, hdf5_probe, keras_hdf5, keras_zip
from bopkit.artifacts.card import CARD_ATTRIBUTE, ModelCard
from bopkit.artifacts.custom_code import NO_CUSTOM_CODE, CustomCode
from bopkit.artifacts.keras_config import check_config
from bopkit.artifacts.larq_zoo import translated
from bopkit.artifacts.limits import DAMAGED
from bopkit.artifacts.old_keras_config import modernised
from bopkit.artifacts.other_files import START_BYTES, other_file
from bopkit.errors import BopkitError, UsageError, first_line
from bopkit.keras2 import import_tensorflow
from bopkit.registry import MODELS
from bopkit.unfused_norms import unfuse_norms_of_rows

_KERAS_2_12_WEIGHTS = "_layer_checkpoint_dependencies"
"""Group of the weights in TensorFlow 2.12's trial of the zip format."""

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
ZIP_MAGIC = b"PK\x03\x04"


@dataclasses.dataclass(frozen=True)
class LoadedModel:
    """A network as it came out of its file.

    Attributes:
        model: The `tf.keras.Model`, not compiled.
        card: Its model card; None where the file carries none.
        notes: What the user should know about the loading, one sentence each.
    """

    model: Any
    card: ModelCard | None
    notes: tuple[str, ...] = ()


def load_model(path: str | Path) -> Any:
    """Load a Keras model that needs no code of the user's own, after checking that its file can run none.

    Args:
        path: A whole model in HDF5 (`.h5`) or in Keras' zip format (`.keras`).

    Returns:
        The `tf.keras.Model`, not compiled. `bopkit.read_card` reads the card of the same file.

    Raises:
        BopkitError: As `open_model`.
        MemoryError: The model does not fit into memory.
    """
    return open_model(path).model


def open_model(path: str | Path, custom_code: CustomCode = NO_CUSTOM_CODE) -> LoadedModel:
    """Load a Keras model after checking that the file can run no code but what the user trusts.

    The size of the file's tensors is bounded (`limits.MAX_TENSOR_BYTES`), not what its config makes Keras allocate.

    Args:
        path: A whole model in HDF5 (`.h5`) or in Keras' zip format (`.keras`).
        custom_code: Code of the user's own that it may name.

    Raises:
        BopkitError: The file is missing, damaged or no model, it names something outside the allow-list, or
            TensorFlow does not import.
        MemoryError: The model does not fit into memory.
    """
    path = Path(path)
    kind = container(path)
    import_tensorflow()  # what is wrong with it is not wrong with the file
    if kind == "hdf5":
        with _reading(path):
            return _load_hdf5(path, custom_code)
    with _private_copy(path, "model.keras") as copy, _reading(path):
        return _load_zip(copy, path, custom_code)


def load_weights(model: Any, path: str | Path) -> None:
    """Fill a network that is built already with the weights of a file.

    Args:
        model: A `tf.keras.Model`.
        path: HDF5 of `save_weights` or of `save`, old or new (`.weights.h5`), `.keras`, or the prefix of a checkpoint
            of TensorFlow. A config is not read.

    Raises:
        BopkitError: The file is missing or damaged, or its weights are those of another network.
    """
    import h5py

    path = Path(path)
    if checkpoint.is_prefix(path):
        checkpoint.load_weights(model, path)
        return
    is_zip = container(path) == "zip"
    with contextlib.ExitStack() as stack:
        copy = stack.enter_context(_private_copy(path, "model.keras" if is_zip else "model.h5"))
        stack.enter_context(_reading(path))
        if is_zip:
            with zipfile.ZipFile(copy) as archive:
                keras_zip.check_members(archive, path)
                copy = Path(archive.extract(keras_zip.WEIGHTS, copy.parent))
        checksum.check(path)
        hdf5_probe.probe(copy, path)
        with h5py.File(copy, "r") as file:
            keras_hdf5.check_tensors(file, path)
            is_old = "layer_names" in file.attrs or "model_weights" in file
        if not is_old:  # Keras chooses its reader by the ending
            copy = copy.rename(copy.parent / keras_zip.WEIGHTS)
        try:
            model.load_weights(str(copy))
        except (ValueError, KeyError) as error:
            hint = "Check --architecture, --hparams-set, --hparams, --input-shape and --classes."
            what = f"{path} holds weights of another network: {first_line(error)[:200]}"
            raise BopkitError(what, hint) from error


def safe_config(
    saved: dict[str, Any], path: Path, custom_code: CustomCode, is_hdf5: bool = False
) -> tuple[dict[str, Any], list[str]]:
    """The config of a stranger's model as today's Keras may build it, and what the user should know of that.

    Raises:
        BopkitError: It names what is not known to be safe.
    """
    from bopkit.artifacts import larq_zoo_objects  # noqa: F401  what files may name, for Keras to find

    config = translated(saved)
    check_config(config, path, custom_code)
    return modernised(config, custom_code, is_hdf5)


def read_config(path: str | Path) -> dict[str, Any]:
    """The config of the model in a `.h5` or `.keras` file, neither checked nor built.

    Raises:
        BopkitError: The file is missing, damaged or holds no model config.
    """
    path = Path(path)
    with _reading(path):
        if container(path) == "hdf5":
            with keras_hdf5.open_file(path) as file:
                return keras_hdf5.read_config(file, path)
        with zipfile.ZipFile(path) as archive:
            return keras_zip.read_config(archive, path)


def read_card(path: str | Path) -> ModelCard | None:
    """The model card of a `.h5` file; None where it carries none, as every `.keras` file and every checkpoint.

    Raises:
        BopkitError: The file is missing or damaged, or its card is.
    """
    path = Path(path)
    if checkpoint.is_prefix(path):
        return None
    with _reading(path):
        if container(path) == "zip":
            return None
        with keras_hdf5.open_file(path) as file:
            return keras_hdf5.read_card(file, path)


def save_model(model: Any, card: ModelCard, path: str | Path) -> None:
    """Save a model with its card in HDF5 format, whole or not at all; optimizer state is left out.

    Args:
        model: A functional or sequential `tf.keras.Model`.
        card: The card; it becomes one root attribute (`CARD_ATTRIBUTE`).
        path: The file to write or replace; must end in `.h5`.

    Raises:
        UsageError: `path` does not end in `.h5`.
        BopkitError: HDF5 cannot hold the model, or the file cannot be written; an old file stays whole.
    """
    path = Path(path)
    if path.suffix != ".h5":
        raise UsageError(f"{path} does not end in .h5.", f"Try {path.with_suffix('.h5')}.")
    content = model_bytes(model, card, path)
    try:
        files.write_bytes(path, content)
    except OSError as error:
        frees = "Free some disk space or choose" if error.errno == errno.ENOSPC else "Choose"
        hint = f"{frees} another place, and run it again; nothing was replaced."
        raise BopkitError(f"{path} cannot be written: {error.strerror or error}.", hint) from error


def model_bytes(model: Any, card: ModelCard, path: Path) -> bytes:
    """The content of the file that `save_model` writes; the same network and card give the same bytes.

    Args:
        model: A functional or sequential `tf.keras.Model`.
        card: The card.
        path: Where it is to lie, for messages.

    Raises:
        BopkitError: HDF5 cannot hold the model.
    """
    import h5py

    # HDF5 raises odd errors on a full disk and leaks the file: it writes to memory, plain bytes go to disk.
    with h5py.File(path.name, "w", driver="core", backing_store=False) as file:
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="You are saving your model as an HDF5 file")
                model.save(file, save_format="h5", include_optimizer=False)
        except NotImplementedError as error:
            hint = "Build it with Keras' functional or sequential API."
            raise BopkitError(f"{path} cannot hold this model: {first_line(error)}.", hint) from error
        file.attrs[CARD_ATTRIBUTE] = card.to_json(sealed=True)
        file.attrs[checksum.ENTRY] = np.bytes_(checksum.BLANK)
        file.flush()
        return checksum.sealed(file.id.get_file_image())


def container(path: Path) -> str:
    """`hdf5` or `zip`, by the first bytes of the file.

    Raises:
        BopkitError: There is no such file, it cannot be read, or it is neither.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(START_BYTES)
    except FileNotFoundError as error:
        if checkpoint.is_prefix(path):
            hint = f"Name the network that they belong to: `bopkit export {path} --architecture NAME -o DIR`."
            raise BopkitError(f"{path} is a checkpoint of TensorFlow, which holds weights only.", hint) from error
        is_name = str(path) in MODELS
        hint = f"`bopkit init {path} -o {path}.h5` makes that network, untrained." if is_name else "Check the path."
        raise BopkitError(f"{path} does not exist.", hint) from error
    except IsADirectoryError as error:
        raise BopkitError(f"{path} is a directory, not a model file.", "Give the .h5 or .keras file.") from error
    except OSError as error:
        raise BopkitError(f"{path} cannot be read: {error.strerror}.", "Check the file's permissions.") from error
    if start.startswith(HDF5_MAGIC):
        return "hdf5"
    if start.startswith(ZIP_MAGIC):
        return "zip"
    raise other_file(path, start, "a Keras model file", "Give a whole model saved as .h5 or .keras.")


def _load_hdf5(path: Path, custom_code: CustomCode) -> LoadedModel:
    with keras_hdf5.open_file(path) as file:
        saved = keras_hdf5.read_config(file, path)
        config, notes = safe_config(saved, path, custom_code, is_hdf5=True)
        keras_hdf5.check_tensors(file, path)
        card = keras_hdf5.read_card(file, path)
        with keras_hdf5.with_config(file, config) if config != saved else contextlib.nullcontext(file) as current:
            # The open file, not its path: what was checked is what is loaded.
            keras = import_tensorflow().keras
            model = keras.models.load_model(current, compile=False, custom_objects=dict(custom_code.objects))
    return LoadedModel(unfuse_norms_of_rows(model), card, tuple(notes))


@contextlib.contextmanager
def _private_copy(path: Path, name: str) -> Iterator[Path]:
    """Yield a copy in a folder of this user alone: Keras opens some files by name, and must load what was checked.

    Args:
        path: The file.
        name: Name of the copy; Keras chooses its reader by the ending.
    """
    with files.temporary_directory() as folder:
        copy = Path(folder, name)
        shutil.copyfile(path, copy)
        yield copy


def _load_zip(copy: Path, path: Path, custom_code: CustomCode) -> LoadedModel:
    """Check and load `copy`; errors speak of `path`."""
    import h5py

    with zipfile.ZipFile(copy) as archive:
        keras_zip.check_members(archive, path)
        saved = keras_zip.read_config(archive, path)
        config, notes = safe_config(saved, path, custom_code)
        weights = Path(archive.extract(keras_zip.WEIGHTS, copy.parent))  # also compares its CRC-32
        hdf5_probe.probe(weights, path)
        with h5py.File(weights, "r") as file:
            if _KERAS_2_12_WEIGHTS in file:
                hint = "Save it there as `model.h5`, or as `model.keras` without `save_format`."
                raise BopkitError(f"{path} has the experimental layout of TensorFlow 2.12.", hint)
            keras_hdf5.check_tensors(file, path)
        weights.unlink()
        if config != saved:
            copy = keras_zip.with_config(archive, config, copy.with_name("today.keras"))
    keras = import_tensorflow().keras
    model = keras.models.load_model(str(copy), compile=False, safe_mode=True, custom_objects=dict(custom_code.objects))
    return LoadedModel(unfuse_norms_of_rows(model), None, tuple(notes))


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn whatever a damaged file makes h5py, zipfile, json or Keras raise into one clear error."""
    try:
        yield
    except (BopkitError, MemoryError):
        raise
    except Exception as error:  # a damaged file can make Keras raise anything
        if type(error).__name__ == "ResourceExhaustedError":  # TensorFlow's MemoryError
            raise
        not_made = _NOT_MADE.search(str(error))
        not_called = _NOT_CALLED.search(str(error))
        reason = f"class {not_made[1]}: {not_made[2]}" if not_made else f"{type(error).__name__}: {first_line(error)}"
        own, hint = own_code.failure_in(error), DAMAGED
        if not_called:
            reason = f"layer {not_called[1]} ({not_called[2]}) cannot be called as the file describes it"
            hint = (
                "If tf.keras.models.load_model fails too, Keras does not save such a call whole: compute it in a layer "
                "class of your own, which --custom names."
            )
        if own:
            reason, hint = own, own_code.HINT
        elif not_made and own_code.is_in_use():
            hint = "Name with --custom the code that it was saved with: this class does not take the file's settings."
        raise BopkitError(f"{path} does not load: {reason[:300]}.", hint) from error


_NOT_CALLED = re.compile(r"Exception encountered when calling layer ['\"]([^'\"]*)['\"] \(type (\w+)\)")
"""Keras' words for a layer that does not take what it is given in a file, for instance TFOpLambda of tf.einsum."""

_NOT_MADE = re.compile(r"Error when deserializing class '(\w+)'.*Exception encountered: ([^\n]*)", re.DOTALL)
"""Keras' words for a class that cannot be made of the settings in a file."""
