"""The wheels that a device needs: bopkit-runtime, LiteRT and numpy, for its Python, processor and C library.

They come from the host, so that the board needs no internet: LiteRT and numpy through pip, once for each kind of
device; bopkit-runtime from a folder of wheels, or compiled from the checkout that bopkit runs from.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import bopkit
from bopkit import files
from bopkit.errors import BopkitError
from bopkit.progress import Progress

_OLDEST_GLIBC = (2, 17)
# What Linux calls a processor, and the bits of its Python: a 32-bit system may run on a 64-bit kernel.
_ARCHITECTURES = {
    ("x86_64", 64): "x86_64",
    ("aarch64", 64): "aarch64",
    ("aarch64", 32): "armv7l",
    ("armv8l", 32): "armv7l",
    ("armv7l", 32): "armv7l",
}
# LiteRT has no wheel for 32-bit ARM; tflite-runtime is the one before it, and was built against numpy 1.
_REQUIREMENTS = {"armv7l": ("tflite-runtime>=2.14", "numpy<2")}
_USUAL_REQUIREMENTS = ("ai-edge-litert>=1.0.1", "numpy")
_RUNTIME_WHEELS = "bopkit_runtime-*.whl"
_LITERT_WHEELS = ("ai_edge_litert-*.whl", "tflite_runtime-*.whl")


class WheelTarget(NamedTuple):
    """The Python, processor and C library that a wheel has to fit.

    Attributes:
        python: Major and minor version.
        architecture: As wheels name it.
        glibc: Major and minor version.
    """

    python: tuple[int, int]
    architecture: str
    glibc: tuple[int, int]

    @property
    def requirements(self) -> tuple[str, ...]:
        """What pip downloads: all but bopkit-runtime."""
        return _REQUIREMENTS.get(self.architecture, _USUAL_REQUIREMENTS)

    def __str__(self) -> str:
        (major, minor), (glibc_major, glibc_minor) = self.python, self.glibc
        return f"cp{major}{minor}-{self.architecture}-glibc{glibc_major}.{glibc_minor}"


def wheel_target(facts: Mapping[str, Any], name: str) -> WheelTarget:
    """The target of a device's wheels.

    Args:
        facts: What its agent says of it.
        name: Of the device, for messages.

    Raises:
        BopkitError: There are no such wheels: another operating system, C library or processor.
    """
    if facts["platform"] != "linux":
        raise BopkitError(f"{name} runs {facts['platform']}.", "Devices over ssh run Linux.")
    if facts["implementation"] != "CPython":
        raise BopkitError(f"{name} has {facts['implementation']}.", "Name a CPython on it with --python.")
    architecture = _ARCHITECTURES.get((facts["machine"], facts["bits"]))
    if architecture is None:
        raise BopkitError(
            f"{name} is a {facts['bits']}-bit {facts['machine']}, for which there is no runtime.",
            f"Use a device of one of: {', '.join(dict.fromkeys(_ARCHITECTURES.values()))}.",
        )
    if facts["glibc"] is None:
        raise BopkitError(
            f"{name} does not use glibc (Alpine, for example, does not), and LiteRT has no wheels for it.",
            "Use a system with glibc: Debian, Ubuntu, Raspberry Pi OS.",
        )
    python, glibc = tuple(facts["python"][:2]), tuple(facts["glibc"])
    if glibc < _OLDEST_GLIBC:
        raise BopkitError(
            f"{name} has glibc {glibc[0]}.{glibc[1]}; 2.17 or newer is needed.", "Use a newer system on it."
        )
    return WheelTarget((python[0], python[1]), architecture, (glibc[0], glibc[1]))


def collect_wheels(target: WheelTarget, folder: Path | None, progress: Progress) -> list[Path]:
    """All wheels for a device: of bopkit-runtime, LiteRT and numpy.

    Args:
        target: What they have to fit.
        folder: Where wheels of bopkit-runtime, and of LiteRT and numpy if it has any, are; None to compile and to
            download them.
        progress: Called with one line now and then.

    Raises:
        BopkitError: There are none, or they cannot be made or downloaded.
    """
    runtime = _runtime_wheel(target, folder, progress)
    if folder is not None and any(any(folder.glob(pattern)) for pattern in _LITERT_WHEELS):
        with files.temporary_directory("wheels") as scratch:
            chosen = _download(target, Path(scratch), ["--no-index", "--find-links", str(folder)])
            return [runtime, *(folder / wheel.name for wheel in chosen)]
    return [runtime, *_downloaded(target, progress)]


def unpacked_bytes(wheel: Path) -> int:
    """Space that a wheel takes on the device, unpacked.

    Raises:
        BopkitError: It is damaged.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            return sum(each.file_size for each in archive.infolist())
    except zipfile.BadZipFile as error:
        raise BopkitError(f"{wheel} is not a wheel.", "Remove it, and run the command again.") from error


def versions_of(wheels: Sequence[Path]) -> dict[str, str]:
    """Versions by the names of the distributions."""
    parts = (wheel.name.split("-") for wheel in wheels)
    return {name.replace("_", "-"): version for name, version, *_ in parts}


def _is_for(wheel: Path, target: WheelTarget) -> bool:
    """Whether a wheel of the runtime is for Linux with glibc on the target's processor; all run from 2.17 on."""
    tags = wheel.stem.split("-")[-1].split(".")
    return any(tag.startswith("manylinux") and tag.endswith(f"_{target.architecture}") for tag in tags)


def _runtime_wheel(target: WheelTarget, folder: Path | None, progress: Progress) -> Path:
    if folder is not None:
        fitting = sorted(
            (each for each in folder.glob(_RUNTIME_WHEELS) if _is_for(each, target)),
            key=lambda wheel: [int(number) for number in re.findall(r"\d+", wheel.name.split("-")[1])],
        )
        if not fitting:
            raise BopkitError(
                f"{folder} holds no wheel of bopkit-runtime for {target.architecture} on Linux.",
                "Make them in a checkout of bopkit: `make -C runtime wheels`; they are in runtime/dist then.",
            )
        return fitting[-1]
    sources = Path(str(bopkit.__file__)).parents[1] / "runtime"
    if not (sources / "setup.py").is_file():
        raise BopkitError(
            "bopkit is not installed from a checkout, so the runtime cannot be compiled.",
            "Give a folder of its wheels with --wheels; `make -C runtime wheels` in a checkout builds them.",
        )
    kept = _cache() / f"runtime-{target.architecture}-{_digest(sources)}"
    if not kept.is_dir():
        progress(f"compiling the runtime for {target.architecture}: only once, takes a minute or two")
        with files.scratch_directory(_cache()) as scratch:
            _build(sources, target, scratch / "sources", scratch / "built")
            os.replace(scratch / "built", kept)
    return next(kept.glob(_RUNTIME_WHEELS))


def _build(sources: Path, target: WheelTarget, copy: Path, built: Path) -> None:
    """Build the wheel from a copy of the sources: a checkout may be somebody else's, or read-only."""
    shutil.copytree(sources, copy, ignore=shutil.ignore_patterns(*_NOT_SOURCES))
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(built), "."]
    if importlib.util.find_spec("ziglang") is not None:
        command = [sys.executable, "setup.py", "--quiet", "bdist_wheel", "--dist-dir", str(built)]
    environment = {**os.environ, "BOPKIT_RUNTIME_PLATFORM": f"linux-{target.architecture}"}
    result = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise BopkitError(
            f"The runtime was not compiled: {_last_line(result.stderr)}.",
            "Type `make -C runtime wheels` to see why, then give runtime/dist with --wheels.",
        )


_NOT_SOURCES = (".*", "build", "dist", "*.egg-info", "tests", "benchmarks", "*.so", "__pycache__")


def _digest(sources: Path) -> str:
    """Digest of all that the wheel is made from, so that another checkout or an edited one is compiled anew."""
    digest = hashlib.sha256()
    for folder in ("src", "include", "bopkit_runtime", "."):
        for path in sorted((sources / folder).iterdir()):
            if path.suffix in (".cc", ".h", ".py", ".toml", ".map"):
                digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _downloaded(target: WheelTarget, progress: Progress) -> list[Path]:
    """Wheels of LiteRT and numpy from the cache, or from PyPI the first time."""
    kept = _cache() / str(target)
    if not kept.is_dir():
        progress(f"downloading LiteRT and numpy for {target}")
        with files.scratch_directory(_cache()) as scratch:
            _download(target, scratch / "wheels", [])
            os.replace(scratch / "wheels", kept)
    return sorted(kept.glob("*.whl"))


def _download(target: WheelTarget, folder: Path, options: Sequence[str]) -> list[Path]:
    """Let pip choose the wheels, without their dependencies: the runtime uses none of those."""
    if importlib.util.find_spec("pip") is None:
        raise BopkitError("pip is not installed.", f"Type `{sys.executable} -m ensurepip`, or use --wheels.")
    architecture, (glibc_major, glibc_minor) = target.architecture, target.glibc
    oldest = _OLDEST_GLIBC[1]
    platforms = [f"manylinux_{glibc_major}_{minor}_{architecture}" for minor in range(oldest, glibc_minor + 1)]
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", *options),
        *(f"--platform={each}" for each in (*platforms, f"manylinux2014_{architecture}")),
        *("--implementation=cp", f"--python-version={target.python[0]}.{target.python[1]}"),
        *("--dest", str(folder), *target.requirements),
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if result.returncode != 0 or len(wheels) != len(target.requirements):
        wanted = " and ".join(target.requirements)
        raise BopkitError(
            f"pip has no {wanted} for {target}: {_last_line(result.stderr)}.",
            "Connect this host to the internet, give their wheels with --wheels, or use another Python on the device.",
        )
    return wheels


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.startswith("ERROR")] or text.strip().splitlines()
    return lines[-1].removeprefix("ERROR: ").strip().rstrip(".") if lines else "it does not say why"


def _cache() -> Path:
    return files.user_folder("XDG_CACHE_HOME", ".cache") / "wheels"
