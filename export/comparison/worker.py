"""The child's side of `bopkit.export.comparison.compare`: it exports and converts twins, one call per step.

TensorFlow swallows a Ctrl-C now and then, or makes another error of it; a process of its own is simply ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bopkit import files
from bopkit.architecture import floor_bytes
from bopkit.artifacts.custom_code import NO_CUSTOM_CODE
from bopkit.counting import count_weights
from bopkit.export.comparison.twin import convert_twin, make_twin
from bopkit.export.exporter import export_model
from bopkit.export.options import ExportOptions
from bopkit.export.sources.source import load_source
from bopkit.training.initialise import init_model

OPTIONS = ExportOptions(savedmodel=False)


def write_untrained(architecture: str, path: str) -> None:
    """Write an untrained network to `path`."""
    init_model(architecture, path)


def write_packed(source: str, scratch: str, path: str) -> None:
    """Export a network to the flatbuffer `path`; `scratch` is a folder that does not exist yet."""
    (exported,) = export_model(source, scratch, OPTIONS).artifacts
    files.write_bytes(Path(path), Path(exported.path).read_bytes())


def write_twins(source: str, paths: Mapping[str, str]) -> int:
    """Convert the twins of a network to `float32` and `int8`, each to its path; the network's floor in bytes."""
    network = load_source(Path(source), OPTIONS, NO_CUSTOM_CODE).model
    twin = make_twin(network)
    for precision, path in paths.items():
        files.write_bytes(Path(path), convert_twin(twin, int8=precision == "int8"))
    return floor_bytes(*count_weights(network))
