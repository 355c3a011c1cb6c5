"""Layers of an exported network: larq's own arithmetic on a kernel that comes from a function.

Imports TensorFlow and larq at its top, as its classes derive from theirs: import it inside functions only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bopkit.keras2 import import_tensorflow

tf: Any = import_tensorflow()

import larq  # noqa: E402  needs the Keras that `import_tensorflow` selects

Tensor = Any
ReadKernel = Callable[[], Tensor]
"""Returns the kernel, float32, in the graph that is being built."""


class _KernelFromFunction:
    """Mix-in before a larq layer: no kernel variable is made, each use of `kernel` calls the function."""

    def __init__(self, *, read_kernel: ReadKernel, **config: Any):
        self._read_kernel = read_kernel
        super().__init__(**config)

    def add_weight(self, name: str | None = None, *args: Any, **kwargs: Any) -> Any:
        """Make every variable of the layer but the kernel."""
        return None if name == "kernel" else super().add_weight(name, *args, **kwargs)  # type: ignore[misc]

    @property
    def kernel(self) -> Tensor:
        """The kernel, float32."""
        return self._read_kernel()

    @kernel.setter
    def kernel(self, variable: None) -> None:
        """Keras assigns the variable that it did not make."""


class InferenceConv2D(_KernelFromFunction, larq.layers.QuantConv2D):
    """A quantized convolution: padding, strides, dilation, groups, bias and activation are larq's."""


class InferenceZeroPaddedConv2D(InferenceConv2D):
    """A binary convolution with "same" padding by zeros, which LCE answers rightly on small maps too.

    LCE's optimized kernels are wrong where zeros are padded and the kernel, dilation included, is larger than the map;
    its padding by ones is right everywhere. On such a map this layer pads with ones and subtracts what they add: a
    sum of +-scale for each place of the map, exact in float32, and small, as the map is.

    Args:
        values: The kernel, float32 [height, width, inputs / groups, filters].
        **config: As of `InferenceConv2D`.
    """

    def __init__(self, *, values: np.ndarray, **config: Any):
        self._values = values
        super().__init__(**config)

    def call(self, inputs: Tensor) -> Tensor:
        """Map float32 [n, height, width, channels] to float32 [n, height, width, filters]."""
        if not self.reaches_over(inputs.shape):
            return super().call(inputs)
        padding = [[0, 0], *map(self._padding, inputs.shape[1:3], range(2)), [0, 0]]
        signs = self.input_quantizer(inputs)
        outputs = self._convolved(tf.pad(signs, padding, constant_values=1.0), self.kernel)
        with tf.init_scope():  # a constant of the graph
            ones = tf.pad(tf.zeros([1, *inputs.shape[1:]]), padding, constant_values=1.0)
            added = self._convolved(ones, tf.constant(self._values)).numpy()
        outputs = Shield.separated(outputs) - added
        if self.use_bias:
            outputs = tf.nn.bias_add(outputs, self.bias)
        return outputs if self.activation is None else self.activation(outputs)

    def reaches_over(self, shape: Any) -> bool:
        """Whether the kernel is larger than a map of shape [n, height, width, channels]."""
        return any(self._reach(axis) > size for axis, size in enumerate(shape[1:3]))

    def _reach(self, axis: int) -> int:
        """The pixels that the kernel covers along one axis."""
        return int((self.kernel_size[axis] - 1) * self.dilation_rate[axis] + 1)

    def _padding(self, size: int, axis: int) -> list[int]:
        """What TensorFlow's "SAME" pads before and after so many pixels."""
        stride = self.strides[axis]
        total = max((-(-size // stride) - 1) * stride + self._reach(axis) - size, 0)
        return [total // 2, total - total // 2]

    def _convolved(self, padded: Tensor, kernel: Tensor) -> Tensor:
        return tf.nn.convolution(padded, kernel, strides=self.strides, padding="VALID", dilations=self.dilation_rate)


class InferenceDense(_KernelFromFunction, larq.layers.QuantDense):
    """A quantized dense layer."""


class InferenceDenseConvolution(InferenceDense):
    """A binary dense layer with binarized input, as the same 1x1 convolution.

    Sums of +-1 are exact in float32, so the order of summation does not matter. The sign is taken after the
    reshape: LCE packs a convolution only when the sign is right before it. The kernel comes as
    [1, 1, inputs, units]: the converter folds no reshape of a constant above 64 MiB, and such a layer would
    stay float.
    """

    def call(self, inputs: Tensor) -> Tensor:
        """Map float32 [..., inputs] to float32 [..., units]."""
        pixels = self.input_quantizer(tf.reshape(inputs, [-1, 1, 1, inputs.shape[-1]]))
        outputs = tf.nn.conv2d(pixels, self.kernel, strides=1, padding="VALID")
        if self.use_bias:
            outputs = tf.nn.bias_add(outputs, self.bias)
        outputs = tf.reshape(outputs, [-1, *inputs.shape[1:-1], self.units])
        return outputs if self.activation is None else self.activation(outputs)


class Shield(tf.keras.layers.Layer):
    """Passes its input on, as a maximum with the least float: LCE's converter folds nothing through it."""

    @staticmethod
    def separated(inputs: Tensor) -> Tensor:
        """The same values, float32."""
        return tf.maximum(inputs, tf.float32.min)

    def call(self, inputs: Tensor) -> Tensor:
        """Map float32 [n, ...] to the same."""
        return self.separated(inputs)


class Threshold(tf.keras.layers.Layer):
    """Subtracts a constant of each channel: the sign of the result tells on which side of it the input lies.

    In IEEE arithmetic with gradual underflow x - t is negative exactly where x < t.

    Args:
        thresholds: float32 [channels].
        **config: As of any Keras layer.
    """

    def __init__(self, thresholds: np.ndarray, **config: Any):
        super().__init__(**config)
        self._thresholds = tf.constant(thresholds)

    def call(self, inputs: Tensor) -> Tensor:
        """Map float32 [..., channels] to the same shape."""
        return inputs - self._thresholds
