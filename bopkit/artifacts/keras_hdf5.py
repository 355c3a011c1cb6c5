"""The parts of a Keras model in HDF5 (`.h5`): its config, its card and its tensors, read only after a probe.

Needs no TensorFlow.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bopkit.artifacts import checksum, hdf5_probe
from bopkit.artifacts.card import CARD_ATTRIBUTE, ModelCard, parse_card
from bopkit.artifacts.keras_config import decode_config, refuse_keras_3
from bopkit.artifacts.limits import DAMAGED, MAX_TENSOR_BYTES
from bopkit.errors import BopkitError

if TYPE_CHECKING:
    import h5py


def open_file(path: Path) -> h5py.File:
    """Open a file that a process which read it all has shown to be safe to read."""
    import h5py

    checksum.check(path)
    hdf5_probe.probe(path)  # also behind a right checksum, which anyone can write
    return h5py.File(path, "r")


def read_config(file: h5py.File, path: Path) -> dict[str, Any]:
    """The config of the model, not checked yet.

    Raises:
        BopkitError: There is none, or it is one of Keras 3.
    """
    text = file.attrs.get("model_config")
    if text is None:
        command = f"bopkit export {shlex.quote(str(path))} --architecture NAME"
        hint = f"Name the network that they belong to: `{command}`."
        raise BopkitError(f"{path} holds no model; it may hold weights.", hint)
    refuse_keras_3(file.attrs.get("keras_version"), path)
    return decode_config(text, path)


def read_card(file: h5py.File, path: Path) -> ModelCard | None:
    """The model card; None where there is none."""
    text = file.attrs.get(CARD_ATTRIBUTE)
    return None if text is None else parse_card(text, path)


def check_tensors(file: h5py.File, path: Path) -> None:
    """Refuse what leads to other files, and tensors that unpack to more than memory should hold."""
    import h5py

    total_bytes = 0

    def check(name: str, item: Any) -> None:
        nonlocal total_bytes
        if isinstance(item, h5py.Dataset):
            total_bytes += item.nbytes
            if item.dtype.kind not in "fiub":  # the probe has read numbers only
                raise BopkitError(f"{path} is refused: tensor {name!r} holds no numbers.", DAMAGED)
            if item.external or item.is_virtual:
                raise BopkitError(f"{path} is refused: tensor {name!r} is stored in another file.", DAMAGED)
        elif isinstance(item, h5py.Group):
            for key in item:
                if not isinstance(item.get(key, getlink=True), h5py.HardLink):
                    raise BopkitError(f"{path} is refused: {key!r} in {name!r} is a link.", DAMAGED)

    check("/", file)
    file.visititems(check)
    if total_bytes > MAX_TENSOR_BYTES:
        raise BopkitError(f"{path} is refused: its tensors take {total_bytes} bytes.", DAMAGED)


def with_config(file: h5py.File, config: dict[str, Any]) -> h5py.File:
    """A copy in memory of a model's weights, with another config."""
    import h5py

    copy = h5py.File("model.h5", "w", driver="core", backing_store=False)
    file.copy("model_weights", copy)
    copy.attrs.update({key: file.attrs[key] for key in ("keras_version", "backend") if key in file.attrs})
    copy.attrs["model_config"] = json.dumps(config)
    return copy
