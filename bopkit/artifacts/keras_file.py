"""Keras model files (.h5 and .keras): load without running code of theirs, save whole or not at all.

A model file is input from a stranger. Its config is checked against an allow-list (`bopkit.artifacts.keras_config`),
its tensors must lie inside the file and be of a bounded size, and its training config is never used. The bound
is on what the file holds: a config of a few lines can still make Keras allocate a layer larger than memory.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bopkit import files
from bopkit.artifacts import checksum, hdf5_probe
from bopkit.artifacts.card import CARD_ATTRIBUTE, ModelCard
from bopkit.artifacts.keras_config import NOTHING, Vouched, check_config
from bopkit.artifacts.old_keras_config import modernised
from bopkit.errors import BopkitError, UsageError, first_line
from bopkit.keras2 import import_tensorflow
from bopkit.registry import MODELS

if TYPE_CHECKING:
    import h5py

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
ZIP_MAGIC = b"PK\x03\x04"

MAX_CONFIG_BYTES = 16 << 20
"""Largest config and largest card; those of a ResNet-152 are below 1 MiB."""

MAX_TENSOR_BYTES = 4 << 30
"""All tensors of one file together; Binary AlexNet with an optimizer state takes 0.7 GiB."""

_ZIP_CONFIG, _ZIP_WEIGHTS = "config.json", "model.weights.h5"
_KERAS_2_12_WEIGHTS = "_layer_checkpoint_dependencies"
_ZIP_MEMBERS = frozenset({"metadata.json", _ZIP_CONFIG, _ZIP_WEIGHTS})

_DAMAGED = "The file is damaged, cut short or not a whole model: copy it again, or save it again with `model.save`."


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


def load_model(path: str | Path) -> tuple[Any, ModelCard | None]:
    """The model and the card of `open_model`, for files that need no code of the user's own."""
    loaded = open_model(path)
    return loaded.model, loaded.card


def open_model(path: str | Path, vouched: Vouched = NOTHING) -> LoadedModel:
    """Load a Keras model after checking that the file can run no code but what the user answers for.

    The size of the file's tensors is bounded (`MAX_TENSOR_BYTES`), not what its config makes Keras allocate.

    Args:
        path: A whole model in HDF5 (`.h5`) or in Keras' zip format (`.keras`).
        vouched: What it may name besides stock Keras and larq.

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
            return _load_hdf5(path, vouched)
    with _private_copy(path, "model.keras") as copy, _reading(path):
        return _load_zip(copy, path, vouched)


def load_weights(model: Any, path: str | Path) -> None:
    """Fill a network that is built already with the weights of a file.

    Args:
        model: A `tf.keras.Model`.
        path: HDF5 of `save_weights` or of `save`, old or new (`.weights.h5`), or `.keras`. A config is not read.

    Raises:
        BopkitError: The file is missing or damaged, or its weights are those of another network.
    """
    import h5py

    path = Path(path)
    is_zip = container(path) == "zip"
    with contextlib.ExitStack() as stack:
        copy = stack.enter_context(_private_copy(path, "model.keras" if is_zip else "model.h5"))
        stack.enter_context(_reading(path))
        if is_zip:
            with zipfile.ZipFile(copy) as archive:
                _check_members(archive, path)
                copy = Path(archive.extract(_ZIP_WEIGHTS, copy.parent))
        checksum.check(path)
        hdf5_probe.probe(copy, path)
        with h5py.File(copy, "r") as file:
            _check_tensors(file, path)
            is_old = "layer_names" in file.attrs or "model_weights" in file
        if not is_old:  # Keras chooses its reader by the ending
            copy = copy.rename(copy.parent / _ZIP_WEIGHTS)
        try:
            model.load_weights(str(copy))
        except (ValueError, KeyError) as error:
            hint = "Check --architecture, --hparams-set, --hparams, --input-shape and --classes."
            what = f"{path} holds weights of another network: {first_line(error)[:200]}"
            raise BopkitError(what, hint) from error


def read_config(path: str | Path) -> dict[str, Any]:
    """The config of the model in a `.h5` or `.keras` file, neither checked nor built.

    Raises:
        BopkitError: The file is missing, damaged or holds no model config.
    """
    path = Path(path)
    with _reading(path):
        if container(path) == "hdf5":
            with _open_hdf5(path) as file:
                return _hdf5_config(file, path)
        with zipfile.ZipFile(path) as archive:
            return _zip_config(archive, path)


def read_card(path: str | Path) -> ModelCard | None:
    """The model card of a `.h5` file; None where it carries none, as every `.keras` file.

    Raises:
        BopkitError: The file is missing or damaged, or its card is.
    """
    path = Path(path)
    with _reading(path):
        if container(path) == "zip":
            return None
        with _open_hdf5(path) as file:
            return _hdf5_card(file, path)


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
    import h5py

    path = Path(path)
    if path.suffix != ".h5":
        raise UsageError(f"{path} does not end in .h5.", f"Try {path.with_suffix('.h5')}.")
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
        image = checksum.sealed(file.id.get_file_image())
    try:
        files.write_bytes(path, image)
    except OSError as error:
        hint = "Free some disk space or choose another place, and run it again; nothing was replaced."
        raise BopkitError(f"{path} cannot be written: {error.strerror or error}.", hint) from error


def parse_card(text: object, path: Path) -> ModelCard:
    """Read the card's JSON text as found in the file `path`.

    Raises:
        BopkitError: `text` is not a card.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode()
        if not isinstance(text, str) or len(text) > MAX_CONFIG_BYTES:
            raise ValueError(f"it is no JSON text of at most {MAX_CONFIG_BYTES} bytes")
        return ModelCard.from_json(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise BopkitError(f"The model card in {path} is damaged: {first_line(error)}.", _DAMAGED) from error


def container(path: Path) -> str:
    """`hdf5` or `zip`, by the first bytes of the file.

    Raises:
        BopkitError: There is no such file, it cannot be read, or it is neither.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(len(HDF5_MAGIC))
    except FileNotFoundError as error:
        is_name = str(path) in MODELS
        hint = f"`bopkit init {path} -o {path}.h5` makes that network, untrained." if is_name else "Check the path."
        raise BopkitError(f"{path} does not exist.", hint) from error
    except IsADirectoryError as error:
        raise BopkitError(f"{path} is a directory, not a model file.", "Give the .h5 or .keras file.") from error
    except OSError as error:
        raise BopkitError(f"{path} cannot be read: {error.strerror}.", "Check the file's permissions.") from error
    if start == HDF5_MAGIC:
        return "hdf5"
    if start.startswith(ZIP_MAGIC):
        return "zip"
    raise BopkitError(f"{path} is not a Keras model file.", "Give a whole model saved as .h5 or .keras.")


def _load_hdf5(path: Path, vouched: Vouched) -> LoadedModel:
    with _open_hdf5(path) as file:
        saved = _hdf5_config(file, path)
        check_config(saved, path, vouched)
        _check_tensors(file, path)
        card = _hdf5_card(file, path)
        config, notes = modernised(saved, vouched)
        with _with_config(file, config) if config != saved else contextlib.nullcontext(file) as current:
            # The open file, not its path: what was checked is what is loaded.
            keras = import_tensorflow().keras
            model = keras.models.load_model(current, compile=False, custom_objects=dict(vouched.objects))
    return LoadedModel(model, card, tuple(notes))


def _with_config(file: h5py.File, config: dict[str, Any]) -> h5py.File:
    """A copy in memory of a model's weights, with another config."""
    import h5py

    copy = h5py.File("model.h5", "w", driver="core", backing_store=False)
    file.copy("model_weights", copy)
    copy.attrs.update({key: file.attrs[key] for key in ("keras_version", "backend") if key in file.attrs})
    copy.attrs["model_config"] = json.dumps(config)
    return copy


@contextlib.contextmanager
def _private_copy(path: Path, name: str) -> Iterator[Path]:
    """Yield a copy in a folder of this user alone: Keras opens some files by name, and must load what was checked.

    Args:
        path: The file.
        name: Name of the copy; Keras chooses its reader by the ending.
    """
    with tempfile.TemporaryDirectory(prefix="bopkit-") as folder:
        copy = Path(folder, name)
        shutil.copyfile(path, copy)
        yield copy


def _load_zip(copy: Path, path: Path, vouched: Vouched) -> LoadedModel:
    """Check and load `copy`; errors speak of `path`."""
    import h5py

    with zipfile.ZipFile(copy) as archive:
        _check_members(archive, path)
        saved = _zip_config(archive, path)
        check_config(saved, path, vouched)
        weights = Path(archive.extract(_ZIP_WEIGHTS, copy.parent))  # also compares its CRC-32
        hdf5_probe.probe(weights, path)
        with h5py.File(weights, "r") as file:
            if _KERAS_2_12_WEIGHTS in file:
                hint = "Save it there as `model.h5`, or as `model.keras` without `save_format`."
                raise BopkitError(f"{path} has the layout of TensorFlow 2.12's trial of the format.", hint)
            _check_tensors(file, path)
        weights.unlink()
        config, notes = modernised(saved, vouched)
        if config != saved:
            copy = _zip_with_config(archive, config, copy.with_name("today.keras"))
    keras = import_tensorflow().keras
    model = keras.models.load_model(str(copy), compile=False, safe_mode=True, custom_objects=dict(vouched.objects))
    return LoadedModel(model, None, tuple(notes))


def _zip_with_config(archive: zipfile.ZipFile, config: dict[str, Any], path: Path) -> Path:
    """Write the archive to `path` with another config."""
    with zipfile.ZipFile(path, "w") as target:
        for name in archive.namelist():
            with archive.open(name) as source, target.open(name, "w", force_zip64=True) as member:
                if name == _ZIP_CONFIG:
                    member.write(json.dumps(config).encode())
                else:
                    shutil.copyfileobj(source, member)
    return path


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
        reason = f"{type(error).__name__}: {first_line(error)[:200]}"
        raise BopkitError(f"{path} does not load: {reason}.", _DAMAGED) from error


def _open_hdf5(path: Path) -> h5py.File:
    """Open a file that a process which read it all has shown to be safe to read."""
    import h5py

    checksum.check(path)
    hdf5_probe.probe(path)  # also behind a right checksum, which anyone can write
    return h5py.File(path, "r")


def _hdf5_config(file: h5py.File, path: Path) -> dict[str, Any]:
    text = file.attrs.get("model_config")
    if text is None:
        hint = "Name the network that they belong to: `bopkit export FILE --architecture NAME`."
        raise BopkitError(f"{path} holds no model, at most its weights.", hint)
    _refuse_keras_3(file.attrs.get("keras_version"), path)
    return _decoded(text, path)


def _hdf5_card(file: h5py.File, path: Path) -> ModelCard | None:
    text = file.attrs.get(CARD_ATTRIBUTE)
    return None if text is None else parse_card(text, path)


def _zip_config(archive: zipfile.ZipFile, path: Path) -> dict[str, Any]:
    if _ZIP_CONFIG not in archive.namelist():
        raise BopkitError(f"{path} is a zip file without a model's {_ZIP_CONFIG}.", "Give a .keras file.")
    if "metadata.json" in archive.namelist():
        _refuse_keras_3(_decoded(_member(archive, "metadata.json"), path).get("keras_version"), path)
    config = _decoded(_member(archive, _ZIP_CONFIG), path)
    config.pop("compile_config", None)  # Keras drops it unread, as we load with compile=False
    return config


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    """A text member of the archive, unpacked to just beyond the limit whatever its header claims."""
    with archive.open(name) as member:
        return member.read(MAX_CONFIG_BYTES + 1)


def _decoded(text: str | bytes, path: Path) -> dict[str, Any]:
    if len(text) > MAX_CONFIG_BYTES:
        raise BopkitError(f"{path} is refused: its config is larger than {MAX_CONFIG_BYTES} bytes.", _DAMAGED)
    config = json.loads(text)
    if not isinstance(config, dict):
        raise ValueError("the config is not a JSON object")
    return config


def _refuse_keras_3(version: object, path: Path) -> None:
    text = version.decode(errors="replace") if isinstance(version, bytes) else str(version)
    if text.startswith("3."):
        hint = "Build it under TF_USE_LEGACY_KERAS=1, load its weights, and save it again."
        raise BopkitError(f"{path} was saved by Keras 3, and larq needs Keras 2.", hint)


def _check_members(archive: zipfile.ZipFile, path: Path) -> None:
    """Refuse archives with more than a model in them: Keras would unpack all of it to disk."""
    names = archive.namelist()
    foreign = sorted(set(names) - _ZIP_MEMBERS)
    if foreign or len(names) != len(set(names)):
        raise BopkitError(f"{path} is refused: it holds more than a model ({(foreign or names)[0]!r}).", _DAMAGED)
    if _ZIP_WEIGHTS not in names:
        raise BopkitError(f"{path} holds no {_ZIP_WEIGHTS}.", "Save it again with `model.save('model.keras')`.")
    if archive.getinfo(_ZIP_WEIGHTS).file_size > MAX_TENSOR_BYTES:
        raise BopkitError(f"{path} is refused: its weights unpack to more than {MAX_TENSOR_BYTES} bytes.", _DAMAGED)


def _check_tensors(file: h5py.File, path: Path) -> None:
    """Refuse what leads to other files, and tensors that unpack to more than memory should hold."""
    import h5py

    total_bytes = 0

    def check(name: str, item: Any) -> None:
        nonlocal total_bytes
        if isinstance(item, h5py.Dataset):
            total_bytes += item.nbytes
            if item.dtype.kind not in "fiub":  # the probe has read numbers only
                raise BopkitError(f"{path} is refused: tensor {name!r} holds no numbers.", _DAMAGED)
            if item.external or item.is_virtual:
                raise BopkitError(f"{path} is refused: tensor {name!r} lies in another file.", _DAMAGED)
        elif isinstance(item, h5py.Group):
            for key in item:
                if not isinstance(item.get(key, getlink=True), h5py.HardLink):
                    raise BopkitError(f"{path} is refused: {key!r} in {name!r} is a link.", _DAMAGED)

    check("/", file)
    file.visititems(check)
    if total_bytes > MAX_TENSOR_BYTES:
        raise BopkitError(f"{path} is refused: its tensors take {total_bytes} bytes.", _DAMAGED)
