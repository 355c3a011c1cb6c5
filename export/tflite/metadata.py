"""Standard metadata of a `.tflite` file: what Android's task libraries and viewers read of input, output and labels.

Written field by field, as TensorFlow Lite Support's `metadata_schema.fbs` numbers them: its own writer needs a protobuf
that TensorFlow 2.21 cannot live with. Labels are a file in a zip archive behind the flatbuffer, as the schema wants.
"""

from __future__ import annotations

import dataclasses
import io
import zipfile
from typing import Any

from bopkit.artifacts.tflite_metadata import vector
from bopkit.export.labels import LABELS_FILE, labels_text
from bopkit.export.network.signature import Signature, SignatureTensor

METADATA_NAME = "TFLITE_METADATA"
"""Metadata entry whose buffer holds the standard metadata."""


_IDENTIFIER = b"M001"

# Numbers of the fields of each table, of the members of each union and of the values of each enumeration.
_MODEL_NAME, _MODEL_DESCRIPTION, _MODEL_VERSION, _MODEL_SUBGRAPHS, _MODEL_FIELDS = 0, 1, 2, 3, 8
_SUBGRAPH_INPUTS, _SUBGRAPH_OUTPUTS, _SUBGRAPH_FIELDS = 2, 3, 10
_TENSOR_NAME, _TENSOR_DESCRIPTION, _TENSOR_CONTENT, _TENSOR_UNITS, _TENSOR_STATS, _TENSOR_FILES = 0, 1, 3, 4, 5, 6
_TENSOR_FIELDS = 7
_CONTENT_TYPE, _CONTENT_VALUE, _CONTENT_FIELDS = 0, 1, 3
_FEATURE_PROPERTIES, _IMAGE_PROPERTIES = 1, 2
_COLOR_SPACE, _DEFAULT_SIZE, _IMAGE_FIELDS = 0, 1, 2
_RGB, _GRAYSCALE = 1, 2
_UNIT_TYPE, _UNIT_VALUE, _UNIT_FIELDS = 0, 1, 2
_NORMALIZATION = 1
_MEAN, _STD, _NORMALIZATION_FIELDS = 0, 1, 2
_MAX, _MIN, _STATS_FIELDS = 0, 1, 2
_FILE_NAME, _FILE_DESCRIPTION, _FILE_TYPE, _FILE_FIELDS = 0, 1, 2, 5
_TENSOR_AXIS_LABELS = 2


@dataclasses.dataclass(frozen=True)
class Contract:
    """What a flatbuffer takes and answers.

    Attributes:
        name: Of the network.
        description: One line for a person.
        version: Of the program that wrote it.
        signature: Its inputs and outputs.
        value_range: Smallest and largest value of the inputs.
        mean: Pixel value, 0 to 255, that a channel maps to 0; one a channel; None where no preprocessing is known.
        std: Pixel values to a unit, one a channel; None where no preprocessing is known.
        labels: Class names in the order of the scores; empty where they are not known.
    """

    name: str
    description: str
    version: str
    signature: Signature
    value_range: tuple[float, float]
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    labels: tuple[str, ...]


def standard_metadata(contract: Contract) -> bytes:
    """The flatbuffer that belongs into metadata entry `METADATA_NAME`."""
    builder = _builder()
    subgraph = _table(
        builder,
        _SUBGRAPH_FIELDS,
        offsets={
            _SUBGRAPH_INPUTS: vector(builder, [_input(builder, contract, each) for each in contract.signature.inputs]),
            _SUBGRAPH_OUTPUTS: vector(
                builder, [_output(builder, contract, each) for each in contract.signature.outputs]
            ),
        },
    )
    model = _table(
        builder,
        _MODEL_FIELDS,
        offsets={
            _MODEL_NAME: builder.CreateString(contract.name),
            _MODEL_DESCRIPTION: builder.CreateString(contract.description),
            _MODEL_VERSION: builder.CreateString(contract.version),
            _MODEL_SUBGRAPHS: vector(builder, [subgraph]),
        },
    )
    builder.Finish(model, file_identifier=_IDENTIFIER)
    return bytes(builder.Output())


def with_labels(flatbuffer: bytes, labels: tuple[str, ...]) -> bytes:
    """A `.tflite` file with its labels in a zip archive behind it; runtimes read the flatbuffer in front only."""
    if not labels:
        return flatbuffer
    file = io.BytesIO(flatbuffer)
    with zipfile.ZipFile(file, "a") as archive:
        # A fixed date: the same export is the same file, bit for bit.
        archive.writestr(zipfile.ZipInfo(LABELS_FILE), labels_text(labels))
    return file.getvalue()


def _input(builder: Any, contract: Contract, tensor: SignatureTensor) -> int:
    if tensor.is_picture:
        height, width, channels = tensor.shape
        text = f"Picture, {height} x {width} pixels."
        content = _content(builder, _IMAGE_PROPERTIES, _image(builder, height, width, channels))
    else:
        channels, text = 1, _values_text(tensor)
        content = _content(builder, _FEATURE_PROPERTIES, _feature(builder))
    low, high = contract.value_range
    fields = {
        _TENSOR_NAME: builder.CreateString(tensor.name),
        _TENSOR_DESCRIPTION: builder.CreateString(text),
        _TENSOR_CONTENT: content,
        _TENSOR_STATS: _stats(builder, [high] * channels, [low] * channels),
    }
    if contract.mean is not None and contract.std is not None:
        fields[_TENSOR_UNITS] = vector(builder, [_normalization(builder, contract.mean, contract.std)])
    return _table(builder, _TENSOR_FIELDS, offsets=fields)


def _values_text(tensor: SignatureTensor) -> str:
    return f"Values, {' x '.join(map(str, tensor.shape)) or 'one'}."


def _feature(builder: Any) -> int:
    return _table(builder, 0, offsets={})


def _image(builder: Any, height: int, width: int, channels: int) -> int:
    builder.StartObject(2)
    builder.PrependUint32Slot(0, width, 0)
    builder.PrependUint32Slot(1, height, 0)
    size = builder.EndObject()
    color_space = {1: _GRAYSCALE, 3: _RGB}.get(channels, 0)
    return _table(builder, _IMAGE_FIELDS, offsets={_DEFAULT_SIZE: size}, bytes_={_COLOR_SPACE: color_space})


def _output(builder: Any, contract: Contract, tensor: SignatureTensor) -> int:
    text = "One score a class." if tensor.names_class else _values_text(tensor)
    fields = {
        _TENSOR_NAME: builder.CreateString(tensor.name),
        _TENSOR_DESCRIPTION: builder.CreateString(text),
        _TENSOR_CONTENT: _content(builder, _FEATURE_PROPERTIES, _feature(builder)),
    }
    if tensor.is_probabilities:
        fields[_TENSOR_STATS] = _stats(builder, [1.0], [0.0])
    if contract.labels:
        texts = {
            _FILE_NAME: builder.CreateString(LABELS_FILE),
            _FILE_DESCRIPTION: builder.CreateString("One class name a line."),
        }
        file = _table(builder, _FILE_FIELDS, offsets=texts, bytes_={_FILE_TYPE: _TENSOR_AXIS_LABELS})
        fields[_TENSOR_FILES] = vector(builder, [file])
    return _table(builder, _TENSOR_FIELDS, offsets=fields)


def _content(builder: Any, kind: int, properties: int) -> int:
    return _table(builder, _CONTENT_FIELDS, offsets={_CONTENT_VALUE: properties}, bytes_={_CONTENT_TYPE: kind})


def _normalization(builder: Any, mean: tuple[float, ...], std: tuple[float, ...]) -> int:
    vectors = {_MEAN: _floats(builder, mean), _STD: _floats(builder, std)}
    options = _table(builder, _NORMALIZATION_FIELDS, offsets=vectors)
    return _table(builder, _UNIT_FIELDS, offsets={_UNIT_VALUE: options}, bytes_={_UNIT_TYPE: _NORMALIZATION})


def _stats(builder: Any, largest: list[float], smallest: list[float]) -> int:
    vectors = {_MAX: _floats(builder, largest), _MIN: _floats(builder, smallest)}
    return _table(builder, _STATS_FIELDS, offsets=vectors)


def _table(builder: Any, fields: int, offsets: dict[int, int], bytes_: dict[int, int] | None = None) -> int:
    """A table of that many fields; what the offsets lead to is already written."""
    builder.StartObject(fields)
    for field, offset in offsets.items():
        builder.PrependUOffsetTRelativeSlot(field, offset, 0)
    for field, value in (bytes_ or {}).items():
        builder.PrependUint8Slot(field, value, 0)
    return builder.EndObject()


def _floats(builder: Any, values: tuple[float, ...] | list[float]) -> int:
    builder.StartVector(4, len(values), 4)
    for value in reversed(values):
        builder.PrependFloat32(value)
    return builder.EndVector()


def _builder() -> Any:
    import flatbuffers

    return flatbuffers.Builder(1024)
