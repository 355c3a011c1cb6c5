"""Metadata entries of a `.tflite` file, the model card among them: put in without touching the rest of the file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import flatbuffers

from bopkit.artifacts import checksum
from bopkit.artifacts import tflite_schema as schema
from bopkit.artifacts.card import CARD_ATTRIBUTE, ModelCard
from bopkit.artifacts.tflite_file import TfliteFile

_BUFFER_ALIGNMENT = 16


def card_entry(card: ModelCard) -> dict[str, bytes]:
    """The metadata entry that holds a card."""
    return {CARD_ATTRIBUTE: card.to_json(sealed=True).encode()}


def embed_metadata(flatbuffer: bytes, entries: Mapping[str, bytes]) -> bytes:
    """Put metadata entries into a `.tflite` flatbuffer, in place of older ones of their names.

    The old flatbuffer becomes the tail of the new one, bit for bit, and a new root table in front points into
    it: repacking through the schema would lose the alignment of the weights. A checksum in it is renewed; the entry
    `checksum.ENTRY` with the content `checksum.BLANK` makes room for one.

    Raises:
        BopkitError: `flatbuffer` is damaged or no TensorFlow Lite model.
    """
    model = TfliteFile(flatbuffer, Path("the flatbuffer"))
    tail = flatbuffer + bytes(-len(flatbuffer) % _BUFFER_ALIGNMENT)
    builder = flatbuffers.Builder(len(tail) + 4096)
    builder.CreateByteVector(tail)

    def moved(position: int) -> int:  # the builder counts from the end
        return len(tail) - position

    buffers = [moved(position) for position in model.buffers]
    metadata = [moved(position) for other, position, _ in model.entries if other not in entries]
    for name, content in entries.items():
        metadata.append(_entry(builder, name, len(buffers)))
        buffers.append(_buffer(builder, content))
    parts = {field: moved(position) for field, position in model.parts.items()}
    parts[schema.BUFFERS] = vector(builder, buffers)
    parts[schema.METADATA] = vector(builder, metadata)

    builder.StartObject(schema.MODEL_FIELDS)
    builder.PrependUint32Slot(schema.VERSION, schema.SCHEMA_VERSION, 0)
    for field, offset in parts.items():
        builder.PrependUOffsetTRelativeSlot(field, offset, 0)
    builder.Finish(builder.EndObject(), file_identifier=schema.IDENTIFIER)
    extended = bytes(builder.Output())
    return extended if checksum.content_checksum(extended) is None else checksum.sealed(extended)


def _entry(builder: flatbuffers.Builder, name: str, buffer: int) -> int:
    """A metadata entry whose content is the buffer of that index."""
    entry_name = builder.CreateString(name)
    builder.StartObject(2)
    builder.PrependUOffsetTRelativeSlot(schema.METADATA_NAME, entry_name, 0)
    builder.PrependUint32Slot(schema.METADATA_BUFFER, buffer, 0)
    return builder.EndObject()


def _buffer(builder: flatbuffers.Builder, content: bytes) -> int:
    builder.Prep(_BUFFER_ALIGNMENT, len(content))  # for the content, and for the length of the whole
    data = builder.CreateByteVector(content)
    builder.StartObject(1)
    builder.PrependUOffsetTRelativeSlot(schema.BUFFER_DATA, data, 0)
    return builder.EndObject()


def vector(builder: flatbuffers.Builder, offsets: list[int]) -> int:
    """A vector of what the offsets lead to."""
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()
