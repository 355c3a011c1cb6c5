"""What a user may choose about an export."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from bopkit.errors import UsageError


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Settings of one export; each has the default of the command line.

    Attributes:
        tflite: Write the LCE flatbuffer.
        savedmodel: Write the TensorFlow Serving directory, as the next free version.
        dataset: Dataset whose test pictures are used for the checks; None for the card's, else photographs.
        data_dir: Where prepared datasets lie.
        pictures: Largest number of real pictures.

    Raises:
        UsageError: No format is asked for, or no pictures.
    """

    tflite: bool = True
    savedmodel: bool = True
    dataset: str | None = None
    data_dir: str | Path | None = None
    pictures: int = 256

    def __post_init__(self) -> None:
        """Refuse values that no export can have."""
        if not (self.tflite or self.savedmodel):
            raise UsageError("No format was asked for.", "Type --tflite, --savedmodel or both.")
        if self.pictures < 1:
            raise UsageError(f"{self.pictures} pictures cannot show anything.", "Use a number of pictures from 1.")
