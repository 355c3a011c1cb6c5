"""The graph builder, the oracle and the cases of the runtime's tests."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "runtime" / "tests"


def load(*names: str) -> list[Any]:
    """Import modules of the runtime's tests, whose names must not hide those of bopkit's folders."""
    before = set(sys.modules)
    sys.path.insert(0, str(FOLDER))
    try:
        return [importlib.import_module(name) for name in names]
    finally:
        sys.path.remove(str(FOLDER))
        for name in set(sys.modules) - before:
            if Path(getattr(sys.modules[name], "__file__", None) or "").parent == FOLDER:
                del sys.modules[name]
