"""What a sweep varies: lists of values and ranges, read from text and checked before anything starts.

`gamma=1e-2|1e-3` is a list, `filters=16..128` a range, `threshold=log:1e-8..1e-5` a range searched by its logarithm.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

from bopkit.errors import UsageError, unknown_name
from bopkit.hparams import HParams, override

_HINT = "Write name=a|b for values, name=low..high or name=log:low..high for a range, and quote it for the shell."


@dataclasses.dataclass(frozen=True)
class Choices:
    """A hyper-parameter that takes one of a few values."""

    values: tuple[Any, ...]

    def describe(self) -> list[Any]:
        """Plain JSON value."""
        return list(self.values)


@dataclasses.dataclass(frozen=True)
class Range:
    """A hyper-parameter that takes any value of a range, ends included.

    Attributes:
        low: Smallest value.
        high: Largest value.
        log: Whether its logarithm is drawn evenly, not the value itself; low is then above 0.
        whole: Whether it takes whole numbers only.
    """

    low: float
    high: float
    log: bool
    whole: bool

    def describe(self) -> dict[str, Any]:
        """Plain JSON value."""
        return dataclasses.asdict(self)


Space = Mapping[str, Choices | Range]
Point = dict[str, Any]


def split_options(texts: Iterable[str], option: str) -> dict[str, str]:
    """Split `name=values` texts of a repeated option into names and values, still as text.

    Raises:
        UsageError: A text has no `=`, or a name comes twice.
    """
    found: dict[str, str] = {}
    for text in (part.strip() for each in texts for part in each.split(",") if part.strip()):
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not name or not value:
            raise UsageError(f"{text!r} in {option} has no `name=values`.", _HINT)
        if name in found:
            raise UsageError(f"Hyper-parameter {name!r} is given twice in {option}.", "Leave one of the two out.")
        found[name] = value
    return found


def read_space(texts: Mapping[str, str], base: HParams) -> dict[str, Choices | Range]:
    """Read and check what each hyper-parameter may be.

    Args:
        texts: Values by name: `1e-2|1e-3`, `16..128` or `log:1e-8..1e-5`.
        base: The set that they are laid over.

    Raises:
        UsageError: A name is unknown, a range is none, a value is not allowed or comes twice.
    """
    for name in texts:
        if name not in type(base).model_fields:
            raise unknown_name("hyper-parameter", name, type(base).model_fields, "bopkit hparams MODEL")
    return {
        name: _read_range(name, text, base) if ".." in text else _read_choices(name, text, base)
        for name, text in texts.items()
    }


def _read_choices(name: str, text: str, base: HParams) -> Choices:
    parts = [part.strip() for part in text.split("|")]
    if not all(parts):
        raise UsageError(f"{name}={text} has an empty value.", _HINT)
    values = tuple(_typed(name, part, base) for part in parts)
    if len(set(values)) != len(values):
        raise UsageError(f"{name}={text} names a value twice.", "Leave one of the two out.")
    return Choices(values)


def _read_range(name: str, text: str, base: HParams) -> Range:
    log = text.startswith("log:")
    low_text, _, high_text = text.removeprefix("log:").partition("..")
    kinds = _kinds(name, base)
    if not kinds & {int, float}:
        raise UsageError(f"{name}={text}: {name} is not a number and has no range.", "List its values: name=a|b.")
    low, high = _typed(name, low_text.strip(), base), _typed(name, high_text.strip(), base)
    if low is None or high is None:
        raise UsageError(f"{name}={text} is not a range.", _HINT)
    if not low < high:
        raise UsageError(f"{name}={text} is not a range: {low} is not below {high}.", _HINT)
    if log and low <= 0:
        raise UsageError(f"{name}={text}: a logarithmic range begins above 0.", "Leave out log:, or raise its low end.")
    return Range(low, high, log, whole=float not in kinds)


def _kinds(name: str, base: HParams) -> set[Any]:
    """The types that a field takes: {float, NoneType} of `float | None`."""
    annotation: Any = type(base).model_fields[name].annotation
    return set(get_args(annotation)) or {annotation}


def _typed(name: str, text: str, base: HParams) -> Any:
    """The value that a text stands for, checked by itself: what belongs together is checked point by point."""
    return getattr(override(base, {name: text}, alone=True), name)


def grid_points(space: Space) -> list[Point]:
    """All combinations of a grid, the last name changing fastest.

    Raises:
        UsageError: The space holds a range.
    """
    lists: dict[str, Sequence[Any]] = {}
    for name, values in space.items():
        if isinstance(values, Range):
            raise UsageError(f"{name} is a range, and a grid has values only.", f"List them: --grid '{name}=a|b'.")
        lists[name] = values.values
    return [dict(zip(lists, point, strict=True)) for point in itertools.product(*lists.values())]


def check_space(space: Space, base: HParams) -> None:
    """Make sure that the corners of a search space are allowed together.

    Raises:
        UsageError: They are not.
    """
    for end in (0, -1):
        corner = {
            name: values.values[end] if isinstance(values, Choices) else (values.low, values.high)[end]
            for name, values in space.items()
        }
        override(base, corner)
