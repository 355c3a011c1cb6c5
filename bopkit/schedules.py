"""How a hyper-parameter changes over a run: the hyper-parameters that say so, and what they say together.

A hyper-parameter X that follows a schedule has five more beside it: `X_schedule`, `X_end`, `X_decay_rate`,
`X_decay_epochs` and `X_warmup_epochs`. Here they are plain values; `bopkit.optim.schedules` makes them Keras schedules.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from pydantic import BaseModel, Field
from pydantic.fields import FieldInfo

from bopkit.errors import UsageError
from bopkit.text import count_text, setting_text

Kind = Literal["constant", "linear", "staircase", "cosine", "exponential"]

OVER_WHOLE_RUN = ("linear", "cosine", "exponential")
"""Kinds that are stretched over the length of the run."""

SUFFIXES = ("schedule", "end", "decay_rate", "decay_epochs", "warmup_epochs")
"""What follows the name of a hyper-parameter in those that describe its schedule."""

LIMITS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
"""The limits that a field may have, and their signs."""

MAX_COUNT = 1_000_000
"""Largest number of epochs, pictures or filters: beyond it a typing error is likelier than a wish."""


@dataclasses.dataclass(frozen=True)
class Schedule:
    """The way of one hyper-parameter over a run.

    Attributes:
        kind: What follows the warm-up. Those in `OVER_WHOLE_RUN` take all of the rest of the run and come to `end` with
            it; `staircase` multiplies by `decay_rate` every `decay_epochs` epochs after the warm-up.
        start: The value itself.
        end: Of those in `OVER_WHOLE_RUN`; else `start`.
        decay_rate: Of `staircase`; else 1.
        decay_epochs: Of `staircase`; else 1.
        warmup_epochs: Epochs in which it rises in equal steps from the first part of `start` to `start`; 0 for none.
    """

    kind: Kind
    start: float
    end: float
    decay_rate: float
    decay_epochs: int
    warmup_epochs: int

    @property
    def takes_whole_run(self) -> bool:
        """Whether it is stretched over the length of the run."""
        return self.kind in OVER_WHOLE_RUN


def schedule_field(name: str, suffix: str, **limits: Any) -> Any:
    """The field of one of the five hyper-parameters that a schedule has.

    Args:
        name: The hyper-parameter that follows the schedule.
        suffix: One of `SUFFIXES`.
        limits: Those of the value at the end of the run.
    """
    descriptions = {
        "schedule": f"how {name} changes; none: as the settings below tell",
        "end": f"{name} at the end of the run, linear, cosine or exponential",
        "decay_rate": f"factor per step of a staircase of {name}",
        "decay_epochs": "epochs per step of that staircase",
        "warmup_epochs": f"epochs in which {name} first rises evenly to its value",
    }
    fixed = {
        "decay_rate": {"gt": 0, "le": 1},
        "decay_epochs": {"ge": 1, "le": MAX_COUNT},
        "warmup_epochs": {"ge": 0, "le": MAX_COUNT},
    }
    return Field(None, description=descriptions[suffix], **{**fixed.get(suffix, {}), **limits})


class ScheduleParts(BaseModel):
    """The five of every hyper-parameter of bopkit that may follow a schedule."""

    learning_rate_schedule: Kind | None = schedule_field("learning_rate", "schedule")
    learning_rate_end: float | None = schedule_field("learning_rate", "end", gt=0)
    learning_rate_decay_rate: float | None = schedule_field("learning_rate", "decay_rate")
    learning_rate_decay_epochs: int | None = schedule_field("learning_rate", "decay_epochs")
    learning_rate_warmup_epochs: int | None = schedule_field("learning_rate", "warmup_epochs")
    gamma_schedule: Kind | None = schedule_field("gamma", "schedule")
    gamma_end: float | None = schedule_field("gamma", "end", gt=0, le=1)
    gamma_decay_rate: float | None = schedule_field("gamma", "decay_rate")
    gamma_decay_epochs: int | None = schedule_field("gamma", "decay_epochs")
    gamma_warmup_epochs: int | None = schedule_field("gamma", "warmup_epochs")
    threshold_schedule: Kind | None = schedule_field("threshold", "schedule")
    threshold_end: float | None = schedule_field("threshold", "end", ge=0)
    threshold_decay_rate: float | None = schedule_field("threshold", "decay_rate")
    threshold_decay_epochs: int | None = schedule_field("threshold", "decay_epochs")
    threshold_warmup_epochs: int | None = schedule_field("threshold", "warmup_epochs")
    sigma_schedule: Kind | None = schedule_field("sigma", "schedule")
    sigma_end: float | None = schedule_field("sigma", "end", gt=0, le=1)
    sigma_decay_rate: float | None = schedule_field("sigma", "decay_rate")
    sigma_decay_epochs: int | None = schedule_field("sigma", "decay_epochs")
    sigma_warmup_epochs: int | None = schedule_field("sigma", "warmup_epochs")
    alpha_schedule: Kind | None = schedule_field("alpha", "schedule")
    alpha_end: float | None = schedule_field("alpha", "end", gt=0, le=1)
    alpha_decay_rate: float | None = schedule_field("alpha", "decay_rate")
    alpha_decay_epochs: int | None = schedule_field("alpha", "decay_epochs")
    alpha_warmup_epochs: int | None = schedule_field("alpha", "warmup_epochs")
    eta_schedule: Kind | None = schedule_field("eta", "schedule")
    eta_end: float | None = schedule_field("eta", "end", gt=0)
    eta_decay_rate: float | None = schedule_field("eta", "decay_rate")
    eta_decay_epochs: int | None = schedule_field("eta", "decay_epochs")
    eta_warmup_epochs: int | None = schedule_field("eta", "warmup_epochs")


SCHEDULED = ("learning_rate", "gamma", "threshold", "sigma", "alpha", "eta")
"""The hyper-parameters of bopkit that may follow a schedule."""


def schedule_fields(name: str, value: FieldInfo) -> dict[str, Any]:
    """The same five of another hyper-parameter, for `pydantic.create_model`.

    Args:
        name: The hyper-parameter that follows a schedule.
        value: Its field: a float whose limits those at the end of the run have too.
    """
    limits = {sign: getattr(each, sign) for each in value.metadata for sign in LIMITS if hasattr(each, sign)}
    kinds: dict[str, Any] = {"schedule": Kind, "decay_epochs": int, "warmup_epochs": int}
    fields = {suffix: schedule_field(name, suffix, **limits if suffix == "end" else {}) for suffix in SUFFIXES}
    return {f"{name}_{suffix}": (kinds.get(suffix, float) | None, field) for suffix, field in fields.items()}


def read_schedule(name: str, values: Any) -> Schedule:
    """The schedule that hyper-parameters describe which `check_schedule` has found nothing wrong with.

    Args:
        name: The hyper-parameter that follows it.
        values: Has `name` and the five beside it as attributes.
    """
    start, end = getattr(values, name), getattr(values, f"{name}_end")
    decay_rate = getattr(values, f"{name}_decay_rate")
    found: Kind = "linear" if end is not None else "constant" if decay_rate is None else "staircase"
    return Schedule(
        kind=getattr(values, f"{name}_schedule") or found,
        start=start,
        end=start if end is None else end,
        decay_rate=decay_rate or 1.0,
        decay_epochs=getattr(values, f"{name}_decay_epochs") or 1,
        warmup_epochs=getattr(values, f"{name}_warmup_epochs") or 0,
    )


def check_schedule(name: str, values: Any) -> None:
    """Refuse hyper-parameters that describe no schedule.

    Args:
        name: The hyper-parameter that follows it.
        values: Has `name`, the five beside it, and `epochs` as attributes.

    Raises:
        UsageError: They contradict each other, or one is missing.
    """
    parts = {part: getattr(values, f"{name}_{part}") for part in ("end", "decay_rate", "decay_epochs")}
    kind = getattr(values, f"{name}_schedule")
    if (parts["decay_rate"] is None) != (parts["decay_epochs"] is None):
        raise UsageError(f"{name}_decay_rate and {name}_decay_epochs belong together.", "Set both or neither.")
    if parts["end"] is not None and parts["decay_rate"] is not None:
        raise UsageError(
            f"{name}_end and {name}_decay_rate are two schedules of {name}.",
            f"Clear one: add {name}_end=none, or {name}_decay_rate=none,{name}_decay_epochs=none.",
        )
    if kind is not None:
        _check_kind(name, kind, parts, values)
    warmup_epochs = getattr(values, f"{name}_warmup_epochs")
    if warmup_epochs and warmup_epochs >= values.epochs:
        raise UsageError(
            f"{name}_warmup_epochs={warmup_epochs} leaves nothing of {count_text(values.epochs, 'epoch')} for {name} "
            "itself.",
            f"Train for more epochs, or shorten it: {name}_warmup_epochs=none is none at all.",
        )


_PARTS: dict[str, tuple[str, ...]] = {
    "constant": (),
    "staircase": ("decay_rate", "decay_epochs"),
    **{kind: ("end",) for kind in OVER_WHOLE_RUN},
}
"""What each kind needs, and takes, besides the value itself."""


def _check_kind(name: str, kind: str, parts: dict[str, Any], values: Any) -> None:
    """Refuse a kind of schedule with too little or too much beside it."""
    missing = [f"{name}_{part}" for part in _PARTS[kind] if parts[part] is None]
    if missing:
        start = getattr(values, name)
        examples = {"end": start / 100, "decay_rate": 0.1, "decay_epochs": max(values.epochs // 3, 1)}
        shown = ",".join(setting_text(f"{name}_{part}", examples[part]) for part in _PARTS[kind])
        raise UsageError(
            f"{name}_schedule={kind} needs {' and '.join(missing)}.",
            f"Add for instance {shown}, or {name}_schedule=none.",
        )
    unused = [f"{name}_{part}" for part, value in parts.items() if value is not None and part not in _PARTS[kind]]
    if unused:
        raise UsageError(
            f"{name}_schedule={kind} takes no {' and no '.join(unused)}.",
            f"Add {','.join(f'{each}=none' for each in unused)}, or {name}_schedule=none.",
        )
    if kind == "exponential" and not (getattr(values, name) > 0 and parts["end"] > 0):
        raise UsageError(
            f"{name}_schedule=exponential multiplies, and {name} or {name}_end is 0.",
            f"Use values above 0, or {name}_schedule=linear.",
        )
