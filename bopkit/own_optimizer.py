"""An optimizer of the user's own for binary kernels: what its module says of it, and its hyper-parameters.

`--hparams optimizer=my_optimizer` names a module that defines `OPTIMIZER`, an `OwnOptimizer`. Its hyper-parameters then
are names beside bopkit's: in `--hparams`, in the config and in the model card. docs/optimizers.md shows one.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from bopkit.errors import BopkitError
from bopkit.own_code import module_here
from bopkit.registry import Registry
from bopkit.schedules import SUFFIXES

OPTIMIZERS = Registry("optimizer", "OPTIMIZER", "bopkit hparams MODEL", "docs/optimizers.md shows one.")
"""Modules of the user's; bopkit's own optimizers are the choices of the hyper-parameter `optimizer`."""

_OF_ROWS = frozenset(
    "kind step epoch loss top1 top5 val_loss val_top1 val_top5 flip_ratio layers".split()
    + ["images_per_second", "epoch_seconds"]
)
"""What rows of metrics.jsonl have beside the values of hyper-parameters."""

_TYPES = (float, int, str, type(None))


@dataclasses.dataclass(frozen=True, eq=False)  # one is the same as itself: what is in it may have no hash
class OwnOptimizer:
    """What a module says of its optimizer.

    Attributes:
        make: Makes the optimizer of the marked kernels, once a run: a legacy Keras optimizer, as those that derive from
            `bopkit.optim.FlippingOptimizer` are. It is called with the hyper-parameters by name: those of `hparams`,
            and those of bopkit that `schedules` names. One that follows a schedule is a Keras schedule.
        hparams: A pydantic model whose fields are the hyper-parameters, with their types (float, int, str, a Literal of
            texts, or any of these or None), defaults, ranges and descriptions.
        schedules: The hyper-parameters that may follow a schedule: floats of `hparams`, and any of bopkit's
            `gamma`, `threshold`, `sigma`, `alpha` and `eta` that the optimizer uses.
    """

    make: Callable[[Mapping[str, Any]], Any]
    hparams: type[BaseModel] = BaseModel
    schedules: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Take one name, or a list of names, for the tuple."""
        names = (self.schedules,) if isinstance(self.schedules, str) else tuple(self.schedules)
        object.__setattr__(self, "schedules", names)

    @property
    def fields(self) -> dict[str, FieldInfo]:
        """The fields of its own hyper-parameters."""
        return dict(self.hparams.model_fields)


def is_own(name: object, built_in: Iterable[str]) -> bool:
    """Whether a name is that of a module, rather than a wrong name of a built-in optimizer."""
    if not isinstance(name, str) or name in built_in:
        return False
    parts = name.split(".")
    return module_here(name) is not None or (len(parts) > 1 and all(part.isidentifier() for part in parts))


def load_own_optimizer(name: str, taken: Iterable[str], scheduled: Iterable[str]) -> OwnOptimizer:
    """The `OPTIMIZER` of a module.

    Args:
        name: The module.
        taken: Names of the hyper-parameters that are there without it.
        scheduled: Those of them that its optimizer may use.

    Raises:
        UsageError: There is no such module, or it defines no `OPTIMIZER`.
        BopkitError: What it defines is none, or its hyper-parameters cannot be.
    """
    own = OPTIMIZERS.load(name)
    if not isinstance(own, OwnOptimizer):
        raise _wrong(f"OPTIMIZER of {name} is {_kind(own)}, not a bopkit.optim.OwnOptimizer.")
    if not callable(own.make):
        raise _wrong(f"`make` of {name} is {_kind(own.make)}, not a function.")
    if not (isinstance(own.hparams, type) and issubclass(own.hparams, BaseModel)):
        raise _wrong(f"`hparams` of {name} is {_kind(own.hparams)}, not a class derived from pydantic's BaseModel.")
    for field, info in own.fields.items():
        if field in taken or field in _OF_ROWS:
            what = "has a hyper-parameter" if field in taken else "writes a figure"
            uses = f"Name {field} in `schedules` to use that one, or" if field in scheduled else "Please"
            raise _wrong(f"{name} defines {field}, and bopkit {what} of that name.", f"{uses} choose another name.")
        if not _is_plain(info.annotation):
            raise _wrong(f"The hyper-parameter {field} of {name} is no float, int, str or Literal of texts.")
    for field in own.schedules:
        if field not in own.fields and field not in scheduled:
            raise _wrong(f"`schedules` of {name} has {field!r}, which is no hyper-parameter of a kernel's optimizer.")
        if field in own.fields and own.fields[field].annotation is not float:
            raise _wrong(f"{field} of {name} is no float, and only floats follow schedules.")
        for part in (f"{field}_{suffix}" for suffix in SUFFIXES):
            if part in own.fields:
                raise _wrong(f"{name} defines {part}, which bopkit adds for the schedule of {field}.", "Leave it out.")
    return own


def make_own_optimizer(name: str, own: OwnOptimizer, values: Mapping[str, Any], base: Any) -> Any:
    """Call `make`.

    Args:
        name: The module.
        own: What it defines.
        values: Its hyper-parameters; numbers, texts, and Keras schedules.
        base: The class that a legacy Keras optimizer derives from.

    Raises:
        BopkitError: It returned something else.
    """
    made = own.make(values)
    if not isinstance(made, base):
        raise _wrong(
            f"`make` of {name} returned {_kind(made)}, not a legacy Keras optimizer.",
            "Return an object of a class that derives from bopkit.optim.FlippingOptimizer.",
        )
    return made


def _is_plain(annotation: Any) -> bool:
    """Whether a type is that of plain values that a person types and a config holds."""
    if get_origin(annotation) is Literal:
        return all(isinstance(each, str) for each in get_args(annotation))
    if get_origin(annotation) in (Union, types.UnionType):
        return all(map(_is_plain, get_args(annotation)))
    return annotation in _TYPES


def _kind(value: Any) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__


def _wrong(message: str, hint: str = "docs/optimizers.md shows one.") -> BopkitError:
    return BopkitError(message, hint)
