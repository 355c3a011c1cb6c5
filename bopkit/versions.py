"""Versions of what decides the outcome of a run or a measurement."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterable

PACKAGES = ("bopkit", "tensorflow", "tf-keras", "larq", "larq-compute-engine", "tensorflow-datasets", "numpy")
"""The distributions whose versions decide what a run computes."""

RUNTIME_PACKAGES = ("bopkit-runtime", "ai-edge-litert")
"""Besides those, the distributions whose versions decide what a benchmark measures."""


def package_versions(others: Iterable[str] = ()) -> dict[str, str]:
    """Versions of Python, of `PACKAGES` and of `others`; a package that is not installed is absent."""
    versions = {"python": platform.python_version()}
    for package in (*PACKAGES, *others):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
