"""Hyper-parameters: named sets of frozen, typed values, and `--hparams a=1,b=2` on top of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from bopkit.errors import UsageError

H = TypeVar("H", bound="HParams")

MAX_COUNT = 1_000_000
"""Largest number of epochs, pictures or filters: beyond it a typing error is likelier than a wish."""


class HParams(BaseModel):
    """Hyper-parameters that every network has. An architecture's own class adds its widths.

    Schedules run over the steps of the whole run: `*_end` goes linearly to that value at their end;
    `gamma_decay_rate` multiplies gamma every `gamma_decay_epochs` epochs (staircase). Without either, constant.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    optimizer: Literal["bop", "latent", "bop2nd", "cema"] = Field(
        "bop", description="bop, bop2nd and cema flip binary kernels; latent trains latent weights with Adam"
    )
    epochs: int = Field(ge=1, le=MAX_COUNT, description="passes over the training split")
    batch_size: int = Field(ge=1, le=MAX_COUNT, description="pictures per step")
    threshold: float = Field(
        1e-8, ge=0, description="tau of bop and bop2nd: a weight flips where its signal is above it"
    )
    threshold_end: float | None = Field(None, ge=0, description="tau at the end of the run, linear")
    at_zero: Literal["keep", "original"] = Field(
        "keep",
        description="bop, bop2nd: where tau and signal are 0, keep the weight, or make it +1 as the paper's code",
    )
    gamma: float = Field(
        1e-4, gt=0, le=1, description="rate of the moving average of gradients; for cema: of the first average"
    )
    gamma_end: float | None = Field(None, gt=0, le=1, description="gamma at the end of the run, linear decay")
    gamma_decay_rate: float | None = Field(None, gt=0, le=1, description="factor of a staircase decay of gamma")
    gamma_decay_epochs: int | None = Field(None, ge=1, le=MAX_COUNT, description="epochs per step of the staircase")
    sigma: float = Field(1e-3, gt=0, le=1, description="bop2nd's rate of the moving average of squared gradients")
    sigma_end: float | None = Field(None, gt=0, le=1, description="sigma at the end of the run, linear")
    moments: Literal["biased", "unbiased"] = Field(
        "biased", description="bop2nd's moving averages as they are, or corrected for their start from zero"
    )
    alpha: float = Field(1e-3, gt=0, le=1, description="rate of cema's second moving average")
    alpha_end: float | None = Field(None, gt=0, le=1, description="alpha at the end of the run, linear")
    learning_rate: float = Field(gt=0, description="learning rate of Adam, for all variables that are not flipped")
    learning_rate_end: float | None = Field(
        None, gt=0, description="learning rate of Adam at the end of the run, linear decay"
    )

    # The recipe: what is done to pictures and labels in training. Each is off unless it is set.
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of each label that all classes get alike")
    mixup: float = Field(0.0, ge=0, le=100, description="alpha of the Beta distribution of mixup's shares; 0 is off")
    cutmix: float = Field(
        0.0, ge=0, le=100, description="the same of cutmix; with both, each picture is mixed in one of the two ways"
    )
    random_erasing: float = Field(0.0, ge=0, le=1, description="share of pictures that lose a random rectangle")
    randaugment_count: int = Field(0, ge=0, le=20, description="operations of RandAugment a picture; 0 is off")
    randaugment_magnitude: float = Field(5.0, ge=0, le=10, description="mean strength of RandAugment's operations")
    class_weights: Literal["balanced"] | None = Field(
        None, description="balanced: each class counts by the inverse of its number of training pictures"
    )
    teacher_weight: float = Field(
        1.0, ge=0, le=1, description="weight of what the teachers of --teacher say; the labels have the rest"
    )
    teacher_temperature: float = Field(
        1.0, gt=0, le=100, description="temperature of the softmax of teachers and network where they are compared"
    )

    @field_validator("*", mode="before")
    @classmethod
    def refuse_truth_values(cls, value: Any) -> Any:
        """True is no number, whatever Python says."""
        if isinstance(value, bool):
            raise ValueError("must be a number or a name")
        return value

    def model_post_init(self, context: Any) -> None:
        """Refuse schedules that contradict each other."""
        if (self.gamma_decay_rate is None) != (self.gamma_decay_epochs is None):
            raise UsageError("gamma_decay_rate and gamma_decay_epochs belong together.", "Set both or neither.")
        if self.gamma_end is not None and self.gamma_decay_rate is not None:
            raise UsageError("gamma_end and gamma_decay_rate are two schedules of gamma.", "Set one of them.")


def parse_overrides(texts: Iterable[str]) -> dict[str, str]:
    """Split `a=1,b=2` into names and values, still as text.

    Raises:
        UsageError: A part has no `=`, or a name comes twice.
    """
    overrides: dict[str, str] = {}
    for part in (part.strip() for text in texts for part in text.split(",") if part.strip()):
        name, equals, value = part.partition("=")
        if not equals or not name.strip():
            raise UsageError(
                f"{part!r} in --hparams has no `name=value`.", "Write for instance --hparams epochs=2,gamma=1e-3."
            )
        if name.strip() in overrides:
            raise UsageError(f"Hyper-parameter {name.strip()!r} is given twice.", "Leave one of the two out.")
        overrides[name.strip()] = value.strip()
    return overrides


def override(hparams: H, values: Mapping[str, Any]) -> H:
    """A copy of `hparams` with other values, checked.

    Args:
        hparams: A named set.
        values: New values by name, as text or typed; "none" clears an optional one.

    Raises:
        UsageError: A name, a type or a range is wrong; all faults in one message.
    """
    cleared = {name: None if value == "none" else value for name, value in values.items()}
    return checked(type(hparams), {**hparams.model_dump(), **cleared})


def checked(kind: type[H], values: Mapping[str, Any]) -> H:
    """Make hyper-parameters from plain values.

    Raises:
        UsageError: A name, a type or a range is wrong; all faults in one message.
    """
    try:
        return kind(**values)
    except ValidationError as error:
        raise UsageError("; ".join(_fault(fault, kind) for fault in error.errors()) + ".", _hint(kind)) from error


def _fault(fault: Any, kind: type[HParams]) -> str:
    """One fault in one phrase: what was given, and what the value may be."""
    name = str(fault["loc"][0])
    if fault["type"] == "extra_forbidden":
        return f"Unknown hyper-parameter {name!r}"
    if fault["type"] == "missing":
        return f"Hyper-parameter {name!r} is missing"
    what = fault["msg"].split(",")[0].replace("Input should be", "must be")
    return f"Hyper-parameter {name}={fault['input']} {what} ({name}: {_range(name, kind)})"


def _range(name: str, kind: type[HParams]) -> str:
    """Type and limits of a field in words: `float, > 0, <= 1`."""
    facts = describe_field(name, kind)
    return ", ".join([facts["type"], *([facts["range"]] if facts["range"] else [])])


def _hint(kind: type[HParams]) -> str:
    return f"Known: {', '.join(kind.model_fields)}. `bopkit hparams MODEL` lists them with their ranges."


def describe_field(name: str, kind: type[HParams]) -> dict[str, Any]:
    """Name, type, range, default and description of one hyper-parameter; None where every set has to give a value."""
    field = kind.model_fields[name]
    annotation: Any = field.annotation
    choices = get_args(annotation)
    if get_origin(annotation) is Literal:
        kind_name = " or ".join(choices)
    else:
        kind_name = " or ".join(_type_name(each) for each in choices or [annotation])
    limits = []
    for limit in field.metadata:
        for attribute, sign in (("gt", ">"), ("ge", ">="), ("lt", "<"), ("le", "<=")):
            if hasattr(limit, attribute):
                limits.append(f"{sign} {getattr(limit, attribute)}")
    return {
        "name": name,
        "type": kind_name,
        "range": ", ".join(limits),
        "default": None if field.is_required() else field.default,
        "description": field.description or "",
    }


def _type_name(kind: Any) -> str:
    """What users type of one of the types that a field may have."""
    if kind is type(None):
        return "none"
    return " or ".join(get_args(kind)) if get_origin(kind) is Literal else kind.__name__
