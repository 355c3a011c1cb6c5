"""What is installed, what TensorFlow sees, what is missing and how to get it."""

from __future__ import annotations

import dataclasses
import importlib
import os
import platform
import shutil
from pathlib import Path

from bopkit.errors import BopkitError
from bopkit.keras2 import import_tensorflow
from bopkit.versions import PACKAGES, RUNTIME_PACKAGES, package_versions

LCE_PLATFORMS = "CPython 3.10 to 3.12 on Linux x86-64, macOS or Windows"


@dataclasses.dataclass(frozen=True)
class Check:
    """One line of the report.

    Attributes:
        name: What was looked at.
        value: What was found.
        ok: False for something that a command of bopkit needs.
        hint: What to type if it is not ok.
    """

    name: str
    value: str
    ok: bool = True
    hint: str = ""


def diagnose() -> list[Check]:
    """Look at Python, packages, devices, disk and datasets; nothing is changed.

    Returns:
        Checks in reading order; `bopkit doctor` fails if one of them is not ok.
    """
    return [_python(), *_packages(), _native_runtime(), *_devices(), _disk(), _datasets()]


def _python() -> Check:
    return Check("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")


def _packages() -> list[Check]:
    versions = package_versions()
    checks = []
    for package in PACKAGES:
        if package in versions:
            checks.append(Check(package, versions[package]))
        elif package == "larq-compute-engine":
            checks.append(
                Check(
                    package,
                    "not installed: no .tflite can be written or measured; training and --savedmodel work",
                    False,
                    f"pip install larq-compute-engine  (wheels exist for {LCE_PLATFORMS})",
                )
            )
        else:
            checks.append(Check(package, "not installed", False, f"pip install {package}"))
    return checks


def _native_runtime() -> Check:
    name = RUNTIME_PACKAGES[0]
    version = package_versions(RUNTIME_PACKAGES).get(name)
    if version is None:
        return Check(
            name, "none: flatbuffers run in LCE's interpreter", hint="faster: pip install ./runtime in bopkit's folder"
        )
    return Check(name, version)


def _devices() -> list[Check]:
    try:
        tf = import_tensorflow()
    except BopkitError as error:
        return [Check("tensorflow import", error.message, False, "pip install --force-reinstall tensorflow tf-keras")]
    gpus = tf.config.list_physical_devices("GPU")
    names = [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in gpus]
    gpu_hint = "" if gpus else "with an NVIDIA GPU: pip install -e '.[gpu]' in bopkit's folder"
    return [
        Check("cpu", f"{os.cpu_count()} logical cores"),
        Check("gpu", ", ".join(names) or "none: training uses the CPU", hint=gpu_hint),
    ]


def _disk() -> Check:
    free_bytes = shutil.disk_usage(Path.cwd()).free
    enough = free_bytes > 1e9
    return Check("disk", f"{free_bytes / 1e9:.1f} GB free here", enough, "" if enough else "free some space")


def _datasets() -> Check:
    try:
        folder = Path(importlib.import_module("tensorflow_datasets").core.constants.DATA_DIR)
    except Exception as error:  # a protobuf that does not fit TFDS shows as an error of its own kind
        hint = "pip install --upgrade tensorflow-datasets importlib-resources protobuf"
        return Check("datasets", f"only digits: {type(error).__name__}: {error}", False, hint)
    prepared = sorted(each.name for each in folder.iterdir() if each.is_dir()) if folder.is_dir() else []
    names = ", ".join(name for name in prepared if name not in ("downloads", "manual")) or "none"
    return Check("datasets", f"digits (embedded); prepared in {folder}: {names}")
