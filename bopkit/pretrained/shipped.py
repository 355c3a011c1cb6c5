"""The trained networks that come with bopkit: one folder each in `shipped-networks`.

about.json     where the network comes from, how good it is, its weights, the checksums of all files
card.json      the model card
config.json    the config of the run that trained it
kernels.bin    the binary kernels, one bit a weight
floats.bin     all other weights, float32
model.tflite   the flatbuffer that `bopkit export` made of it
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np

from bopkit.artifacts import checksum
from bopkit.artifacts.card import ModelCard, parse_card
from bopkit.errors import BopkitError, unknown_name
from bopkit.pretrained.facts import PretrainedFacts
from bopkit.pretrained.packed_weights import unpack

ROOT = Path(__file__).parent / "shipped-networks"
"""Folder of the networks' folders. Not a name that Python could import: setuptools would take each for a package."""

ABOUT, CARD, CONFIG, KERNELS, FLOATS, FLATBUFFER = (
    *("about.json", "card.json", "config.json"),
    *("kernels.bin", "floats.bin", "model.tflite"),
)
PARTS = (CARD, CONFIG, KERNELS, FLOATS, FLATBUFFER)

_HINT = "Install bopkit again."


@dataclasses.dataclass(frozen=True)
class ShippedModel:
    """A trained network as it lies in the package, not built.

    Attributes:
        facts: What is known of it.
        card: Its model card.
        parts: The content of its files by name.
    """

    facts: PretrainedFacts
    card: ModelCard
    parts: dict[str, bytes]

    def unpacked_weights(self) -> list[np.ndarray]:
        """Its weights, float32, in the order of Keras' `get_weights`."""
        return unpack(self.facts.weights, self.parts[KERNELS], self.parts[FLOATS])


def shipped_names() -> list[str]:
    """The names of the trained networks that come with bopkit."""
    return sorted(path.parent.name for path in ROOT.glob(f"*/{ABOUT}"))


def read_facts(name: str) -> PretrainedFacts:
    """What is known of a shipped network.

    Raises:
        UsageError: There is no such network.
        BopkitError: The file that says it is damaged.
    """
    import pydantic

    if name not in shipped_names():
        raise unknown_name("trained network", name, shipped_names(), "bopkit pull")
    path = ROOT / name / ABOUT
    content = _content(path)
    try:
        is_sealed = checksum.check(path, content)
    except BopkitError:
        is_sealed = False
    if not is_sealed:
        raise _damaged(path)
    return pydantic.TypeAdapter(PretrainedFacts).validate_python(json.loads(content)["facts"])


def read_shipped(name: str) -> ShippedModel:
    """Read all files of a shipped network, and check each.

    Raises:
        UsageError: There is no such network.
        BopkitError: A file is missing or damaged.
    """
    facts = read_facts(name)
    parts = {}
    for part, expected in facts.parts.items():
        path = ROOT / name / part
        parts[part] = _content(path)
        if hashlib.sha256(parts[part]).hexdigest() != expected.sha256:
            raise _damaged(path)
    return ShippedModel(facts, parse_card(parts[CARD], ROOT / name / CARD), parts)


def about_text(facts: PretrainedFacts) -> bytes:
    """The content of the file that says what is known of a network, with a checksum of its own."""
    value = {"checksum": checksum.BLANK.decode(), "facts": dataclasses.asdict(facts)}
    return checksum.sealed((json.dumps(value, indent=1) + "\n").encode())


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BopkitError(f"{path}, a file of bopkit, cannot be read: {error.strerror}.", _HINT) from error


def _damaged(path: Path) -> BopkitError:
    return BopkitError(f"{path}, a file of bopkit, is damaged: its checksum is wrong.", _HINT)
