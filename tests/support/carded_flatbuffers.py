"""Flatbuffers that carry a model card and a checksum, as exported ones do."""

from __future__ import annotations

from bopkit.artifacts import checksum
from bopkit.artifacts.card import ModelCard
from bopkit.artifacts.tflite_metadata import card_entry, embed_metadata


def embed_card(flatbuffer: bytes, card: ModelCard) -> bytes:
    """The flatbuffer with a card and a checksum, in place of older ones."""
    return embed_metadata(flatbuffer, card_entry(card) | {checksum.ENTRY: checksum.BLANK})
