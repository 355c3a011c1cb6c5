"""What is done to training pictures beside the preprocessing: RandAugment, random erasing, mixup, cutmix.

`PictureRecipe.augment` makes pictures that are augmented and whole. The input pipeline then erases and mixes them, a
batch at a time; batch-norm statistics are estimated on pictures that are neither.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from bopkit.data.erasing import erase
from bopkit.data.mixing import MixedLabels, Mixing
from bopkit.data.preprocessing import Preprocessing
from bopkit.data.randaugment import randaugment
from bopkit.data.sizing import PictureSize
from bopkit.hparams import HParams, override

Tensor = Any  # TensorFlow is imported inside the functions


@dataclasses.dataclass(frozen=True, kw_only=True)
class PictureRecipe:
    """The stages that follow the preprocessing's own augmentation, in this order; without values there are none.

    Attributes:
        randaugment_count: Operations of RandAugment a picture; 0 for none.
        randaugment_magnitude: Their strength, 0 to 10.
        random_erasing: Share of the pictures of which a rectangle is painted over.
        mixup: Alpha of mixup's shares; 0 for none.
        cutmix: The same of cutmix.
    """

    randaugment_count: int = 0
    randaugment_magnitude: float = 5.0
    random_erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    @classmethod
    def of(cls, hparams: HParams) -> PictureRecipe:
        """The recipe that hyper-parameters ask for."""
        return cls(**{field.name: getattr(hparams, field.name) for field in dataclasses.fields(cls)})

    @classmethod
    def of_values(cls, values: Mapping[str, Any]) -> PictureRecipe:
        """The recipe of a run with such hyper-parameters, of a network that is not known.

        Args:
            values: By name, as text or typed; those that do nothing to pictures are checked and ignored.

        Raises:
            UsageError: A name, a type or a range is wrong.
        """
        needed = {"epochs": 1, "batch_size": 1, "learning_rate": 1.0}  # no set has defaults of these
        return cls.of(override(HParams(**needed), values))

    def augment(
        self, preprocessing: Preprocessing, image: Tensor, seed: Tensor, picture_size: PictureSize = None
    ) -> Tensor:
        """Augment a training picture and leave it whole; arguments and result as of `Preprocessing.augment`."""
        pixels = preprocessing.augment(image, seed, picture_size)
        if self.randaugment_count:
            pixels = randaugment(pixels, seed, self.randaugment_count, self.randaugment_magnitude)
        return pixels

    def erase_and_mix(
        self, pixels: Tensor, labels: Tensor, seeds: Tensor, own: slice = slice(None)
    ) -> tuple[Tensor, Tensor | MixedLabels]:
        """Erase and mix a batch, as far as the recipe says so.

        Args:
            pixels: uint8 or float32 [m, H, W, C], 0 to 255.
            labels: int64 [m].
            seeds: int64 [m, 2], as `augmentation_seed` makes them.
            own: Which pictures are asked for; the others are partners only.

        Returns:
            Pixels [n, H, W, C], and int64 [n], or `MixedLabels` of as many where the recipe mixes pictures.
        """
        if self.random_erasing:
            pixels = erase(pixels, seeds, self.random_erasing)
        return self.mixing.mix(pixels, labels, seeds, own) if self.mixing else (pixels[own], labels[own])

    @property
    def changes_batches(self) -> bool:
        """Whether pictures are erased or mixed, which is done batch by batch."""
        return bool(self.random_erasing or self.mixing)

    @property
    def mixing(self) -> Mixing | None:
        """How pictures are mixed; None where they are not."""
        return Mixing(self.mixup, self.cutmix) if self.mixup or self.cutmix else None


NO_RECIPE = PictureRecipe()
