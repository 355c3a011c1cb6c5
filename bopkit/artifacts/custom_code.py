"""A user's own code that a model file needs: to name its module with `--custom` is to trust it."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bopkit.errors import UsageError
from bopkit.keras2 import import_tensorflow
from bopkit.own_code import import_file, import_module


@dataclasses.dataclass(frozen=True)
class CustomCode:
    """Classes and functions that a model file may name besides those of Keras and larq.

    Attributes:
        objects: Classes and functions by every name that a file may give them.
        modules: Names of the modules that define them.
    """

    objects: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    modules: frozenset[str] = frozenset()


NO_CUSTOM_CODE = CustomCode()
"""No code but that of Keras and larq."""


def import_custom_code(modules: Iterable[str]) -> CustomCode:
    """Import modules and collect the public classes and functions that they, or their packages, define.

    What a module merely imports (`from os import system`) stays out of a model file's reach.

    Args:
        modules: Names, dotted or plain, which are searched in the working directory too, or paths of `.py` files.

    Returns:
        The objects by their own names, and by those under which they are registered with Keras or larq.

    Raises:
        UsageError: There is no such module or file, or it defines no public class or function.
        BopkitError: A module does not import.
    """
    objects: dict[str, Any] = {}
    names: set[str] = set()
    for name in modules:
        import_tensorflow()  # the module may use tf.keras, which has to be Keras 2
        is_file = name.endswith(".py")
        public = _public_objects(import_file(Path(name), "--custom") if is_file else import_module(name, "--custom"))
        if not public:
            raise UsageError(f"Module {name!r} defines no public class or function.", "Name the one that does.")
        objects |= public
        names |= _names_of_file(Path(name)) if is_file else set()
    if objects:
        ours = {id(each) for each in objects.values()}
        registered = import_tensorflow().keras.utils.get_custom_objects()
        objects |= {name: each for name, each in registered.items() if id(each) in ours}
    return CustomCode(objects, frozenset(names | {each.__module__ for each in objects.values()}))


def _names_of_file(path: Path) -> set[str]:
    """The names by which a model file may know the module: imported from any folder above it."""
    parts = path.resolve().with_suffix("").parts[1:]
    return {".".join(parts[first:]) for first in range(len(parts))}


def _public_objects(module: Any) -> dict[str, Any]:
    package = module.__name__.partition(".")[0]
    return {
        name: each
        for name, each in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(each) or inspect.isfunction(each))
        and each.__module__.partition(".")[0] == package
    }
