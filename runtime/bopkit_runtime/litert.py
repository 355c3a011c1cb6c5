"""LiteRT, by whichever name it is installed."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
from types import ModuleType
from typing import NamedTuple

from bopkit_runtime.errors import BopkitRuntimeError, first_line

_NAMES = ("ai_edge_litert", "tflite_runtime")


class LiteRT(NamedTuple):
    """Its interpreter's module, the name of its distribution, and its version."""

    module: ModuleType
    name: str
    version: str


@functools.cache
def import_litert() -> LiteRT:
    """ai-edge-litert, or tflite-runtime in its place.

    Raises:
        BopkitRuntimeError: Neither is there, or the one that is cannot be imported.
    """
    for name in _NAMES:
        distribution = name.replace("_", "-")
        try:
            module = importlib.import_module(f"{name}.interpreter")
        except ModuleNotFoundError as error:
            if error.name is not None and error.name.split(".")[0] == name:
                continue
            raise _cannot_import(distribution, error) from error
        except Exception as error:  # a package for another version of numpy fails in ways of its own
            if isinstance(error.__cause__ or error.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from error  # pybind11 makes an ImportError of Ctrl-C
            raise _cannot_import(distribution, error) from error
        return LiteRT(module, distribution, _version(distribution))
    raise BopkitRuntimeError(
        "LiteRT is not installed.",
        "Type `pip install ai-edge-litert`, or where it has no wheel `pip install tflite-runtime 'numpy<2'`.",
    )


def _cannot_import(distribution: str, error: Exception) -> BopkitRuntimeError:
    hint = f"Type `pip install --force-reinstall {distribution}`."
    if distribution == "tflite-runtime":
        hint = "It needs numpy 1: type `pip install 'numpy<2'`."
    return BopkitRuntimeError(f"{distribution} cannot be imported: {first_line(error)}.", hint)


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:  # a nightly build has another name
        return "unknown"
