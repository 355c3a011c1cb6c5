"""SavedModel directories: the protocol buffers are read, no graph is loaded.

The packed kernels of bopkit's exports are resources: a function that creates a variable of the kernel's shape, and
one that unpacks a constant of one bit a weight into it (`bopkit.export.unpacked_kernel`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bopkit.errors import BopkitError, first_line
from bopkit.export.inspection.contents import BinaryKernel, Contents, StoredLayer, tensor_text
from bopkit.keras2 import import_tensorflow

LEAST_CONSTANT_BYTES = 64
"""Smaller constants in a graph are sizes and axes, not weights."""


def read(path: Path) -> Contents:
    """Read a version directory."""
    import_tensorflow()
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from tensorflow.core.protobuf import saved_model_pb2

    proto = saved_model_pb2.SavedModel()
    try:
        proto.ParseFromString((path / "saved_model.pb").read_bytes())
        if not proto.meta_graphs:
            raise ValueError("it holds no graph")
        return _read_graph(proto.meta_graphs[0], path)
    except (DecodeError, ValueError, KeyError, IndexError, RuntimeError) as error:
        raise BopkitError(
            f"{path} is no whole SavedModel: {first_line(error)}.", "Copy it again, or export it again."
        ) from error


def _read_graph(graph: Any, path: Path) -> Contents:
    packed = _packed_kernels(graph)
    variables = [node.variable for node in graph.object_graph_def.nodes if node.WhichOneof("kind") == "variable"]
    counted = {id(bits) for _, _, bits, _ in packed}
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
            size_bytes=len(bits.tensor_content) + scale_bytes,
            packed=True,
            reason="",
        )
        for name, shape, bits, scale_bytes in packed
    ]
    layers += [_variable(each) for each in variables]
    layers += [_constant(name, tensor) for name, tensor in _constants(graph) if id(tensor) not in counted]
    values = _checkpoint(path)
    signature = graph.signature_def.get("serving_default")
    notes = () if signature is not None else ("It has no signature serving_default.",)
    return Contents(
        kind="savedmodel",
        inputs=tuple(map(_text, sorted(signature.inputs.items()))) if signature is not None else (),
        outputs=tuple(map(_text, sorted(signature.outputs.items()))) if signature is not None else (),
        layers=tuple(layers),
        kernels=tuple(_unpacked(name, shape, bits) for name, shape, bits, _ in packed),
        floats=values,
        notes=notes,
    )


def _packed_kernels(graph: Any) -> list[tuple[str, tuple[int, ...], Any, int]]:
    """Name, shape, tensor of the bits, and bytes of the scales of each packed kernel."""
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
            kernels.append((name, shape, bits[0], sum(len(each.tensor_content) for each in scales)))
    return kernels


def _unpacked(name: str, shape: tuple[int, ...], bits: Any) -> BinaryKernel:
    """A set bit means a positive weight, and the weights follow the order of Keras."""
    positive = np.unpackbits(np.frombuffer(bits.tensor_content, np.uint8), count=int(np.prod(shape)))
    return BinaryKernel.of_values(name, np.where(positive, 1, -1).astype(np.int8).reshape(shape), packed=True)


def _variable(variable: Any) -> StoredLayer:
    shape = tuple(int(size.size) for size in variable.shape.dim)
    bits = 8 * _item_size(variable.dtype)
    weights = int(np.prod(shape))
    return _plain(variable.name, "variable", shape, bits, weights * bits // 8)


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
    tf = import_tensorflow()
    if not (path / "variables" / "variables.index").is_file():
        return {}
    try:
        reader = tf.train.load_checkpoint(str(path / "variables" / "variables"))
        types = reader.get_variable_to_dtype_map()
        return {
            name.removesuffix("/.ATTRIBUTES/VARIABLE_VALUE"): reader.get_tensor(name)
            for name, dtype in sorted(types.items())
            if dtype.is_floating
        }
    except (tf.errors.OpError, RuntimeError, UnicodeDecodeError) as error:
        raise ValueError(first_line(error)) from error


def _elements(tensor: Any) -> int:
    return int(np.prod([size.size for size in tensor.tensor_shape.dim]))


def _item_size(dtype: int) -> int:
    tf = import_tensorflow()
    return int(tf.as_dtype(dtype).size or 1)


def _float32() -> int:
    return int(import_tensorflow().float32.as_datatype_enum)


def _text(entry: tuple[str, Any]) -> str:
    name, info = entry
    sizes = (None if size.size < 0 else int(size.size) for size in info.tensor_shape.dim)
    return tensor_text(name, import_tensorflow().as_dtype(info.dtype).name, tuple(sizes))
