"""Binary convolutions of a flatbuffer: the one place that knows how LCE lays out packed kernels. NumPy only."""

from __future__ import annotations

import dataclasses

import numpy as np

from bopkit.artifacts.tflite_graph import Graph, Operator, group_channels
from bopkit.export.inspection.contents import BinaryKernel

BINARY_CONVOLUTION = "LceBconv2d"
"""The only operator with a packed kernel; its second input."""

_THRESHOLDS = 4
"""Index of the thresholds among its inputs: present where it writes bits instead of floats. LCE then negates the output
channels that a negative multiplier follows, as thresholds can be compared in one direction only."""


@dataclasses.dataclass(frozen=True)
class PackedConvolution:
    """One binary convolution.

    Attributes:
        kernel: Its signs.
        shape: Of the kernel as Keras has it: height, width, input channels of one group, outputs.
        input_tensor: Index of its packed input, int32 [1, height, width, words].
        size_bytes: Size of all its constants.
    """

    kernel: BinaryKernel
    shape: tuple[int, int, int, int]
    input_tensor: int
    size_bytes: int


def binary_convolutions(graph: Graph) -> list[PackedConvolution]:
    """All of a graph, in the order in which they run."""
    return [read_convolution("", each, graph) for each in graph.operators if each.type == BINARY_CONVOLUTION]


def read_convolution(name: str, operator: Operator, graph: Graph) -> PackedConvolution:
    """Read a binary convolution, and call its kernel `name`."""
    stored = graph.tensors[operator.inputs[1]]
    outputs, height, width, words = stored.shape
    channels = group_channels(operator, stored)
    octets = np.frombuffer(stored.data, np.uint8).reshape(outputs, height, width, 4 * words)
    negative = np.unpackbits(octets, axis=-1, count=channels, bitorder="little").reshape(outputs, -1)
    writes_bits = len(operator.inputs) > _THRESHOLDS and operator.inputs[_THRESHOLDS] >= 0
    return PackedConvolution(
        kernel=BinaryKernel(name, np.packbits(negative, axis=1), negative.shape[1], writes_bits, packed=True),
        shape=(height, width, channels, outputs),
        input_tensor=operator.inputs[0],
        size_bytes=sum(len(graph.tensors[index].data) for index in operator.inputs[1:] if index >= 0),
    )
