"""What a user may choose about an export."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bopkit.errors import UsageError
from bopkit.export.spec import MAX_DROP_POINTS

LARGEST_VERSION = 2**63 - 1
"""TensorFlow Serving keeps versions in 64 bits with a sign."""
FLOAT_WEIGHTS = ("float32", "float16", "int8")
INPUT_TYPES = ("float32", "uint8")
OUTPUTS = ("probabilities", "logits")
TARGETS = ("arm", "xcore")


def check_max_drop(max_drop: float) -> None:
    """Raise UsageError unless it is a number of points, 0 to 100."""
    if not 0 <= max_drop <= 100:
        raise UsageError(f"--max-drop {max_drop} is not a number of points.", "Use a number from 0 to 100.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Settings of one export; each has the default of the command line.

    Attributes:
        tflite: Write the LCE flatbuffer.
        savedmodel: Write the TensorFlow Serving directory, as the next free version.
        c: Write C sources for microcontrollers. With `calibrate` all layers of the flatbuffer compute in int8 or bits.
        dataset: Dataset whose test pictures are used for the checks; None for the card's, else photographs.
        data_dir: Where prepared datasets are.
        preprocess_fn: Name of the preprocessing that the network was trained with, which its card then gets; None for
            what the card names.
        pictures: Largest number of real pictures.
        pack: Store the binary kernels of the TensorFlow Serving directory as bits; False for float32.
        version: Number of its version directory; None for the next free one.
        c_name: What the functions of the C sources are called; None for the stem of the network's file.
        flash_bytes: Largest flash that the C sources may need; None for any.
        ram_bytes: Largest RAM that they may need, with input, output and stack; None for any.
        float_weights: How the flatbuffer stores full-precision kernels: `float32`, `float16` or `int8`. None becomes
            `int8` with `c`, else `float32`.
        calibrate: Dataset whose training pictures give the ranges for int8 activations in the flatbuffer's
            full-precision layers; None to keep those activations float32, or with `c` and int8 for the dataset that the
            card names.
        max_drop: Largest loss of top-1 accuracy of a trained network, in points of a percent. With the network's own
            weights every picture with another class than in Keras counts as lost; with `float_weights` in fewer bits
            the accuracies on labelled pictures are compared.
        input_type: What the flatbuffer takes: `float32` as preprocessed, or `uint8` pixels of the input's size.
        output: What the flatbuffer returns: `probabilities`, or `logits` before the softmax.
        target: The devices that LCE converts for: `arm` (any CPU) or `xcore`.
        architecture: Name of the network whose weights the file holds; None for a file with a whole model.
        hparams_set: Hyper-parameter set of `architecture`; None for its first.
        hparams: Values that differ from the set.
        input_shape: Height, width, channels that `architecture` is built for; None for the default of the architecture.
        classes: Outputs that `architecture` is built with; None for the default of the architecture.
        custom: Modules of the user's own, by name or `.py` file, whose classes and functions the file may name.

    Raises:
        UsageError: No format or no picture is asked for, a value is not one of those above, a setting is for a format
            that is not asked for, or for an architecture that is not named.
    """

    tflite: bool = True
    savedmodel: bool = True
    c: bool = False
    dataset: str | None = None
    data_dir: str | Path | None = None
    preprocess_fn: str | None = None
    pictures: int = 256
    pack: bool = True
    version: int | None = None
    c_name: str | None = None
    flash_bytes: int | None = None
    ram_bytes: int | None = None
    float_weights: str = None  # type: ignore[assignment]  # a str once `__post_init__` has run
    calibrate: str | None = None
    max_drop: float = MAX_DROP_POINTS
    input_type: str = "float32"
    output: str = "probabilities"
    target: str = "arm"
    architecture: str | None = None
    hparams_set: str | None = None
    hparams: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    input_shape: tuple[int, int, int] | None = None
    classes: int | None = None
    custom: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse values that no export can have."""
        if self.float_weights is None:
            object.__setattr__(self, "float_weights", "int8" if self.c else "float32")
        if not (self.tflite or self.savedmodel or self.c):
            raise UsageError("No format was asked for.", "Type --tflite, --savedmodel or --c.")
        if self.pictures < 1:
            raise UsageError(f"The number of pictures is {self.pictures}.", "Use at least one picture.")
        self._check_serving()
        self._check_flatbuffer()
        self._check_architecture()

    def _check_serving(self) -> None:
        if not self.savedmodel and (not self.pack or self.version is not None):
            given = "--version" if self.pack else "--no-pack"
            raise UsageError(f"{given} is for the SavedModel, which was not asked for.", "Type --savedmodel too.")
        if self.version is not None and not 1 <= self.version <= LARGEST_VERSION:
            raise UsageError(
                f"{self.version} is not a valid version number.", f"Use a number from 1 to {LARGEST_VERSION}."
            )

    def _check_flatbuffer(self) -> None:
        for option, value, known in (
            ("--float-weights", self.float_weights, FLOAT_WEIGHTS),
            ("--input", self.input_type, INPUT_TYPES),
            ("--output", self.output, OUTPUTS),
            ("--target", self.target, TARGETS),
        ):
            if value not in known:
                raise UsageError(f"{option} cannot be {value!r}.", f"Type {option} {' or '.join(known)}.")
        if self.calibrate is not None and self.float_weights != "int8":
            raise UsageError("--calibrate is for int8 activations.", "Add --float-weights int8.")
        check_max_drop(self.max_drop)
        if not (self.tflite or self.c) and self._concerns_flatbuffer():
            raise UsageError(
                "--float-weights, --calibrate, --input, --output and --target are for the flatbuffer.", "Add --tflite."
            )
        if self.c and self.target != "arm":
            raise UsageError("--target is for flatbuffers alone.", "Leave out --target.")
        if not self.c and not (self.c_name is self.flash_bytes is self.ram_bytes is None):
            raise UsageError("--c-name, --flash and --ram are for C sources.", "Add --c.")

    def _concerns_flatbuffer(self) -> bool:
        """Whether a choice is made that only a flatbuffer can follow."""
        names = ("float_weights", "calibrate", "input_type", "output", "target")
        defaults = {field.name: field.default for field in dataclasses.fields(self)} | {"float_weights": "float32"}
        return any(getattr(self, name) != defaults[name] for name in names)

    def _check_architecture(self) -> None:
        for_architecture = (self.hparams_set, self.hparams, self.input_shape, self.classes)
        if any(for_architecture) and self.architecture is None:
            raise UsageError(
                "--hparams-set, --hparams, --input-shape and --classes describe a network that is not named.",
                "Add `--architecture NAME`; a file with a whole model needs none of them.",
            )
        if self.input_shape is not None and min(self.input_shape) < 1 or self.classes is not None and self.classes < 1:
            raise UsageError("Sizes and class count must be at least 1.", "Write for instance `--input-shape 32,32,3`.")
