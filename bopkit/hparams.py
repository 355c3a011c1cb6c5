"""Hyper-parameters: named sets of frozen, typed values, and `--hparams a=1,b=2` on top of them."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal, TypeVar, get_args, get_origin

from pydantic import ConfigDict, Field, ValidationError, create_model, field_validator

from bopkit.errors import UsageError, guess_text
from bopkit.own_optimizer import OwnOptimizer, is_own, load_own_optimizer
from bopkit.schedules import (
    LIMITS,
    MAX_COUNT,
    SCHEDULED,
    SUFFIXES,
    Schedule,
    ScheduleParts,
    check_schedule,
    read_schedule,
    schedule_fields,
)

H = TypeVar("H", bound="HParams")

ALONE = "alone"
"""Validation context of values whose partners are not known yet."""


class HParams(ScheduleParts):
    """Hyper-parameters that every network has. An architecture's own class adds its widths.

    Each name in `SCHEDULED` has those of its schedule beside it, such as `gamma_schedule` and `gamma_end` of `gamma`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    optimizer: Literal["bop", "latent", "bop2nd", "cema", "bold"] = Field(
        "bop",
        description="bop, bop2nd, cema and bold flip binary kernels; latent trains latent weights with Adam; or a "
        "module of yours",
    )
    epochs: int = Field(ge=1, le=MAX_COUNT, description="passes over the training split")
    batch_size: int = Field(ge=1, le=MAX_COUNT, description="pictures per step")
    threshold: float = Field(
        1e-8, ge=0, description="tau of bop and bop2nd: a weight flips where its signal is above it"
    )
    at_zero: Literal["keep", "original"] = Field(
        "keep",
        description="bop, bop2nd: where tau and signal are 0, keep the weight, or make it +1 as the paper's code",
    )
    gamma: float = Field(
        1e-4, gt=0, le=1, description="rate of the moving average of gradients; for cema: of the first average"
    )
    sigma: float = Field(1e-3, gt=0, le=1, description="bop2nd's rate of the moving average of squared gradients")
    moments: Literal["biased", "unbiased"] = Field(
        "biased", description="bop2nd's moving averages as they are, or corrected for their start from zero"
    )
    alpha: float = Field(1e-3, gt=0, le=1, description="rate of cema's second moving average")
    eta: float = Field(1000.0, gt=0, description="bold's rate of accumulation of gradients: a weight flips at 1")
    learning_rate: float = Field(gt=0, description="learning rate of Adam, for all variables that are not flipped")

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

    scheduled: ClassVar[tuple[str, ...]] = SCHEDULED
    """Names of the hyper-parameters that may follow a schedule."""

    own_optimizer: ClassVar[OwnOptimizer | None] = None
    """What the module that `optimizer` names says of it; None for bopkit's own optimizers."""

    without_own: ClassVar[type[HParams] | None] = None
    """The class without the hyper-parameters of `own_optimizer`."""

    @field_validator("*", mode="before")
    @classmethod
    def refuse_truth_values(cls, value: Any) -> Any:
        """True is no number, whatever Python says."""
        if isinstance(value, bool):
            raise ValueError("must be a number or a name")
        return value

    def model_post_init(self, context: Any) -> None:
        """Refuse schedules that contradict each other, unless `context` says that a value is looked at by itself."""
        if context != ALONE:
            for name in self.scheduled:
                check_schedule(name, self)
        super().model_post_init(context)  # of an own optimizer's hyper-parameters

    def schedule(self, name: str) -> Schedule:
        """How a hyper-parameter changes over the run.

        Args:
            name: One of `scheduled`.
        """
        return read_schedule(name, self)


BUILT_IN: dict[str, tuple[str, ...]] = {
    "bop": ("gamma", "threshold", "at_zero"),
    "bop2nd": ("gamma", "threshold", "sigma", "moments", "at_zero"),
    "cema": ("gamma", "alpha"),
    "bold": ("eta",),
    "latent": (),
}
"""The optimizers of bopkit, and which hyper-parameters each has for the binary kernels, besides those of schedules."""


def default_values(kind: type[HParams]) -> dict[str, Any]:
    """The defaults of the hyper-parameters that have one: what a name that an older config lacks stands for."""
    fields = kind.model_fields.items()
    return {name: field.get_default(call_default_factory=True) for name, field in fields if not field.is_required()}


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


def override(hparams: H, values: Mapping[str, Any], alone: bool = False) -> H:
    """A copy of `hparams` with other values, checked.

    Args:
        hparams: A named set.
        values: New values by name, as text or typed; "none" clears an optional one.
        alone: Check each value by itself, not whether they fit each other: some are not known yet.

    Raises:
        UsageError: A name, a type or a range is wrong; all faults in one message. Or schedules contradict each other.
    """
    cleared = {name: None if value == "none" else value for name, value in values.items()}
    kind = _kind_for(type(hparams), cleared.get("optimizer", hparams.optimizer))
    before = {name: value for name, value in hparams.model_dump().items() if name in kind.model_fields}
    try:
        return kind.model_validate({**before, **cleared}, context=ALONE if alone else None)
    except ValidationError as error:
        faults = error.errors()
        listed = "bopkit's" if kind.own_optimizer else "them"
        hint = f"`bopkit hparams MODEL` lists {listed} with their ranges."
        unknown = [str(fault["loc"][0]) for fault in faults if fault["type"] == "extra_forbidden"]
        if unknown:
            guess = guess_text(unknown[0], kind.model_fields) if len(unknown) == 1 else ""
            hint = f"{guess}Known: {_known_names(kind)}. {hint}"
        raise UsageError("; ".join(_fault(fault, kind) for fault in faults) + ".", hint) from error


def _kind_for(kind: type[H], optimizer: Any) -> type[H]:
    """The class of hyper-parameters with an optimizer: it has those of one of the user's own too."""
    plain: Any = kind.without_own or kind
    if not is_own(optimizer, BUILT_IN):
        return plain
    scheduled = [name for name in SCHEDULED if name != "learning_rate"]  # which is Adam's
    own = load_own_optimizer(optimizer, {*plain.model_fields}, scheduled)
    return _with_own(plain, optimizer, own)


@functools.cache
def _with_own(plain: Any, name: str, own: OwnOptimizer) -> Any:
    """A class of hyper-parameters with those of an optimizer of the user's own; the same one for the same optimizer."""
    scheduled = [each for each in own.schedules if each in own.fields]
    schedules = {part: field for each in scheduled for part, field in schedule_fields(each, own.fields[each]).items()}
    chosen: Any = (Literal[(*BUILT_IN, name)], plain.model_fields["optimizer"])
    kind = create_model(plain.__name__, __base__=(plain, own.hparams), optimizer=chosen, **schedules)
    values: dict[str, Any] = {"scheduled": (*plain.scheduled, *scheduled), "own_optimizer": own, "without_own": plain}
    for attribute, value in values.items():
        setattr(kind, attribute, value)
    if kind.model_config != plain.model_config:  # the user's own would let wrong names pass
        kind.model_config = {**kind.model_config, **plain.model_config}
        kind.model_rebuild(force=True)
    return kind


def _fault(fault: Any, kind: type[HParams]) -> str:
    """One fault in one phrase: what was given, and what the value may be."""
    if not fault["loc"]:  # of a check of the user's own on several of them
        return fault["msg"].removeprefix("Value error, ").removesuffix(".")
    name = str(fault["loc"][0])
    if fault["type"] == "extra_forbidden":
        return f"Unknown hyper-parameter {name!r}"
    if fault["type"] == "missing":
        return f"Hyper-parameter {name!r} is missing"
    if fault["type"] == "literal_error":
        own = ", or a Python module in this folder that defines OPTIMIZER" if name == "optimizer" else ""
        return f"Hyper-parameter {name}={fault['input']} must be {_range(name, kind)}{own}"
    if fault["type"] == "value_error":
        what = fault["msg"].removeprefix("Value error, ").removesuffix(".")
    else:
        what = fault["msg"].split(",")[0].replace("Input should be", "must be")
    return f"Hyper-parameter {name}={fault['input']} {what} ({name}: {_range(name, kind)})"


def _range(name: str, kind: type[HParams]) -> str:
    """Type and limits of a field in words: `float, > 0, <= 1`."""
    facts = describe_field(name, kind)
    return ", ".join([facts["type"], *([facts["range"]] if facts["range"] else [])])


def schedule_parts(kind: type[HParams]) -> dict[str, str]:
    """The names that describe a schedule, and of each the hyper-parameter that follows it."""
    return {f"{name}_{suffix}": name for name in kind.scheduled for suffix in SUFFIXES}


def ordered_names(kind: type[HParams]) -> list[str]:
    """All names as a person reads them: the parts of a schedule behind the value that follows it."""
    parts = schedule_parts(kind)
    values = [name for name in kind.model_fields if name not in parts]
    return [each for name in values for each in (name, *(part for part, of in parts.items() if of == name))]


def _known_names(kind: type[HParams]) -> str:
    """All names, those of schedules once for all that follow one."""
    names = [name for name in kind.model_fields if name not in schedule_parts(kind)]
    return f"{', '.join(names)}; and {', '.join(kind.scheduled)} with _{', _'.join(SUFFIXES)}"


def describe_field(name: str, kind: type[HParams]) -> dict[str, Any]:
    """One hyper-parameter: name, type, range, default, description, and the name whose schedule it is a part of.

    The default is None where every set has to give a value.
    """
    field = kind.model_fields[name]
    kind_name = _type_text(field.annotation)
    limits = []
    for limit in field.metadata:
        limits += [f"{sign} {getattr(limit, name)}" for name, sign in LIMITS.items() if hasattr(limit, name)]
    return {
        "name": name,
        "type": kind_name,
        "range": ", ".join(limits),
        "default": None if field.is_required() else field.get_default(call_default_factory=True),
        "description": field.description or "",
        "schedule_of": schedule_parts(kind).get(name),
    }


def _type_text(annotation: Any) -> str:
    """A type in words: `float or none`, `biased or unbiased`."""
    if get_origin(annotation) is Literal:
        return " or ".join(get_args(annotation))
    if annotation is type(None):
        return "none"
    return " or ".join(map(_type_text, get_args(annotation))) or annotation.__name__
