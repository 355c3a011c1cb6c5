"""What a packed network has over its twins of full precision: ratios of size and latency."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Gain:
    """What one artifact has over another of the same shape.

    Attributes:
        network: Name of the network.
        variant: What the other artifact is, for instance `int8 twin`.
        device: Where both were measured.
        threads: Threads for one picture.
        size_ratio: Size of the other over that of the packed one.
        latency_ratio: p50 of the other over that of the packed one.
    """

    network: str
    variant: str
    device: str
    threads: int | None
    size_ratio: float | None
    latency_ratio: float | None


def gain_text(ratio: float | None) -> str:
    """A ratio for a person: `5.72 x`, or `tie` where that would be 1.00."""
    if ratio is None:
        return "-"
    text = f"{ratio:.2f} x"
    return "tie" if text == "1.00 x" else text
