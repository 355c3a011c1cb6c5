"""What can be measured or served: a Keras file, a SavedModel directory or a flatbuffer; the card of each.

A file's kind is read from its contents, not from its name. Nothing here imports TensorFlow or runs a model.
"""

from __future__ import annotations

import struct
from pathlib import Path

import flatbuffers

from bopkit import model_file
from bopkit.card import CARD_ATTRIBUTE, ModelCard
from bopkit.errors import BopkitError

SAVED_MODEL_CARD = "assets.extra/bopkit_card.json"
"""Where a SavedModel's version directory keeps the card; TensorFlow Serving ignores it there."""

TFLITE_IDENTIFIER = b"TFL3"
"""Bytes 4 to 7 of every `.tflite` file."""

_SCHEMA_VERSION = 3
_MODEL_FIELDS = 8
# Fields of the tables in TensorFlow Lite's schema (schema.fbs), by position.
_VERSION, _SUBGRAPHS, _BUFFERS, _METADATA = 0, 2, 4, 6
_METADATA_NAME, _METADATA_BUFFER = 0, 1
_BUFFER_DATA = 0
_BUFFER_ALIGNMENT = 16


def kind(path: str | Path) -> str:
    """What an artifact is, by its contents.

    Args:
        path: A file, a SavedModel directory, or a directory of numbered SavedModel versions.

    Returns:
        `keras`, `savedmodel` or `tflite`.

    Raises:
        BopkitError: There is no such artifact, it is damaged, or it is none of the three.
    """
    path = Path(path)
    if path.is_dir():
        _version_directory(path)
        return "savedmodel"
    if _is_tflite(path):
        _Flatbuffer(path.read_bytes(), path)
        return "tflite"
    model_file.read_config(path)
    return "keras"


def resolve(path: str | Path) -> Path:
    """The path to load: the newest version directory of a SavedModel, any file as it is.

    Raises:
        BopkitError: A directory that holds no SavedModel.
    """
    path = Path(path)
    return _version_directory(path) if path.is_dir() else path


def read_card(path: str | Path) -> ModelCard | None:
    """The model card of an artifact of any kind; None where it carries none.

    Raises:
        BopkitError: There is no such artifact, or it or its card is damaged.
    """
    path = Path(path)
    if path.is_dir():
        card = _version_directory(path) / SAVED_MODEL_CARD
        return model_file.parse_card(card.read_bytes(), card) if card.is_file() else None
    if _is_tflite(path):
        text = _Flatbuffer(path.read_bytes(), path).metadata(CARD_ATTRIBUTE)
        return None if text is None else model_file.parse_card(text, path)
    return model_file.read_card(path)


def embed_card(flatbuffer: bytes, card: ModelCard) -> bytes:
    """Put a card into a `.tflite` flatbuffer as metadata entry `CARD_ATTRIBUTE`, in place of an older one.

    The old flatbuffer becomes the tail of the new one, bit for bit, and a new root table in front points into
    it: repacking through the schema would lose the alignment of the weights.

    Args:
        flatbuffer: A TensorFlow Lite or LCE model.
        card: The card; its JSON is the entry's buffer.

    Returns:
        The new flatbuffer, longer by the card and the new tables.

    Raises:
        BopkitError: `flatbuffer` is damaged or no TensorFlow Lite model.
    """
    model = _Flatbuffer(flatbuffer, Path("the flatbuffer"))
    tail = flatbuffer + bytes(-len(flatbuffer) % _BUFFER_ALIGNMENT)
    builder = flatbuffers.Builder(len(tail) + 4096)
    builder.CreateByteVector(tail)

    def moved(position: int) -> int:  # the builder counts from the end
        return len(tail) - position

    text = card.to_json().encode()
    builder.Prep(_BUFFER_ALIGNMENT, len(text))  # for the card, and for the length of the whole
    data = builder.CreateByteVector(text)
    builder.StartObject(1)
    builder.PrependUOffsetTRelativeSlot(_BUFFER_DATA, data, 0)
    buffer = builder.EndObject()

    name = builder.CreateString(CARD_ATTRIBUTE)
    builder.StartObject(2)
    builder.PrependUOffsetTRelativeSlot(_METADATA_NAME, name, 0)
    builder.PrependUint32Slot(_METADATA_BUFFER, len(model.buffers), 0)
    entry = builder.EndObject()

    kept = [moved(position) for other, position, _ in model.entries if other != CARD_ATTRIBUTE]
    parts = {field: moved(position) for field, position in model.parts.items()}
    parts[_BUFFERS] = _vector(builder, [*map(moved, model.buffers), buffer])
    parts[_METADATA] = _vector(builder, [*kept, entry])

    builder.StartObject(_MODEL_FIELDS)
    builder.PrependUint32Slot(_VERSION, model.version, 0)
    for field, offset in parts.items():
        builder.PrependUOffsetTRelativeSlot(field, offset, 0)
    builder.Finish(builder.EndObject(), file_identifier=TFLITE_IDENTIFIER)
    return bytes(builder.Output())


def _vector(builder: flatbuffers.Builder, offsets: list[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


def _version_directory(path: Path) -> Path:
    """`path` itself where it is a SavedModel, else its highest numbered version."""
    if (path / "saved_model.pb").is_file():
        return path
    try:
        numbered = [each for each in path.iterdir() if each.name.isdecimal()]
    except OSError as error:
        raise BopkitError(f"{path} cannot be read: {error.strerror}.", "Check its permissions.") from error
    versions = [each for each in numbered if (each / "saved_model.pb").is_file()]
    if not versions:
        hint = "Give a directory made by `bopkit export --savedmodel`, or one of its version directories."
        raise BopkitError(f"{path} holds no SavedModel.", hint)
    return max(versions, key=lambda each: int(each.name))


def _is_tflite(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(8)[4:] == TFLITE_IDENTIFIER
    except OSError:
        return False  # the reader of Keras files says what is wrong with the path


class _Flatbuffer:
    """The tables of a `.tflite` file that bopkit needs, with every offset checked against the file's end.

    Attributes:
        version: Version of the schema.
        parts: Position in the file of every part of the model, by field.
        buffers: Positions of the tables that hold the weights.
        entries: Name, position and number of the buffer of every metadata entry.
    """

    def __init__(self, data: bytes, path: Path):
        self._data = data
        try:
            if data[4:8] != TFLITE_IDENTIFIER:
                raise ValueError("it does not begin like one")
            self._read_model(self._target(0))
        except ValueError as error:
            hint = "The file is damaged or cut short: copy it again, or export it again."
            raise BopkitError(f"{path} is no whole TensorFlow Lite model: {error}.", hint) from error

    def _read_model(self, root: int) -> None:
        version = self._field(root, _VERSION)
        self.version = self._read("<I", version) if version else 0
        if self.version != _SCHEMA_VERSION:
            raise ValueError(f"its schema version is {self.version}")
        fields = {field: self._field(root, field) for field in range(_VERSION + 1, _MODEL_FIELDS)}
        self.parts = {field: self._target(position) for field, position in fields.items() if position}
        self.buffers = self._tables(_BUFFERS)
        for buffer in self.buffers:
            self._span(buffer, _BUFFER_DATA)
        self.entries = [self._entry(table) for table in self._tables(_METADATA)]
        if not self._tables(_SUBGRAPHS):
            raise ValueError("it holds no subgraph")

    def metadata(self, name: str) -> bytes | None:
        """The data of the metadata entry of that name; None where there is none."""
        for other, _, index in self.entries:
            if other == name:
                return self._bytes(self.buffers[index], _BUFFER_DATA)
        return None

    def _entry(self, table: int) -> tuple[str, int, int]:
        field = self._field(table, _METADATA_BUFFER)
        index = self._read("<I", field) if field else 0
        if index >= len(self.buffers):
            raise ValueError("its metadata names a buffer that it does not have")
        return self._bytes(table, _METADATA_NAME).decode(), table, index

    def _read(self, layout: str, position: int) -> int:
        if not 0 <= position <= len(self._data) - struct.calcsize(layout):
            raise ValueError("it points outside of itself")
        return struct.unpack_from(layout, self._data, position)[0]

    def _target(self, position: int) -> int:
        """Where the offset at `position` leads."""
        return position + self._read("<I", position)

    def _field(self, table: int, field: int) -> int:
        """Position of a field of the table; 0 where the table has none, so that its default holds."""
        vtable = table - self._read("<i", table)
        slot = 4 + 2 * field  # two sizes of 16 bits come first
        offset = self._read("<H", vtable + slot) if slot < self._read("<H", vtable) else 0
        return table + offset if offset else 0

    def _tables(self, part: int) -> list[int]:
        """Positions of the tables in a vector of the model."""
        if part not in self.parts:
            return []
        vector = self.parts[part]
        count = self._read("<I", vector)
        if vector + 4 + 4 * count > len(self._data):
            raise ValueError("it ends too early")
        return [self._target(vector + 4 + 4 * index) for index in range(count)]

    def _bytes(self, table: int, field: int) -> bytes:
        """The bytes of a string or of a vector of bytes; empty where the table has none."""
        return self._data[self._span(table, field)]

    def _span(self, table: int, field: int) -> slice:
        """Where those bytes are."""
        position = self._field(table, field)
        if not position:
            return slice(0, 0)
        start = self._target(position) + 4
        end = start + self._read("<I", start - 4)
        if end > len(self._data):
            raise ValueError("it ends too early")
        return slice(start, end)
