"""Names a user types, and the modules behind them.

A registry holds strings only, so that listing names imports nothing. A module is imported when its name is asked
for. A dotted name that is not registered (`my_package.my_network`) is imported as it stands, and so is the plain name
of a module in the working folder: that is how a user adds a model or a dataset without touching bopkit.
"""

from __future__ import annotations

import importlib
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
        """Import the module behind a name, an alias, a dotted name or the name of a module here; return its object.

        Raises:
            UsageError: The name is unknown, or the module lacks the object.
            BopkitError: The module does not import.
        """
        module_name = self._modules.get(self._aliases.get(name, name))
        if module_name is None:
            if Path(name).suffix in FILE_ENDINGS:
                own = _module_of(name)
                hint = f"Type {own}; names that are known already come first." if own else ""
                raise UsageError(
                    f"{name} is a file; this takes the name of a {self.kind}.",
                    hint or f"List the names with `{self.command}`.",
                )
            is_dotted = "." in name and all(part.isidentifier() for part in name.split("."))
            if not is_dotted and module_here(name) is None:
                raise self.unknown(name, [*self._modules, *self._aliases])
            module_name = name
        hint = f"Run from the folder that holds it, or list the {self.kind}s with `{self.command}`."
        module = import_module(module_name, f"{self.kind} {name!r}", hint)
        own_file = module_here(module_name)
        if own_file is not None:
            _check_origin(module, own_file)
        if not hasattr(module, self.attribute):
            raise UsageError(
                f"Module {module_name!r} defines no {self.attribute}.", "The README and docs/training.md show how."
            )
        return getattr(module, self.attribute)

    def unknown(self, name: str, known: Iterable[str]) -> UsageError:
        """The error for a name that is neither known nor that of a module here."""
        error = unknown_name(self.kind, name, known, self.command)
        own = f"One of your own is a Python module in this folder that defines {self.attribute}: type its name."
        return UsageError(error.message, f"{error.hint} {own}")


def module_here(name: str) -> Path | None:
    """The file of the package or module of that plain name in the working folder; None where there is none."""
    candidates = (Path(name, "__init__.py"), Path(f"{name}.py")) if name.isidentifier() else ()
    return next((each for each in candidates if each.is_file()), None)


def _module_of(file: str) -> str:
    """The name to import a Python file by from the working folder; empty where there is none."""
    parts = Path(file).with_suffix("").parts
    is_importable = Path(file).suffix == ".py" and Path(file).is_file() and all(part.isidentifier() for part in parts)
    return ".".join(parts) if is_importable else ""


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
        return _import(module_name, Path.cwd())
    except ModuleNotFoundError as error:
        if error.name and module_name.startswith(error.name):
            raise UsageError(f"No module {module_name!r} for {purpose}.", hint) from error
        raise _broken_module(module_name, error) from error
    except Exception as error:  # the user's own module can raise anything
        raise _broken_module(module_name, error) from error


def import_file(path: Path, purpose: str) -> Any:
    """Import a Python file that the user named, as the part of a package where it is in one.

    Args:
        path: Of the file; what lies in its folder can be imported by it.
        purpose: What it is for, in the message.

    Raises:
        UsageError: There is no such file, or another module has its name.
        BopkitError: It does not import.
    """
    if not path.is_file():
        raise UsageError(f"There is no file {path} for {purpose}.", "Check the path; a module is named without .py.")
    folder, parts = path.resolve().parent, [path.stem] if path.stem != "__init__" else []
    while (folder / "__init__.py").is_file():
        folder, parts = folder.parent, [folder.name, *parts]
    name = ".".join(parts)
    try:
        module = _import(name, folder)
    except Exception as error:  # the user's own module can raise anything
        raise _broken_module(str(path), error) from error
    _check_origin(module, path)
    return module


def _check_origin(module: Any, file: Path) -> None:
    """Make sure that a module is that of a file: Python's own, and what is imported already, come first."""
    origin = getattr(module, "__file__", None)
    if origin is None or Path(origin).resolve() != file.resolve():
        raise UsageError(
            f"{file} is hidden by another module {module.__name__}{f', {origin}' if origin else ''}.",
            "Rename the file.",
        )


def _broken_module(module_name: str, error: Exception) -> BopkitError:
    reason = own_code.failure_in(error) or f"{type(error).__name__}: {first_line(error)}"
    return BopkitError(f"Module {module_name} cannot be imported: {reason}.", "Mend it; --debug shows the traceback.")


def _import(module_name: str, folder: Path) -> Any:
    """Import a module, also from a folder; a console script leaves the working directory out of `sys.path`."""
    here = str(folder)
    importlib.invalidate_caches()  # a file may have been written since the folder was read
    if here in sys.path or (folder == Path.cwd() and "" in sys.path):
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
