"""What the readers of the three formats find, in one form. NumPy only."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path

import numpy as np

from bopkit.artifacts import artifact
from bopkit.artifacts.custom_code import NO_CUSTOM_CODE, CustomCode
from bopkit.errors import BopkitError

READERS = {
    "keras": "bopkit.export.inspection.keras",
    "savedmodel": "bopkit.export.inspection.saved_model",
    "tflite": "bopkit.export.inspection.tflite",
}
"""The module whose `read` takes a path of each kind of artifact (`bopkit.artifacts.artifact.kind`)."""


@dataclasses.dataclass(frozen=True)
class StoredLayer:
    """One layer, operator or variable with weights.

    Attributes:
        name: Its name in the file.
        type: Keras class, operator, or `variable`.
        shape: Shape of its kernel as Keras has it, (height, width, inputs, outputs) for convolutions; that of its
            largest tensor if it has no kernel.
        input_bits: Bits of a value that meets the kernel; None where the file does not tell.
        value_bits: Bits that a kernel value needs: 1 where it is +-scale.
        stored_bits: Bits that it takes in the file.
        weights: Number of weights, all of them.
        binary_weights: Number of those that are +-scale.
        size_bytes: Bytes of all its weights in the file.
        packed: Whether the kernel takes one bit a weight.
        reason: Why it is not packed; empty if it is.
    """

    name: str
    type: str
    shape: tuple[int, ...]
    input_bits: int | None
    value_bits: int
    stored_bits: int
    weights: int
    binary_weights: int
    size_bytes: int
    packed: bool
    reason: str


@dataclasses.dataclass(frozen=True)
class BinaryKernel:
    """Signs of one kernel whose weights are +-scale, laid out alike whatever file they come from.

    A dense layer on a flattened feature map and the convolution of the map's size that replaces it have equal
    bits: the weights of one output follow the order height, width, input channel.

    Attributes:
        name: Of its layer.
        negative: uint8 [outputs, ceil(n / 8)]: the first weight is the highest bit, 1 means negative.
        weights_per_output: n.
        may_be_negated: Whether the file may hold whole output channels with the other sign, as converters do
            where a negative multiplier or a threshold follows.
        packed: Whether the file holds one bit a weight.
    """

    name: str
    negative: np.ndarray
    weights_per_output: int
    may_be_negated: bool = False
    packed: bool = False

    @property
    def size(self) -> int:
        """Number of weights."""
        return len(self.negative) * self.weights_per_output

    @classmethod
    def of_values(cls, name: str, kernel: np.ndarray, **facts: bool) -> BinaryKernel:
        """From a kernel [..., outputs] of a convolution or a dense layer."""
        negative = kernel.reshape(-1, kernel.shape[-1]).T < 0
        return cls(name, np.packbits(negative, axis=1), negative.shape[1], **facts)


@dataclasses.dataclass(frozen=True)
class Contents:
    """All that a file holds.

    Attributes:
        kind: `keras`, `savedmodel` or `tflite`.
        inputs: Inputs as text, e.g. `images float32 [1, 32, 32, 3]`.
        outputs: Outputs as text.
        layers: In the order of the network.
        kernels: Signs of the binary kernels, in that order.
        others: Numbers that are not among the packed kernels, by name; those of integers as what they stand for.
        notes: What the reader should know, one sentence each.
    """

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    layers: tuple[StoredLayer, ...]
    kernels: tuple[BinaryKernel, ...]
    others: dict[str, np.ndarray]
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class KernelMatch:
    """A kernel of one file and the one of another that is nearest to it.

    Attributes:
        first: Name in the first file.
        second: Name in the second file; None where it has no kernel of that size left.
        weights: Number of weights.
        different: Number of weights whose signs differ.
    """

    first: str
    second: str | None
    weights: int
    different: int


def read_contents(path: str | Path, custom_code: CustomCode = NO_CUSTOM_CODE) -> Contents:
    """Read an artifact of any kind without running it.

    A damaged SavedModel or Keras file can end the process: call it in a child (`bopkit.isolation`).

    Args:
        path: The artifact.
        custom_code: Code of the user's own that a file of Keras may name.

    Raises:
        BopkitError: There is no such artifact, it is damaged, or its kind has no reader.
    """
    path = Path(path)
    kind = artifact.kind(path)
    if kind not in READERS:
        raise BopkitError(
            f"{path} is a folder of C sources, of which the layers cannot be read.",
            "Give the .h5 or .tflite file that it was exported from; `bopkit benchmark` takes the folder.",
        )
    reader = importlib.import_module(READERS[kind])
    return reader.read(artifact.resolve(path), custom_code)


def different_weights(kernel: BinaryKernel, other: BinaryKernel) -> int:
    """Number of weights whose signs differ between two kernels of one size; see `BinaryKernel.may_be_negated`."""
    different = np.unpackbits(kernel.negative ^ other.negative, axis=1).sum(axis=1, dtype=np.int64)
    if kernel.may_be_negated or other.may_be_negated:
        different = np.minimum(different, kernel.weights_per_output - different)
    return int(different.sum())


def match_kernels(first: tuple[BinaryKernel, ...], second: tuple[BinaryKernel, ...]) -> list[KernelMatch]:
    """Find the partner of each kernel of `first`: the one of the same name and size, else the nearest of that size.

    The nearest pairs are made first, so that a changed kernel takes no other one's partner. A kernel of `second` that
    has a partner gets another one only with the same bits: a layer that is called twice can lie in a file twice.
    """
    pairs = sorted(
        (kernel.name != other.name, different_weights(kernel, other), place, other_place)
        for place, kernel in enumerate(first)
        for other_place, other in enumerate(second)
        if _same_size(kernel, other)
    )
    partners: dict[int, tuple[str, int]] = {}
    used: set[int] = set()
    for _, different, place, other_place in pairs:
        if place not in partners and other_place not in used:
            partners[place] = (second[other_place].name, different)
            used.add(other_place)
    for _, different, place, other_place in pairs:
        if different == 0:
            partners.setdefault(place, (second[other_place].name, 0))
    return [
        KernelMatch(kernel.name, partner, kernel.size, different)
        for place, kernel in enumerate(first)
        for partner, different in [partners.get(place, (None, kernel.size))]
    ]


def _same_size(kernel: BinaryKernel, other: BinaryKernel) -> bool:
    return (kernel.negative.shape, kernel.weights_per_output) == (other.negative.shape, other.weights_per_output)


def tensor_text(name: str, dtype: str, shape: tuple[int | None, ...]) -> str:
    """An input or output for a person: `images float32 [?, 32, 32, 3]`."""
    return f"{name} {dtype} [{', '.join('?' if size is None else str(size) for size in shape)}]"
