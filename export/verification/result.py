"""What `bopkit verify` found, as plain values: `to_dict` is ready for JSON."""

from __future__ import annotations

import dataclasses
from typing import Any

from bopkit.export.inspection.contents import KernelMatch
from bopkit.export.network.signature import Signature, SignatureTensor
from bopkit.export.report import Accuracy, Agreement
from bopkit.tabular import Column, Tabular, record
from bopkit.text import count_text, percent_text


@dataclasses.dataclass(frozen=True)
class Side:
    """One of the two artifacts.

    Attributes:
        path: Where it lies; of a SavedModel the version directory.
        kind: `keras`, `savedmodel` or `tflite`.
        runtime: What ran it.
        inputs: What it takes.
        outputs: What it answers.
        preprocessing: Name in its card, or by the user where the card has none; empty where nobody said.
        untrained: Whether its card says so.
        has_checksum: Whether it carries a checksum; a wrong one is a failure.
        pictures: What it was shown.
        is_rounded: Whether it is a flatbuffer whose record says that full-precision weights are in fewer bits.
    """

    path: str
    kind: str
    runtime: str
    inputs: tuple[SignatureTensor, ...]
    outputs: tuple[SignatureTensor, ...]
    preprocessing: str
    untrained: bool
    has_checksum: bool
    pictures: str
    is_rounded: bool = False

    @property
    def signature(self) -> Signature:
        """Inputs and outputs together."""
        return Signature(self.inputs, self.outputs)


@dataclasses.dataclass(frozen=True)
class PreprocessingDifference:
    """What the two cards' preprocessings make of the same pictures.

    Attributes:
        largest_difference: Largest absolute difference of two values of the networks' inputs.
        mean_difference: Mean absolute difference.
    """

    largest_difference: float
    mean_difference: float


@dataclasses.dataclass(frozen=True, repr=False)
class Verification(Tabular):
    """What `verify_artifacts` found.

    Attributes:
        first: The reference; None where it could not be run.
        second: The other; None where it could not be run.
        kernels: Every binary kernel of the file with more of them, and its partner in the other.
        preprocessing: Difference of the inputs; None where the shapes differ, one did not run, or they do not take one
            picture: only that is preprocessed.
        model: Both shown what the first one's preprocessing makes: the difference of the networks alone, one an output;
            empty where nothing was compared.
        noise: Both shown uniform noise.
        deployed: Each shown what its own card's preprocessing makes: what a user of the two sees.
        failures: One sentence each; empty if the artifacts agree.
        accuracy: Of both on labelled pictures, each with its own preprocessing; None where there are no labels.
        undecided: Whether an untrained network answers some pictures otherwise, and nothing shows whether by near-ties
            alone; or an output of the first one is the same for all that it was shown; or weights are in fewer bits and
            there are no labels to measure what that costs; or the classes are the same and many scores are not.
        notes: What the reader should know, one sentence each.
    """

    first: Side | None
    second: Side | None
    kernels: tuple[KernelMatch, ...]
    preprocessing: PreprocessingDifference | None
    model: tuple[Agreement, ...]
    noise: tuple[Agreement, ...]
    deployed: tuple[Agreement, ...]
    failures: tuple[str, ...]
    notes: tuple[str, ...]
    accuracy: Accuracy | None = None
    undecided: bool = False

    _columns = (
        Column("compared", "compared"),
        Column("top-1 agrees", "top1", percent_text),
        Column("within tolerance", "within_tolerance", percent_text),
        Column("largest difference", "largest_difference", "{:.1e}".format),
        Column("pictures", "pictures"),
        Column("output", "output"),
    )

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return not self.failures

    @property
    def verdict(self) -> str:
        """What came of it, in one sentence."""
        if not self.passed:
            return f"{count_text(len(self.failures), 'failure')}."
        if self.undecided:
            return "Nothing was found wrong, but not everything could be decided."
        return "The artifacts agree."

    @property
    def agreements(self) -> list[tuple[str, Agreement]]:
        """All that was compared, each with what both were shown."""
        shown = {
            "same inputs": self.model,
            "noise": self.noise,
            "each with its own preprocessing": self.deployed,
        }
        return [(what, agreement) for what, agreements in shown.items() for agreement in agreements]

    def _title(self) -> str:
        return " ".join([self.verdict, *self.failures[:1]])

    def _records(self) -> list[dict[str, Any]]:
        return [{"compared": what, **record(agreement)} for what, agreement in self.agreements]

    def to_dict(self) -> dict[str, Any]:
        """The verification as dictionaries, lists, strings and numbers."""
        return {"passed": self.passed, **dataclasses.asdict(self)}
