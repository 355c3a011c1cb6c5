"""TensorFlow checkpoints: what `save_weights(..., save_format="tf")` and `tf.train.Checkpoint` write.

A checkpoint is a prefix: `ckpt/model` stands for `ckpt/model.index`, `ckpt/model.data-00000-of-00001` and so on. It
holds variables and how they hang together, not the network. Its weights are matched along that graph of objects, as
Keras does, and copied as numbers. Nothing is made from what the file names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bopkit.artifacts.hdf5_probe import BYTES_PER_S, TIMEOUT_S
from bopkit.artifacts.limits import MAX_TENSOR_BYTES
from bopkit.errors import BopkitError, first_line
from bopkit.isolation import Child
from bopkit.keras2 import import_tensorflow

Model = Any  # TensorFlow is imported inside the functions

_DATA = re.compile(r"\.data-\d{5}-of-\d{5}$")
_STATE_FILE = "checkpoint"
_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_VARIABLE = "/.ATTRIBUTES/VARIABLE_VALUE"
_ROOTS = ("model", "network", "net")
"""What a network is usually called in a `tf.train.Checkpoint(model=model, optimizer=optimizer)`."""

_NO_WEIGHTS = frozenset(
    {"optimizer", "save_counter", "keras_api", "metrics", "_metrics", "_custom_metrics", "_flip_ratio"}
)
"""Parts of a key of what training keeps beside the weights."""

_COPY_AGAIN = "Copy it again, its .index and all its .data files, or save it again."
_CHECK_NETWORK = "Check --architecture, --hparams-set, --hparams, --input-shape and --classes."


def prefix_of(path: Path) -> Path | None:
    """The prefix of the checkpoint that a path stands for; None where it stands for none.

    Args:
        path: A prefix, one of its files, the file `checkpoint` beside it, or the folder of that.

    Raises:
        BopkitError: A folder or its file `checkpoint` does not say which of its checkpoints is meant.
    """
    if path.is_dir():
        return _newest_in(path)
    if not path.exists():
        return path if is_prefix(path) else None
    if path.name == _STATE_FILE and path.read_bytes()[:64].lstrip().startswith(b"model_checkpoint_path"):
        return _newest_in(path.parent)
    name = _DATA.sub("", path.name.removesuffix(".index"))
    prefix = path.with_name(name)
    return prefix if name and name != path.name and is_prefix(prefix) else None


def is_prefix(path: Path) -> bool:
    """Whether a path is the prefix of a checkpoint, and no file itself."""
    return not path.exists() and path.with_name(f"{path.name}.index").is_file()


def files_of(prefix: Path) -> list[Path]:
    """The files of a checkpoint, its index first."""
    shards = (each for each in prefix.parent.iterdir() if each.name.startswith(prefix.name))
    return [
        prefix.with_name(f"{prefix.name}.index"),
        *sorted(each for each in shards if _DATA.fullmatch(each.name[len(prefix.name) :])),
    ]


def load_weights(model: Model, prefix: Path) -> None:
    """Fill a network that is built with the weights of a checkpoint: with each of them, and all of its own.

    Args:
        model: A `tf.keras.Model`.
        prefix: The checkpoint.

    Raises:
        BopkitError: It is damaged, or its weights are those of another network.
    """
    with Child() as process:  # TensorFlow's reader is made for files of its own
        size = sum(each.stat().st_size for each in files_of(prefix))
        process.call(
            *("bopkit.artifacts.checkpoint:read_all", str(prefix)),
            subject=str(prefix),
            timeout_s=TIMEOUT_S + size / BYTES_PER_S,
        )
    tf = import_tensorflow()
    reader = tf.train.load_checkpoint(str(prefix))
    shapes = reader.get_variable_to_shape_map()
    matched, wrong = [], []
    for name, variable, key in _pairs(model, _graph(reader, shapes, prefix)):
        shape = shapes.get(key)
        if key is None or shape is None:
            wrong.append(f"{name} is not in the file")
        elif tuple(shape) != tuple(variable.shape):
            wrong.append(f"{name} has shape {tuple(variable.shape)} in the network and {tuple(shape)} in the file")
        else:
            matched.append((variable, key))
    used = {key for _, key in matched}
    if not wrong:
        wrong += [f"the network has no place for {key.removesuffix(_VARIABLE)}" for key in _weights(shapes, used)]
    if wrong:
        more = f" ({len(wrong) - 1} more differ)" if len(wrong) > 1 else ""
        raise BopkitError(f"{prefix} holds weights of another network: {wrong[0]}{more}.", _CHECK_NETWORK)
    for variable, key in matched:
        variable.assign(np.asarray(reader.get_tensor(key), variable.dtype.as_numpy_dtype))


def read_all(prefix: str) -> None:
    """Read all numbers of a checkpoint, and forget them: the child's side of `load_weights`."""
    tf = import_tensorflow()
    try:
        reader = tf.train.load_checkpoint(prefix)
        types, shapes = reader.get_variable_to_dtype_map(), reader.get_variable_to_shape_map()
        sizes = [types[key].size * int(np.prod(shape, dtype=object)) for key, shape in shapes.items()]
        if sum(sizes) > MAX_TENSOR_BYTES:
            raise BopkitError(f"{prefix} is refused: its tensors take {sum(sizes)} bytes.", _COPY_AGAIN)
        for key in shapes:
            reader.get_tensor(key)
    except BopkitError:
        raise
    except Exception as error:  # a damaged file can make TensorFlow raise anything
        raise BopkitError(f"{prefix} does not load: {first_line(error)[:200]}.", _COPY_AGAIN) from error


def _newest_in(folder: Path) -> Path | None:
    """The checkpoint that the file `checkpoint` of a folder names, or its only one; None where there is none."""
    state = folder / _STATE_FILE
    if state.is_file():
        found = re.search(r'^model_checkpoint_path:\s*"([^"\n]+)"', state.read_text(errors="replace"), re.MULTILINE)
        prefix = folder / Path(found[1]).name if found else None  # it may have been moved
        if prefix is not None and is_prefix(prefix):
            return prefix
    names = sorted(each.name.removesuffix(".index") for each in folder.glob("*.index"))
    prefixes = [folder / name for name in names if is_prefix(folder / name)]
    if len(prefixes) > 1:
        hint = f"Name one of them, for instance {prefixes[-1]}."
        raise BopkitError(f"{folder} holds {len(prefixes)} checkpoints, and does not say which is the newest.", hint)
    return prefixes[0] if prefixes else None


def _graph(reader: Any, shapes: dict[str, Any], prefix: Path) -> Any:
    """How the objects of a checkpoint hang together: nodes with named edges, the first of them the root."""
    from tensorflow.core.protobuf import trackable_object_graph_pb2

    if _GRAPH not in shapes:
        hint = "Load it in the program that wrote it, and save the network there with `model.save('model.h5')`."
        raise BopkitError(f"{prefix} is a checkpoint of TensorFlow 1, which names no layers.", hint)
    try:
        return trackable_object_graph_pb2.TrackableObjectGraph.FromString(reader.get_tensor(_GRAPH)).nodes
    except Exception as error:  # protobuf raises errors of its own
        raise BopkitError(f"{prefix} does not load: {first_line(error)[:200]}.", _COPY_AGAIN) from error


def _pairs(model: Model, nodes: Any) -> Iterator[tuple[str, Any, str | None]]:
    """Each weight of a network by its name, and the key of its value; None where a checkpoint has none."""
    tf = import_tensorflow()
    view = tf.train.TrackableView(model)
    found: dict[int, str | None] = {}
    waiting: list[tuple[Any, int]] = [(model, _root(nodes))]
    seen: set[int] = set()
    while waiting:
        trackable, at = waiting.pop()
        if id(trackable) in seen or not 0 <= at < len(nodes):
            continue
        seen.add(id(trackable))
        if isinstance(trackable, tf.Variable):
            keys = [each.checkpoint_key for each in nodes[at].attributes if each.checkpoint_key.endswith(_VARIABLE)]
            found[id(trackable)] = keys[0] if keys else None
            continue
        edges = {edge.local_name: edge.node_id for edge in nodes[at].children}
        # Keras numbers all layers, and those with weights by themselves: only these numbers tell what belongs together.
        children = {name: each for name, each in view.children(trackable).items() if not name.startswith("layer-")}
        waiting += [(each, edges[name]) for name, each in children.items() if name in edges]
    for variable in model.weights:
        yield variable.name.partition(":")[0], variable, found.get(id(variable))


def _root(nodes: Any) -> int:
    """The node of the network: the root, or what the root calls a model."""
    edges = {edge.local_name: edge.node_id for edge in nodes[0].children} if nodes else {}
    if any(name.startswith("layer") for name in edges):
        return 0
    return next((edges[name] for name in _ROOTS if name in edges), 0)


def _weights(shapes: dict[str, Any], used: set[str]) -> list[str]:
    """The keys of weights that are not used: what training keeps beside them counts as none."""
    outside = {key.partition("/")[0] for key in used}
    inside_root = next((root for root in _ROOTS if outside == {root}), None)
    return sorted(
        key
        for key in set(shapes) - used
        if key.endswith(_VARIABLE)
        and ".OPTIMIZER_SLOT" not in key
        and not _NO_WEIGHTS & set(key.split("/"))
        and (inside_root is None or key.startswith(f"{inside_root}/"))
    )
