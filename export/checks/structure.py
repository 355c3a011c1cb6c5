"""Whether a written file has the inputs and outputs of the network's signature."""

from __future__ import annotations

from typing import Any

from bopkit.export.network.signature import Signature
from bopkit.export.tflite import schema

TYPES = {"float32": 0, "uint8": 3}
"""Codes of the types in the TensorFlow Lite schema."""


def flatbuffer_structure(parsed: Any, signature: Signature, input_type: str = "float32") -> list[str]:
    """Check that a flatbuffer has the inputs and outputs of a signature, in its order, for one example at a time.

    Args:
        parsed: As `schema.parse` gives it.
        signature: Of the network.
        input_type: `float32` or `uint8`.
    """
    if len(parsed.subgraphs) != 1:
        return [f"the flatbuffer has {len(parsed.subgraphs)} graphs instead of one"]
    (graph,) = parsed.subgraphs
    failures = []
    for kind, indices, named, dtype, expected in zip(
        ("inputs", "outputs"),
        (graph.inputs, graph.outputs),
        schema.signature_tensors(parsed),
        (input_type, "float32"),
        (signature.inputs, signature.outputs),
        strict=True,
    ):
        tensors = [graph.tensors[index] for index in indices]
        found = [(tuple(int(size) for size in tensor.shape), tensor.type) for tensor in tensors]
        shapes = [(1, *each.shape) for each in expected]
        if found != [(shape, TYPES[dtype]) for shape in shapes]:
            failures.append(f"the flatbuffer's {kind} are {found} instead of {dtype} {shapes}")
        if named != {each.name: int(index) for each, index in zip(expected, indices, strict=False)}:
            failures.append(f"the flatbuffer's signature has {kind} {named} instead of those of the graph")
    return failures


def saved_model_structure(loaded: Any, signature: Signature) -> list[str]:
    """Check that `serving_default` has the inputs and outputs of a signature, for any number of examples.

    Args:
        loaded: What `tf.saved_model.load` returns.
        signature: Of the network.
    """
    serve = loaded.signatures["serving_default"]
    inputs = {name: tuple(spec.shape) for name, spec in serve.structured_input_signature[1].items()}
    outputs = {name: tuple(spec.shape) for name, spec in serve.structured_outputs.items()}
    failures = []
    if inputs != {each.name: (None, *each.shape) for each in signature.inputs}:
        failures.append(f"serving_default takes {inputs} instead of the network's inputs")
    if outputs != {each.name: (None, *each.shape) for each in signature.outputs}:
        failures.append(f"serving_default returns {outputs}")
    return failures
