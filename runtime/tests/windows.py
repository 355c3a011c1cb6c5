"""The positions of a window over an image, for the oracle."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from models import SAME, window


def taps(
    x: np.ndarray, options: dict[str, int], size: tuple[int, int], around: float, suffix: str = ""
) -> Iterator[tuple[int, int, np.ndarray]]:
    """For each position in the window: the values [batch, height, width, channels] that it meets.

    Args:
        x: Images [batch, height, width, channels].
        options: Of the operator.
        size: Of the window.
        around: What lies around the image.
        suffix: Of the names that the options have for dilations.
    """
    counts, before, stride, dilation = _geometry(x, options, size, suffix)
    # After the image as much as the last window reaches out; nothing where it is well inside.
    after = [
        max(
            (counts[axis] - 1) * stride[axis]
            + (size[axis] - 1) * dilation[axis]
            + 1
            - before[axis]
            - x.shape[1 + axis],
            0,
        )
        for axis in (0, 1)
    ]
    margins = [(0, 0), (before[0], after[0]), (before[1], after[1]), (0, 0)]
    padded = np.pad(x, margins, constant_values=around) if options["padding"] == SAME else x
    for row in range(size[0]):
        for column in range(size[1]):
            top, left = row * dilation[0], column * dilation[1]
            rows = slice(top, top + (counts[0] - 1) * stride[0] + 1, stride[0])
            columns = slice(left, left + (counts[1] - 1) * stride[1] + 1, stride[1])
            yield row, column, padded[:, rows, columns]


def windows(x: np.ndarray, options: dict[str, int], around: float) -> np.ndarray:
    """All positions of a pool's window: [positions, batch, height, width, channels]."""
    size = options["filter_height"], options["filter_width"]
    return np.stack([values for _, _, values in taps(x, options, size, around)])


def convolve(x: np.ndarray, kernel: np.ndarray, options: dict[str, int], around: float, suffix: str = "") -> np.ndarray:
    """Sums of products; exact in float32 for the signs of a binary convolution, as they stay below 2 ** 24.

    Groups of filters see groups of channels, as many as a filter has.
    """
    groups = x.shape[-1] // kernel.shape[-1]
    parts = zip(np.split(x, groups, axis=-1), np.split(kernel, groups))
    return np.concatenate([_convolve(part, filters, options, around, suffix) for part, filters in parts], axis=-1)


def _convolve(x: np.ndarray, kernel: np.ndarray, options: dict[str, int], around: float, suffix: str) -> np.ndarray:
    total: np.ndarray | int = 0
    for row, column, values in taps(x, options, kernel.shape[1:3], around, suffix):
        total = total + values @ kernel[:, row, column].T
    return np.asarray(total)


def _geometry(x: np.ndarray, options: dict[str, int], size: tuple[int, int], suffix: str):
    """Output sizes, margins before the image, strides and dilations, each of height and width."""
    stride = options["stride_height"], options["stride_width"]
    dilation = options.get(f"dilation_height{suffix}", 1), options.get(f"dilation_width{suffix}", 1)
    each = [window(x.shape[1 + axis], size[axis], stride[axis], dilation[axis], options["padding"]) for axis in (0, 1)]
    return [count for count, _ in each], [before for _, before in each], stride, dilation
