"""Names a user types, and the modules behind them.

A registry holds strings only, so that listing names imports nothing. A module is imported when its name is asked
for. A dotted name that is not registered (`my_package.my_network`) is imported as it stands: that is how a user
adds a model or a dataset without touching bopkit.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bopkit import own_code
from bopkit.errors import BopkitError, UsageError, first_line, unknown_name

FILE_ENDINGS = (".h5", ".keras", ".tflite", ".py")
"""Endings of files that users name by mistake: `good.h5` would read as a dotted name."""


class Registry:
    """Maps names and their aliases to dotted module names.

    Args:
        kind: What the names stand for, in error messages: "model".
        attribute: The object that every registered module defines: "ARCHITECTURE".
        command: The command that lists the names.
    """

    def __init__(self, kind: str, attribute: str, command: str):
        self.kind = kind
        self.attribute = attribute
        self.command = command
        self._modules: dict[str, str] = {}
        self._aliases: dict[str, str] = {}

    def register(self, name: str, module: str, aliases: Iterable[str] = ()) -> None:
        """Add a name; a second owner of a name is an error, since one of the two would be lost."""
        for each in (name, *aliases):
            owner = self._modules.get(self._aliases.get(each, each))
            if owner is not None:
                raise ValueError(f"{self.kind} {each!r} of {module} is already registered by {owner}")
        self._modules[name] = module
        self._aliases.update(dict.fromkeys(aliases, name))

    def __contains__(self, name: str) -> bool:
        """Whether a name or an alias is registered."""
        return self._aliases.get(name, name) in self._modules

    def names(self) -> list[str]:
        """Registered names in the order of registration, without aliases."""
        return list(self._modules)

    def aliases(self, name: str) -> list[str]:
        """Other names for `name`."""
        return [alias for alias, target in self._aliases.items() if target == name]

    def load(self, name: str) -> Any:
        """Import the module behind a name, an alias or a dotted name, and return its object.

        Raises:
            UsageError: The name is unknown, or the module lacks the object.
        """
        module_name = self._modules.get(self._aliases.get(name, name))
        if module_name is None:
            if Path(name).suffix in FILE_ENDINGS:
                raise UsageError(
                    f"{name} is a file; this takes the name of a {self.kind}.", f"List the names with `{self.command}`."
                )
            if "." not in name or not all(part.isidentifier() for part in name.split(".")):
                raise unknown_name(self.kind, name, [*self._modules, *self._aliases], self.command)
            module_name = name
        hint = f"Run from the folder that holds it, or list the {self.kind}s with `{self.command}`."
        module = import_module(module_name, f"{self.kind} {name!r}", hint)
        if not hasattr(module, self.attribute):
            raise UsageError(f"Module {module_name!r} defines no {self.attribute}.", "The README shows an example.")
        return getattr(module, self.attribute)


def import_module(
    module_name: str, purpose: str, hint: str = "Run from the folder that holds it, or install it."
) -> Any:
    """Import a module that the user named.

    Args:
        module_name: Its dotted name.
        purpose: What it is for, in the message.
        hint: What to type if there is none.

    Raises:
        UsageError: There is no such module.
        BopkitError: It does not import.
    """
    try:
        return _import(module_name)
    except ModuleNotFoundError as error:
        if error.name and module_name.startswith(error.name):
            raise UsageError(f"No module {module_name!r} for {purpose}.", hint) from error
        raise _broken_module(module_name, error) from error
    except Exception as error:  # the user's own module can raise anything
        raise _broken_module(module_name, error) from error


def _broken_module(module_name: str, error: Exception) -> BopkitError:
    reason = own_code.failure_in(error) or f"{type(error).__name__}: {first_line(error)}"
    return BopkitError(f"Module {module_name} cannot be imported: {reason}.", "Mend it; --debug shows the traceback.")


def _import(module_name: str) -> Any:
    """Import a module, also from the working directory, which a console script leaves out of `sys.path`."""
    here = os.getcwd()
    if here in sys.path or "" in sys.path:
        own_code.remember(module_name)
        return importlib.import_module(module_name)
    sys.path.append(here)
    try:
        own_code.remember(module_name)
        return importlib.import_module(module_name)
    finally:
        del sys.path[len(sys.path) - 1 - sys.path[::-1].index(here)]


MODELS = Registry("model", "ARCHITECTURE", "bopkit models")
MODELS.register("binarynet", "bopkit.models.binarynet")
MODELS.register("binary_alexnet", "bopkit.models.binary_alexnet", aliases=["alexnet"])
MODELS.register("xnornet", "bopkit.models.xnornet")
MODELS.register("birealnet", "bopkit.models.birealnet")
