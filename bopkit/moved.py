"""Modules under the names that they had before they went into folders: programs of users import them."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType

MOVED = {
    "bopkit.card": "bopkit.artifacts.card",
    "bopkit.model_file": "bopkit.artifacts.keras_file",
}
"""By the old name, where the module is now."""


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives the module itself for its old name: its classes are the same ones under both."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.ModuleSpec(fullname, self) if fullname in MOVED else None

    def exec_module(self, module: ModuleType) -> None:
        old, new = module.__name__, MOVED[module.__name__]
        warnings.warn(f"{old} is {new} now.", DeprecationWarning, stacklevel=2)
        sys.modules[old] = importlib.import_module(new)


def keep_old_names() -> None:
    """Let the old names be imported."""
    sys.meta_path.append(_Finder())
