"""Windows of convolutions and pools in C."""

from __future__ import annotations

from typing import Any

from bopkit.export.c.graph import Operator
from bopkit.export.c.steps import Struct

_SAME = 0
_LARGEST = 2**16 - 1


def window(
    operator: Operator, input_shape: tuple[int, ...], output_shape: tuple[int, ...], kernel: tuple[int, ...]
) -> dict[str, Any]:
    """The fields of a `bopkit_window`.

    Args:
        operator: With strides, dilations and padding as the schema or LCE names them.
        input_shape: [1, height, width, channels].
        output_shape: Likewise.
        kernel: Height and width in taps.
    """
    options = operator.options
    strides = tuple(int(_first(options, f"stride_{axis}", f"stride_{axis[0]}")) for axis in ("height", "width"))
    dilations = tuple(
        int(_first(options, f"dilation_{axis}_factor", f"dilation_{axis[0]}_factor", default=1))
        for axis in ("height", "width")
    )
    pads = (0, 0)
    if int(options["padding"]) == _SAME:
        pads = tuple(  # type: ignore[assignment]
            max((out - 1) * stride + (taps - 1) * dilation + 1 - size, 0) // 2
            for size, out, taps, stride, dilation in zip(
                input_shape[1:3], output_shape[1:3], kernel, strides, dilations, strict=True
            )
        )
    return {
        "input_height": input_shape[1],
        "input_width": input_shape[2],
        "output_height": output_shape[1],
        "output_width": output_shape[2],
        "kernel_height": kernel[0],
        "kernel_width": kernel[1],
        "stride_height": strides[0],
        "stride_width": strides[1],
        "dilation_height": dilations[0],
        "dilation_width": dilations[1],
        "pad_top": pads[0],
        "pad_left": pads[1],
    }


def one_pixel() -> dict[str, Any]:
    """The window of a dense layer: one pixel of a map of one."""
    names = ("input", "output", "kernel", "stride", "dilation")
    sizes = {f"{name}_{axis}": 1 for name in names for axis in ("height", "width")}
    return {**sizes, "pad_top": 0, "pad_left": 0}


def window_struct(fields: dict[str, Any]) -> Struct:
    """A window by itself, for pools."""
    return Struct("window", "bopkit_window", fields)


def _first(options: dict[str, Any], *names: str, default: int | None = None) -> Any:
    for name in names:
        if name in options:
            return options[name]
    if default is None:
        raise KeyError(names[0])
    return default
