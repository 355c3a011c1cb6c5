"""What an architecture is: facts of the paper, a function that builds it, and its named hyper-parameter sets.

An architecture file defines one `ARCHITECTURE` and imports TensorFlow and larq inside functions only, so that the
catalogue is listed without them. Counts are committed constants; a test recomputes them from the built network.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from bopkit.errors import BopkitError, UsageError, unknown_name
from bopkit.hparams import HParams
from bopkit.keras2 import import_tensorflow


@dataclasses.dataclass(frozen=True)
class Published:
    """A published accuracy.

    Attributes:
        top1_percent: Top-1 accuracy in percent.
        dataset: The dataset it was measured on.
        hparams_set: The set of ours that repeats its settings; empty if there is none.
        source: Where it was published.
        reproduced: Whether bopkit has reproduced it.
    """

    top1_percent: float
    dataset: str
    hparams_set: str
    source: str
    reproduced: bool = False


@dataclasses.dataclass(frozen=True)
class Counts:
    """Size and work of a network at its own input shape and class count.

    Attributes:
        params: All weights, batch-norm statistics included.
        binary_params: Weights of one bit.
        binary_macs: Multiply-accumulates of one picture with binary weights and binary inputs.
        mixed_macs: With binary weights and real inputs.
        float_macs: With real weights.
    """

    params: int
    binary_params: int
    binary_macs: int
    mixed_macs: int
    float_macs: int

    @property
    def floor_bytes(self) -> int:
        """One bit a binary weight and 32 bits a full-precision one."""
        return floor_bytes(self.params, self.binary_params)


def floor_bytes(params: int, binary_params: int) -> int:
    """One bit a binary weight and 32 bits any other, in bytes: what an artifact's size is measured against.

    An exporter that folds the four vectors of a batch norm into two can come out slightly below it.
    """
    return -(-binary_params // 8) + 4 * (params - binary_params)


@dataclasses.dataclass(frozen=True)
class Architecture:
    """One network of the zoo.

    Attributes:
        name: As users type it.
        title: As papers write it.
        paper: Reference of the network.
        input_shape: Height, width, channels of the original.
        classes: Classes of the original.
        build: Makes an uncompiled `tf.keras.Model` from hparams, input shape and class count.
        sets: Hyper-parameter sets by name; the first is the default.
        min_size_px: Shortest side of a picture that it can take.
        counts: Size and work at `input_shape` and `classes`; None for a network outside the catalogue.
        published: Published accuracies.
        teacher: What the paper trains it with in place of the labels or beside them; empty for labels alone.
    """

    name: str
    title: str
    paper: str
    input_shape: tuple[int, int, int]
    classes: int
    build: Callable[[Any, tuple[int, int, int], int], Any]
    sets: Mapping[str, HParams]
    min_size_px: int = 1
    counts: Counts | None = None
    published: tuple[Published, ...] = ()
    teacher: str = ""

    @property
    def default_set(self) -> str:
        """Name of the set that is used when none is asked for."""
        return next(iter(self.sets))

    def hparams(self, set_name: str | None = None) -> HParams:
        """A named hyper-parameter set; the default one for None.

        Raises:
            UsageError: There is no such set.
        """
        name = set_name or self.default_set
        if name not in self.sets:
            raise unknown_name(f"hyper-parameter set of {self.name}", name, self.sets, f"bopkit hparams {self.name}")
        return self.sets[name]

    def check_input_shape(self, input_shape: tuple[int, int, int], hint: str) -> None:
        """Make sure that the network can take such pictures.

        Args:
            input_shape: Height, width, channels.
            hint: What to type if they are too small.

        Raises:
            UsageError: They are too small.
        """
        if min(input_shape[:2]) < self.min_size_px:
            raise UsageError(
                f"{self.name} takes pictures of at least {self.min_size_px} x {self.min_size_px} pixels, "
                f"not {input_shape[0]} x {input_shape[1]}.",
                hint,
            )

    def build_network(self, hparams: HParams, input_shape: tuple[int, int, int], classes: int) -> Any:
        """Build the network and set its binary kernels to -1 or +1, the signs of their initial draw.

        Bop knows two weights only: a kernel that is still real before the first step would make every earlier
        export and flip count wrong. Latent kernels stay real.

        Args:
            hparams: A set of this architecture.
            input_shape: Height, width, channels.
            classes: Number of outputs.

        Returns:
            An uncompiled `tf.keras.Model`: float32 [n, H, W, C] to probabilities, float32 [n, classes].

        Raises:
            UsageError: The picture is too small for the network.
            BopkitError: `build` made something else.
        """
        self.check_input_shape(input_shape, "Give it larger pictures.")
        from bopkit.binary_kernels import set_binary_kernels_to_signs

        model = self.build(hparams, input_shape, classes)
        if not isinstance(model, import_tensorflow().keras.Model):
            raise BopkitError(
                f"`build` of the network {self.name} returned {type(model).__name__}, not a model of tf.keras.",
                "End it with `return` and the tf.keras.Model.",
            )
        if not model.inputs:  # a class of its own, or a Sequential that is not built: neither can be saved
            raise BopkitError(
                f"`build` of the network {self.name} returned a model without inputs and outputs of its own.",
                "Return tf.keras.Model(inputs, outputs), or a tf.keras.Sequential that begins with an Input.",
            )
        set_binary_kernels_to_signs(model)
        return model
