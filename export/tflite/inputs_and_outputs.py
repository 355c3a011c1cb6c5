"""Changes to the inputs and outputs of a parsed flatbuffer: their order, uint8 pixels, scores before the softmax."""

from __future__ import annotations

from typing import Any

from bopkit.export.network.signature import Signature
from bopkit.export.tflite.edit import add_tensor, new_operator
from bopkit.export.tflite.schema import builtin_name, schema, signature_tensors


def order_by_signature(model: Any, signature: Signature) -> None:
    """Put the inputs and outputs of the graph into the order of the network's signature.

    The converter has an order of its own, and interpreters and metadata know them by their places. It numbers the
    tensors of several outputs in that order: they get their names, for those who look at tensors alone.
    """
    (graph,) = model.subgraphs
    input_tensors, output_tensors = signature_tensors(model)
    graph.inputs = [input_tensors[each.name] for each in signature.inputs]
    graph.outputs = [output_tensors[each.name] for each in signature.outputs]
    if len(signature.outputs) > 1:
        for each in signature.outputs:
            graph.tensors[output_tensors[each.name]].name = each.name.encode()


def take_pixels(model: Any) -> None:
    """Make the input uint8 instead of float32; the numbers stay the same."""
    classes = schema()
    (graph,) = model.subgraphs
    (floats,) = graph.inputs
    tensor = graph.tensors[floats]
    pixels = add_tensor(model, tensor.name.decode(), tuple(int(size) for size in tensor.shape), "UINT8")
    tensor.name += b"_float"
    cast = new_operator(model, "CAST", 1, [pixels], [int(floats)])
    cast.builtinOptionsType = classes.BuiltinOptions.CastOptions
    cast.builtinOptions = classes.CastOptionsT()
    types = classes.TensorType
    cast.builtinOptions.inDataType, cast.builtinOptions.outDataType = types.UINT8, types.FLOAT32
    graph.operators.insert(0, cast)
    graph.inputs = [pixels]
    for signature in model.signatureDefs or []:
        signature.inputs[0].tensorIndex = pixels


def remove_softmax(model: Any, name: str) -> bool:
    """Let the graph answer what enters its last softmax, under another name; whether there was one."""
    (graph,) = model.subgraphs
    last = graph.operators[-1]
    if builtin_name(model, last.opcodeIndex) != "SOFTMAX" or list(last.outputs) != list(graph.outputs):
        return False
    graph.operators.pop()
    graph.outputs = [int(last.inputs[0])]
    for signature in model.signatureDefs or []:
        signature.outputs[0].name, signature.outputs[0].tensorIndex = name.encode(), graph.outputs[0]
    return True
