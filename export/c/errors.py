"""What the C export cannot take."""

from __future__ import annotations

from bopkit.errors import BopkitError


class NotCoveredError(BopkitError):
    """A part of a network for which there is no C."""

    def __init__(self, message: str):
        super().__init__(message, "")
