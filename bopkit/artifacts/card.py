"""The model card: what a lone `model.h5` must carry so that it can be exported, measured and served."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

from bopkit.artifacts import checksum
from bopkit.artifacts.limits import DAMAGED, MAX_CONFIG_BYTES
from bopkit.errors import BopkitError, UsageError, first_line

CARD_ATTRIBUTE = "bopkit_card"
"""Root attribute of the HDF5 file that holds the card, as one JSON string (arrays above 64 KB do not fit)."""


@dataclasses.dataclass(frozen=True)
class ModelCard:
    """Facts about one trained or initialised network.

    Attributes:
        architecture: Name in the catalogue, e.g. `binarynet`.
        input_shape: Height, width, channels of one picture after preprocessing.
        value_range: Smallest and largest value that the preprocessing produces.
        preprocessing: Name of the preprocessing that makes the network's input.
        dataset: Name of the dataset that it was trained on; empty for an untrained network.
        dataset_identity: What tells the pictures of the dataset from others, such as its version; empty where it is not
            known.
        class_names: One name an output; empty where they are not known. Numbers become text.
        hparams_set: Name of the hyper-parameter set.
        hparams: The hyper-parameters with their values, without those that are none: files stay small.
        schedule_epochs: Epochs after which schedules over the whole run held their end values, because the run was made
            longer; None for all others.
        trained: False for the output of `bopkit init`.
        accuracy: Measured figures by name, e.g. `{"val_top1": 0.96}`, each from 0 to 1.
        trained_on: The split that it was trained on; empty where that is not known.
        evaluated_on: The split that `accuracy` was measured on.
        evaluated_pictures: Number of its pictures that it was measured on.
        versions: Versions of Python and of the packages that wrote the file.
        source: Where the weights come from, if bopkit did not train them; empty if it did.
        publisher: Who trained and published them.
        licence: Licence of the weights, as an SPDX identifier.
        published: Figures that the publisher names, which bopkit has not measured, e.g. `{"top1": 0.633}`, 0 to 1.
    """

    architecture: str
    input_shape: tuple[int, int, int]
    value_range: tuple[float, float]
    preprocessing: str
    dataset: str = ""
    class_names: tuple[str, ...] = ()
    hparams_set: str = ""
    hparams: dict[str, Any] = dataclasses.field(default_factory=dict)
    schedule_epochs: int | None = None
    trained: bool = False
    accuracy: dict[str, float] = dataclasses.field(default_factory=dict)
    trained_on: str = ""
    evaluated_on: str = ""
    evaluated_pictures: int = 0
    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    dataset_identity: str = ""
    source: str = ""
    publisher: str = ""
    licence: str = ""
    published: dict[str, float] = dataclasses.field(default_factory=dict)

    __pydantic_config__ = {"coerce_numbers_to_str": True}  # files that others wrote may name classes 0, 1, 2

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_names", tuple(map(str, self.class_names)))

    def to_json(self, sealed: bool = False) -> str:
        """The card as one JSON object; `sealed` for a file with a checksum, which it then mentions."""
        return json.dumps(dataclasses.asdict(self) | ({"checksum": checksum.ENTRY} if sealed else {}))

    @property
    def names_stock_dataset(self) -> bool:
        """Whether opening `dataset` runs code of bopkit and of the installed TFDS only.

        A dotted name imports a module, and a name with a namespace is code that TFDS fetches. A user may type
        such a name; a file from a stranger must not choose what is run. A plain name may be that of a module in the
        working folder too: `open_dataset` has `own_modules=False` for names of cards.
        """
        return re.fullmatch(r"[a-z]\w*(/\w+)?", self.dataset, re.ASCII) is not None

    def stock_dataset(self) -> str:
        """The name of the dataset, where opening it runs no code of the card's choice.

        Raises:
            UsageError: It would.
        """
        if not self.names_stock_dataset:
            raise UsageError(f"The card names the dataset {self.dataset!r}.", "Name its pictures with --dataset.")
        return self.dataset

    @classmethod
    def from_json(cls, text: str) -> ModelCard:
        """Read a card; keys that a later version added are ignored.

        Raises:
            ValueError: `text` is not a card, or a value of it has another type.
        """
        import pydantic

        return pydantic.TypeAdapter(cls).validate_json(text)


def parse_card(text: object, path: Path) -> ModelCard:
    """Read the card's JSON text as found in the file `path`.

    Raises:
        BopkitError: `text` is not a card.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode()
        if not isinstance(text, str) or len(text) > MAX_CONFIG_BYTES:
            raise ValueError(f"it is not JSON text of at most {MAX_CONFIG_BYTES} bytes")
        return ModelCard.from_json(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise BopkitError(f"The model card in {path} is damaged: {first_line(error)}.", DAMAGED) from error
