"""What is done to training pictures after the preprocessing: RandAugment, random erasing, mixup, cutmix."""

from __future__ import annotations

import dataclasses

from bopkit.data.mixing import Mixing
from bopkit.hparams import HParams


@dataclasses.dataclass(frozen=True, kw_only=True)
class PictureRecipe:
    """The stages that follow a preprocessing's `augment`, in this order; without values there are none.

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

    def augmenting_only(self) -> PictureRecipe:
        """The same without erasing and mixing: pictures that are augmented as in training, and whole."""
        return dataclasses.replace(self, random_erasing=0.0, mixup=0.0, cutmix=0.0)

    @property
    def mixing(self) -> Mixing | None:
        """How pictures are mixed; None where they are not."""
        return Mixing(self.mixup, self.cutmix) if self.mixup or self.cutmix else None


NO_RECIPE = PictureRecipe()
