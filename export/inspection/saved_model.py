"""SavedModel directories: the protocol buffers are read, no graph is loaded.

One that Keras wrote has a config beside the graph, which tells layers and quantizers; any other has variables.

The packed kernels of bopkit's exports are resources: a function that creates a variable of the kernel's shape, and
one that unpacks a constant of one bit a weight into it (`bopkit.export.serving.unpacked_kernel`).
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from bopkit.artifacts.custom_code import CustomCode
from bopkit.counting import is_binary
from bopkit.errors import BopkitError, first_line
from bopkit.export.inspection import keras
from bopkit.export.inspection.contents import BinaryKernel, Contents, StoredLayer, tensor_text
from bopkit.export.sources.keras_saved_model import NoConfigError, load_from_config
from bopkit.keras2 import import_tensorflow

LEAST_CONSTANT_BYTES = 64
"""Smaller constants in a graph are sizes and axes, not weights."""

_OBJECTS = "_CHECKPOINTABLE_OBJECT_GRAPH"
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"

_TRAINING = ("optimizer", "keras_api")
"""Attributes of a Keras network that hold what training alone needs; its layers are attributes of their own."""


def read(path: Path, custom_code: CustomCode) -> Contents:
    """Read a version directory."""
    tf = import_tensorflow()
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from tensorflow.core.protobuf import saved_model_pb2

    proto = saved_model_pb2.SavedModel()
    try:
        proto.ParseFromString((path / "saved_model.pb").read_bytes())
        if not proto.meta_graphs:
            raise ValueError("it holds no graph")
        return _read_graph(proto.meta_graphs[0], path, custom_code)
    except (DecodeError, tf.errors.OpError, ValueError, KeyError, IndexError, RuntimeError) as error:
        raise BopkitError(
            f"{path} is not a complete SavedModel: {first_line(error)}.", "Copy it again, or save it again."
        ) from error


def _read_graph(graph: Any, path: Path, custom_code: CustomCode) -> Contents:
    signature = graph.signature_def.get("serving_default")
    notes = () if signature is not None else ("It has no signature serving_default.",)
    try:
        contents = keras.describe(load_from_config(path, custom_code).model)
    except NoConfigError:
        contents = _of_variables(graph, path)
    except BopkitError as refused:
        notes = (*notes, f"{refused} Without that, only kernels that are binary in the file itself count as binary.")
        contents = _of_variables(graph, path)
    return dataclasses.replace(
        contents,
        kind="savedmodel",
        inputs=_entry_texts(signature.inputs) if signature is not None else (),
        outputs=_entry_texts(signature.outputs) if signature is not None else (),
        notes=notes,
    )


def _of_variables(graph: Any, path: Path) -> Contents:
    """The variables and large constants of a graph."""
    packed = _packed_kernels(graph)
    variables = _variables(graph, path)
    stored = _checkpoint(path)
    if variables and _reader(path) is None:
        raise ValueError(f"it has {len(variables)} variables, and their values are not in variables/")
    values = {key: stored[key] for key, _ in variables if key in stored}
    binary = {key: values[key] for key, _ in variables if key in values and _is_binary(values[key])}
    packed_bits = {id(bits) for _, _, bits, _ in packed}
    scales_of_packed = {id(each) for _, _, _, scales in packed for each in scales}
    layers = [
        StoredLayer(
            name=name,
            type="packed kernel",
            shape=shape,
            input_bits=None,
            value_bits=1,
            stored_bits=1,
            weights=int(np.prod(shape)),
            binary_weights=int(np.prod(shape)),
            size_bytes=sum(len(each.tensor_content) for each in (bits, *scales)),
            packed=True,
            reason="",
        )
        for name, shape, bits, scales in packed
    ]
    layers += [_variable(each, key in binary) for key, each in variables]
    constants = [(name, tensor) for name, tensor in _constants(graph) if id(tensor) not in packed_bits]
    layers += [_constant(name, tensor) for name, tensor in constants if id(tensor) not in scales_of_packed]
    # Sorted, as their names and order are those of the functions, which change with every export.
    octets = b"".join(sorted(tensor.tensor_content for _, tensor in constants))
    return Contents(
        kind="savedmodel",
        inputs=(),
        outputs=(),
        layers=tuple(layers),
        kernels=(
            *(_unpacked(name, shape, bits) for name, shape, bits, _ in packed),
            *(BinaryKernel.of_values(each.name, binary[key]) for key, each in variables if key in binary),
        ),
        others={**values, "constants of the graph": np.frombuffer(octets, np.uint8)},
    )


def _packed_kernels(graph: Any) -> list[tuple[str, tuple[int, ...], Any, list[Any]]]:
    """Name, shape, tensor of the bits, and those of the scales of each packed kernel."""
    nodes = graph.object_graph_def.nodes
    functions = {each.signature.name: each for each in graph.graph_def.library.function}
    constants = {node.name: node.attr["value"].tensor for node in graph.graph_def.node if node.op == "Const"}
    kernels = []
    for node in nodes:
        if node.WhichOneof("kind") != "resource":
            continue
        children = {child.local_name: nodes[child.node_id] for child in node.children}
        if not {"_create_resource", "_initialize"} <= children.keys():
            continue
        (creator,) = children["_create_resource"].function.concrete_functions
        (initializer,) = children["_initialize"].function.concrete_functions
        handles = [each for each in functions[creator].node_def if each.op == "VarHandleOp"]
        bound = graph.object_graph_def.concrete_functions[initializer].bound_inputs
        captured = [constants.get(nodes[index].constant.operation) for index in bound]
        inner = [each.attr["value"].tensor for each in functions[initializer].node_def if each.op == "Const"]
        if not handles:
            continue
        shape = tuple(int(size.size) for size in handles[0].attr["shape"].shape.dim)
        size_bytes = -(-int(np.prod(shape)) // 8)
        bits = [each for each in captured + inner if each is not None and len(each.tensor_content) == size_bytes]
        if bits:
            scales = [each for each in inner if each.dtype == _float32() and _elements(each) == shape[-1]]
            name = handles[0].attr["shared_name"].s.decode(errors="replace")
            kernels.append((name, shape, bits[0], scales))
    return kernels


def _unpacked(name: str, shape: tuple[int, ...], bits: Any) -> BinaryKernel:
    """A set bit means a positive weight, and the weights follow the order of Keras."""
    positive = np.unpackbits(np.frombuffer(bits.tensor_content, np.uint8), count=int(np.prod(shape)))
    return BinaryKernel.of_values(name, np.where(positive, 1, -1).astype(np.int8).reshape(shape), packed=True)


def _variable(variable: Any, binary: bool) -> StoredLayer:
    shape = tuple(int(size.size) for size in variable.shape.dim)
    bits = 8 * _item_size(variable.dtype)
    weights = int(np.prod(shape))
    layer = _plain(variable.name, "variable", shape, bits, weights * bits // 8)
    if not binary:
        return layer
    reason = f"binary values, stored unpacked at {bits} bits each"
    return dataclasses.replace(layer, value_bits=1, binary_weights=weights, reason=reason)


def _is_binary(values: np.ndarray) -> bool:
    """Whether it is a kernel of +-scale; a vector is none, though each of its values is one scale."""
    return values.ndim > 1 and values.size > values.shape[-1] and is_binary(values)


def _variables(graph: Any, path: Path) -> list[tuple[str, Any]]:
    """The variables of the network with their names in the checkpoint; empty for one that it does not have.

    Names of variables can repeat: the object graph of the file and that of the checkpoint are walked side by side.
    """
    nodes, stored = graph.object_graph_def.nodes, _object_graph(path)
    partners: dict[int, int | None] = {0: 0 if stored else None}
    todo = [0] if nodes else []
    while todo:
        number = todo.pop()
        partner = partners[number]
        children = {} if partner is None else {each.local_name: each.node_id for each in stored[partner].children}
        for child in nodes[number].children:
            is_new = child.node_id not in partners
            is_better = partners.get(child.node_id) is None and child.local_name in children
            if (is_new or is_better) and not (number == 0 and child.local_name in _TRAINING):
                partners[child.node_id] = children.get(child.local_name)
                todo.append(child.node_id)
    variables = []
    for number, node in enumerate(nodes):
        if node.WhichOneof("kind") == "variable" and number in partners:
            partner = partners[number]
            attributes = () if partner is None else stored[partner].attributes
            keys = [each.checkpoint_key for each in attributes if each.name == "VARIABLE_VALUE"]
            variables.append((keys[0].removesuffix(_VALUE) if keys else "", node.variable))
    return variables


def _object_graph(path: Path) -> Any:
    """Nodes of the objects whose values are in the checkpoint; empty without one."""
    reader = _reader(path)
    if reader is None or not reader.has_tensor(_OBJECTS):
        return ()
    from tensorflow.core.protobuf import trackable_object_graph_pb2

    return trackable_object_graph_pb2.TrackableObjectGraph.FromString(reader.get_tensor(_OBJECTS)).nodes


def _constant(name: str, tensor: Any) -> StoredLayer:
    shape = tuple(int(size.size) for size in tensor.tensor_shape.dim)
    return _plain(name, "constant", shape, 8 * _item_size(tensor.dtype), len(tensor.tensor_content))


def _plain(name: str, kind: str, shape: tuple[int, ...], bits: int, size_bytes: int) -> StoredLayer:
    return StoredLayer(
        name=name,
        type=kind,
        shape=shape,
        input_bits=None,
        value_bits=bits,
        stored_bits=bits,
        weights=int(np.prod(shape)),
        binary_weights=0,
        size_bytes=size_bytes,
        packed=False,
        reason="real weights",
    )


def _constants(graph: Any) -> list[tuple[str, Any]]:
    """Numeric constants of the graph and of its functions that are large enough to be weights."""
    nodes = list(graph.graph_def.node)
    for function in graph.graph_def.library.function:
        nodes += function.node_def
    tensors = [(node.name, node.attr["value"].tensor) for node in nodes if node.op == "Const"]
    return [(name, tensor) for name, tensor in tensors if len(tensor.tensor_content) >= LEAST_CONSTANT_BYTES]


def _checkpoint(path: Path) -> dict[str, np.ndarray]:
    """Values of the variables by their names in the checkpoint, floats only."""
    reader = _reader(path)
    if reader is None:
        return {}
    types = reader.get_variable_to_dtype_map()
    return {
        name.removesuffix(_VALUE): reader.get_tensor(name) for name, dtype in sorted(types.items()) if dtype.is_floating
    }


def _reader(path: Path) -> Any:
    """Of the checkpoint; None where there is none."""
    tf = import_tensorflow()
    if not (path / "variables" / "variables.index").is_file():
        return None
    return tf.train.load_checkpoint(str(path / "variables" / "variables"))


def _elements(tensor: Any) -> int:
    return int(np.prod([size.size for size in tensor.tensor_shape.dim]))


def _item_size(dtype: int) -> int:
    tf = import_tensorflow()
    return int(tf.as_dtype(dtype).size or 1)


def _float32() -> int:
    return int(import_tensorflow().float32.as_datatype_enum)


def _entry_texts(entries: Any) -> tuple[str, ...]:
    """Inputs or outputs of a signature for a person, by name."""
    tf = import_tensorflow()
    texts = []
    for name, info in sorted(entries.items()):
        sizes = (None if size.size < 0 else int(size.size) for size in info.tensor_shape.dim)
        texts.append(tensor_text(name, tf.as_dtype(info.dtype).name, tuple(sizes)))
    return tuple(texts)
