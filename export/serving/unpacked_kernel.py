"""A binary kernel that is stored in a SavedModel as bits, and unpacked to floats in memory.

Imports TensorFlow at its top, as its class derives from TensorFlow's: import it inside functions only.
"""

from __future__ import annotations

from typing import Any

from bopkit.export.network.packing import PackedBits
from bopkit.keras2 import import_tensorflow

tf: Any = import_tensorflow()

Tensor = Any


class UnpackedKernel(tf.saved_model.experimental.TrackableResource):
    """A float32 variable whose initial value is unpacked from a constant of one bit a weight.

    TensorFlow stores how a resource is made and initialised, not its value, so the file holds the bits alone.
    `tf.saved_model.load` initialises it at once, the V1 loader and TensorFlow Serving by the init operation.
    It lives as long as the process or the session: if it were destroyed with the loaded object, a signature
    could not outlive that object, as it does in `tf.saved_model.load(...).signatures[...]`.
    """

    def __init__(self, name: str, packed: PackedBits):
        """Keep the bits; nothing is unpacked yet.

        Args:
            name: Name of the layer.
            packed: The kernel.
        """
        super().__init__()
        self._packed = packed
        self.bits = tf.constant(packed.bits)
        self._shared_name = name  # unique in the model; TensorFlow makes it unique in the process when it loads

    def read(self) -> Tensor:
        """The kernel, float32, in the graph that is being built."""
        return tf.ensure_shape(
            tf.raw_ops.ReadVariableOp(resource=self.resource_handle, dtype=tf.float32), self._packed.shape
        )

    def _create_resource(self) -> Tensor:
        return tf.raw_ops.VarHandleOp(
            dtype=tf.float32, shape=self._packed.shape, shared_name=self._shared_name, container=""
        )

    def _initialize(self) -> None:
        tf.raw_ops.AssignVariableOp(resource=self.resource_handle, value=self._unpack())

    def _unpack(self) -> Tensor:
        """Kernel, float32, from its bits, with stock operations."""
        shape = self._packed.shape
        # The eight signs of every byte are computed once and looked up: shifting every bit by itself loads slower.
        shifts = tf.constant([7, 6, 5, 4, 3, 2, 1, 0])
        ones = tf.bitwise.bitwise_and(tf.bitwise.right_shift(tf.range(256)[:, tf.newaxis], shifts), 1)
        signs_of_byte = tf.cast(ones, tf.float32) * 2.0 - 1.0
        size = int(tf.TensorShape(shape).num_elements())
        signs = tf.gather(signs_of_byte, tf.cast(self.bits, tf.int32))
        signs = tf.reshape(tf.reshape(signs, [-1])[:size], shape)
        return signs if self._packed.unscaled else signs * self._packed.scale
