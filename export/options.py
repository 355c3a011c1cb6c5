"""What a user may choose about an export."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from bopkit.errors import UsageError

LARGEST_VERSION = 2**63 - 1
"""TensorFlow Serving keeps versions in 64 bits with a sign."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Settings of one export; each has the default of the command line.

    Attributes:
        tflite: Write the LCE flatbuffer.
        savedmodel: Write the TensorFlow Serving directory, as the next free version.
        dataset: Dataset whose test pictures are used for the checks; None for the card's, else photographs.
        data_dir: Where prepared datasets lie.
        pictures: Largest number of real pictures.
        pack: Store the binary kernels of the TensorFlow Serving directory as bits; False for float32.
        version: Number of its version directory; None for the next free one.

    Raises:
        UsageError: No format is asked for, or no pictures; a setting concerns a format that is not asked for.
    """

    tflite: bool = True
    savedmodel: bool = True
    dataset: str | None = None
    data_dir: str | Path | None = None
    pictures: int = 256
    pack: bool = True
    version: int | None = None

    def __post_init__(self) -> None:
        """Refuse values that no export can have."""
        if not (self.tflite or self.savedmodel):
            raise UsageError("No format was asked for.", "Type --tflite, --savedmodel or both.")
        if self.pictures < 1:
            raise UsageError(f"{self.pictures} pictures cannot show anything.", "Use a number of pictures from 1.")
        if not self.savedmodel and (not self.pack or self.version is not None):
            given = "--version" if self.pack else "--no-pack"
            raise UsageError(f"{given} concerns the SavedModel, which was not asked for.", "Type --savedmodel too.")
        if self.version is not None and not 1 <= self.version <= LARGEST_VERSION:
            raise UsageError(
                f"{self.version} is no version of a served model.", f"Use a number from 1 to {LARGEST_VERSION}."
            )
