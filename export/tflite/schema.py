"""An LCE flatbuffer that bopkit has just converted, through the schema of TensorFlow Lite. Needs LCE, which has it."""

from __future__ import annotations

import copy
from typing import Any

from bopkit.artifacts.tflite_schema import IDENTIFIER

BUFFER_ALIGNMENT = 16
"""Bytes: TensorFlow Lite aligns constants so, and its kernels may read them with aligned instructions."""


def parse(flatbuffer: bytes) -> Any:
    """The flatbuffer as an object of the TensorFlow Lite schema."""
    classes = schema()
    return classes.ModelT.InitFromObj(classes.Model.GetRootAsModel(flatbuffer, 0))


def with_outputs(model: Any, tensors: list[int]) -> bytes:
    """A flatbuffer whose outputs are the given tensors; `model` stays as it is."""
    altered = copy.copy(model)
    altered.subgraphs = [copy.copy(model.subgraphs[0])]
    altered.subgraphs[0].outputs = tensors
    altered.signatureDefs = []
    return serialise(altered)


def serialise(model: Any) -> bytes:
    """The content of a `.tflite` file for a parsed model, with the constants aligned as runtimes expect."""
    import flatbuffers

    packed = copy.copy(model)
    packed.buffers = [_AlignedBuffer(each) for each in model.buffers]
    size = sum(len(each.data) for each in model.buffers if each.data is not None)
    builder = flatbuffers.Builder(size + 65_536)
    builder.Finish(packed.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


class _AlignedBuffer:
    """A buffer of the schema whose data begins at a multiple of `BUFFER_ALIGNMENT`; the schema's own may not."""

    def __init__(self, buffer: Any):
        self._buffer = buffer

    def Pack(self, builder: Any) -> int:  # noqa: N802  the name that the schema's classes have
        """Write the buffer; its offset."""
        if self._buffer.data is not None:
            builder.Prep(BUFFER_ALIGNMENT, len(self._buffer.data))
        return self._buffer.Pack(builder)


def builtin_name(model: Any, operator_code_index: int) -> str:
    """Name of a stock operator in the schema, e.g. `CONV_2D`; `CUSTOM` for any other."""
    code = model.operatorCodes[operator_code_index]
    number = max(code.builtinCode, code.deprecatedBuiltinCode)  # files of old converters have the second alone
    return next(name for name, value in vars(schema().BuiltinOperator).items() if value == number)


def signature_tensors(model: Any) -> tuple[dict[str, int], dict[str, int]]:
    """The tensors of all inputs, and of all outputs, by their names in the only signature."""
    (signature,) = model.signatureDefs
    inputs, outputs = (
        {each.name.decode(): int(each.tensorIndex) for each in entries}
        for entries in (signature.inputs, signature.outputs)
    )
    return inputs, outputs


def schema() -> Any:
    """The classes and enumerations of TensorFlow Lite's schema."""
    from larq_compute_engine.mlir.python import tflite_schema

    return tflite_schema
