"""Names a user types, and the modules behind them.

A registry holds strings only, so that listing names imports nothing. A module is imported when its name is asked
for; one that defines several objects is registered as `module:OBJECT` for each. A dotted name that is not registered
(`my_package.my_network`) is imported as it stands, and so is the plain name of a module in the working folder: that is
how a user adds a model or a dataset without touching bopkit.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bopkit.errors import UsageError, unknown_name
from bopkit.own_code import check_origin, import_module, module_here

FILE_ENDINGS = (".h5", ".keras", ".tflite", ".py")
"""Endings of files that users name by mistake: `good.h5` would read as a dotted name."""


class Registry:
    """Maps names and their aliases to dotted module names.

    Args:
        kind: What the names stand for, in error messages: "model".
        attribute: The object that every registered module defines: "ARCHITECTURE".
        command: The command that lists the names.
        hint: Where an example is shown, as a sentence.
    """

    def __init__(
        self, kind: str, attribute: str, command: str, hint: str = "The README and docs/training.md show how."
    ):
        self.kind = kind
        self.attribute = attribute
        self.command = command
        self.hint = hint
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

    def file_of(self, name: str) -> str:
        """Name of the module that a name stands for, without its packages: one file is one family."""
        return self._modules.get(name, name).partition(":")[0].rpartition(".")[2]

    def load(self, name: str) -> Any:
        """Import the module behind a name, an alias, a dotted name or the name of a module here; return its object.

        Raises:
            UsageError: The name is unknown, or the module lacks the object.
            BopkitError: The module does not import.
        """
        module_name, _, attribute = self._module_name(name).partition(":")
        attribute = attribute or self.attribute
        hint = f"Run from the folder that holds it, or list the {self.kind}s with `{self.command}`."
        module = import_module(module_name, f"{self.kind} {name!r}", hint)
        own_file = module_here(module_name)
        if own_file is not None:
            check_origin(module, own_file)
        if not hasattr(module, attribute):
            raise UsageError(f"Module {module_name!r} defines no {attribute}.", self.hint)
        return getattr(module, attribute)

    def _module_name(self, name: str) -> str:
        """The module that a name stands for."""
        registered = self._modules.get(self._aliases.get(name, name))
        if registered is not None:
            return registered
        if Path(name).suffix in FILE_ENDINGS:
            own = _module_of(name)
            list_them = f"List the names with `{self.command}`."
            hint = f"Type {own}; names that are known already come first." if own else list_them
            article = "an" if self.kind[0] in "aeiou" else "a"
            raise UsageError(f"{name} is a file; this takes the name of {article} {self.kind}.", hint)
        is_dotted = "." in name and all(part.isidentifier() for part in name.split("."))
        if not is_dotted and module_here(name) is None:
            raise self.unknown(name, [*self._modules, *self._aliases])
        return name

    def unknown(self, name: str, known: Iterable[str]) -> UsageError:
        """The error for a name that is neither known nor that of a module here."""
        error = unknown_name(self.kind, name, known, self.command)
        own = f"One of your own is a Python module in this folder that defines {self.attribute}: type its name."
        return UsageError(error.message, f"{error.hint} {own}")


def _module_of(file: str) -> str:
    """The name to import a Python file by from the working folder; empty where there is none."""
    parts = Path(file).with_suffix("").parts
    is_importable = Path(file).suffix == ".py" and Path(file).is_file() and all(part.isidentifier() for part in parts)
    return ".".join(parts) if is_importable else ""


MODELS = Registry("model", "ARCHITECTURE", "bopkit models")
MODELS.register("binarynet", "bopkit.models.binarynet")
MODELS.register("binary_alexnet", "bopkit.models.binary_alexnet", aliases=["alexnet"])
MODELS.register("xnornet", "bopkit.models.xnornet")
MODELS.register("birealnet", "bopkit.models.birealnet")
MODELS.register("quicknet_small", "bopkit.models.quicknet:QUICKNET_SMALL")
MODELS.register("quicknet", "bopkit.models.quicknet:QUICKNET")
MODELS.register("quicknet_large", "bopkit.models.quicknet:QUICKNET_LARGE")
MODELS.register("binary_resnet_e18", "bopkit.models.resnet_e", aliases=["resnet_e18"])
MODELS.register("binary_densenet28", "bopkit.models.binary_densenet:BINARY_DENSENET28")
MODELS.register("binary_densenet37", "bopkit.models.binary_densenet:BINARY_DENSENET37")
MODELS.register("binary_densenet37_dilated", "bopkit.models.binary_densenet:BINARY_DENSENET37_DILATED")
MODELS.register("binary_densenet45", "bopkit.models.binary_densenet:BINARY_DENSENET45")
MODELS.register("meliusnet22", "bopkit.models.meliusnet")
MODELS.register("real_to_binary", "bopkit.models.real_to_binary", aliases=["r2b"])
MODELS.register("reactnet_a", "bopkit.models.reactnet:REACTNET_A")
MODELS.register("reactnet18", "bopkit.models.reactnet:REACTNET_18")
MODELS.register("vgg_small", "bopkit.models.vgg_small")
MODELS.register("resnet20", "bopkit.models.small_resnet:RESNET_20")
MODELS.register("resnet18", "bopkit.models.small_resnet:RESNET_18")
MODELS.register("bopnet_64k", "bopkit.models.bopnet:BOPNET_64K")
MODELS.register("bopnet_256k", "bopkit.models.bopnet:BOPNET_256K")
