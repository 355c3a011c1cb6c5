"""What a user may choose about an export."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
        architecture: Name of the network whose weights the file holds; None for a file with a whole model.
        hparams_set: Hyper-parameter set of `architecture`; None for its first.
        hparams: Values that differ from the set.
        input_shape: Height, width, channels that `architecture` is built for; None for its own.
        classes: Outputs that `architecture` is built with; None for its own.
        custom: Modules of the user's own, whose classes and functions the file may name.

    Raises:
        UsageError: No format is asked for, or no pictures, or settings of an architecture that is not named.
    """

    tflite: bool = True
    savedmodel: bool = True
    dataset: str | None = None
    data_dir: str | Path | None = None
    pictures: int = 256
    architecture: str | None = None
    hparams_set: str | None = None
    hparams: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    input_shape: tuple[int, int, int] | None = None
    classes: int | None = None
    custom: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse values that no export can have."""
        if not (self.tflite or self.savedmodel):
            raise UsageError("No format was asked for.", "Type --tflite, --savedmodel or both.")
        if self.pictures < 1:
            raise UsageError(f"{self.pictures} pictures cannot show anything.", "Use a number of pictures from 1.")
        for_architecture = (self.hparams_set, self.hparams, self.input_shape, self.classes)
        if any(for_architecture) and self.architecture is None:
            raise UsageError(
                "--hparams-set, --hparams, --input-shape and --classes describe a network that is not named.",
                "Add `--architecture NAME`; a file with a whole model needs none of them.",
            )
        if self.input_shape is not None and min(self.input_shape) < 1 or self.classes is not None and self.classes < 1:
            raise UsageError("Sizes and class count must be at least 1.", "Write for instance `--input-shape 32,32,3`.")
