"""What the export has to know of each operation of a frozen graph, as `bopkit.export.network.layers` tells of layers.

Imports TensorFlow at its top, as its layer derives from larq's: import it inside functions only.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bopkit.counting import is_binary
from bopkit.export.network.binarization import NodeDef, is_binarized
from bopkit.export.network.layers import REAL_BITS, LayerFacts, unsupported_convolution
from bopkit.export.sources.freezing import FrozenGraph
from bopkit.keras2 import import_tensorflow

tf: Any = import_tensorflow()

import larq  # noqa: E402  needs the Keras that `import_tensorflow` selects


class _Kernel(larq.layers.QuantConv2D):
    """Stands for an operation of the graph where facts speak of a layer; never called."""

    def __init__(self, node: NodeDef, kernel: np.ndarray, channels: int | None):
        super().__init__(1, 1, name=node.op)
        self.kernel = tf.constant(kernel)
        if node.op == "Conv2D":
            self.data_format = "channels_first" if node.attr["data_format"].s == b"NCHW" else "channels_last"
            self.groups = channels // kernel.shape[2] if channels else 1


class _OperationFacts(LayerFacts):
    """Facts of one operation of a graph."""

    @property
    def type(self) -> str:
        """Name of the operation, e.g. `Conv2D`."""
        return str(self.layer.name)


def inspect_operations(frozen: FrozenGraph) -> list[LayerFacts]:
    """Facts of each operation with a kernel."""
    return [_operation_facts(frozen, name, kernel.astype(np.float32)) for name, kernel in frozen.kernels.items()]


def _operation_facts(frozen: FrozenGraph, name: str, kernel: np.ndarray) -> LayerFacts:
    node = frozen.nodes[name]
    layer = _Kernel(node, kernel, _channels(frozen.function.graph.get_operation_by_name(name)))
    binary = node.op == "Conv2D" and is_binary(kernel)
    input_is_binarized = is_binarized(node.input[0], frozen.nodes)
    if node.op != "Conv2D":
        reason = f"{node.op} of a SavedModel's graph is not packed"
    elif not binary:
        reason = "real weights"
    else:
        reason = unsupported_convolution(layer) if input_is_binarized else "input is not a plain sign"
    return _OperationFacts(
        layer=layer,
        name=node.name,
        input_bits=1 if input_is_binarized else REAL_BITS,
        kernel_bits=1 if binary else REAL_BITS,
        input_is_binarized=input_is_binarized,
        weights=kernel.size,
        float_reason=reason,
    )


def _channels(operation: Any) -> int | None:
    """Channels that an operation takes; None where the graph does not tell."""
    shape = operation.inputs[0].shape
    return shape[-1] if shape.rank else None
