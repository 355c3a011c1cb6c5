"""Builds the native library with ziglang, a C++ compiler from PyPI, and packs it into a wheel.

For this machine, or for the platform that BOPKIT_RUNTIME_PLATFORM names: ziglang compiles for all of them.
`python setup.py build_native` puts the library next to the package's modules.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import ClassVar, NamedTuple

from setuptools import Command, Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
PACKAGE = "bopkit_runtime"

# Instruction sets are chosen by attributes of functions, so that all sources share these flags. Contraction of
# a * b + c would round once where LCE rounds twice, and flip signs near zero.
FLAGS = (
    *("-std=c++17", "-O3", "-g0", "-s", "-fPIC", "-shared", "-fvisibility=hidden"),
    *("-fno-exceptions", "-fno-rtti", "-ffp-contract=off", "-Iinclude"),
)
LINUX_FLAGS = ("-Wl,-soname,libbopkit_runtime.so", "-Wl,--version-script=exports.map")


class Platform(NamedTuple):
    """One platform: what the compiler, the file system and pip call it."""

    target: str
    library: str
    tag: str
    flags: tuple[str, ...] = ()


PLATFORMS = {
    "linux-x86_64": Platform(
        "x86_64-linux-gnu.2.17",
        "libbopkit_runtime.so",
        "manylinux_2_17_x86_64.manylinux2014_x86_64",
        LINUX_FLAGS,
    ),
    "linux-aarch64": Platform(
        "aarch64-linux-gnu.2.17",
        "libbopkit_runtime.so",
        "manylinux_2_17_aarch64.manylinux2014_aarch64",
        LINUX_FLAGS,
    ),
    "linux-armv7l": Platform(
        "arm-linux-gnueabihf.2.17",
        "libbopkit_runtime.so",
        "manylinux_2_17_armv7l.manylinux2014_armv7l",
        LINUX_FLAGS,
    ),
    "macosx-arm64": Platform(
        "aarch64-macos.11.0",
        "libbopkit_runtime.dylib",
        "macosx_11_0_arm64",
        ("-Wl,-install_name,@rpath/libbopkit_runtime.dylib",),
    ),
    "win-amd64": Platform("x86_64-windows-gnu", "bopkit_runtime.dll", "win_amd64"),
}


def chosen_platform() -> Platform:
    """The platform that BOPKIT_RUNTIME_PLATFORM names, else this machine's."""
    name = os.environ.get("BOPKIT_RUNTIME_PLATFORM") or this_platform()
    if name not in PLATFORMS:
        known = ", ".join(PLATFORMS)
        sys.exit(f"Error: bopkit-runtime is not built for {name}. Set BOPKIT_RUNTIME_PLATFORM to one of {known}.")
    return PLATFORMS[name]


def this_platform() -> str:
    """This Python's platform in the form of PLATFORMS: a 32-bit Python on a 64-bit kernel counts as 32-bit."""
    system, _, rest = sysconfig.get_platform().partition("-")
    machine = rest.rpartition("-")[2]
    if system == "linux" and machine == "aarch64" and sys.maxsize < 2**32:
        machine = "armv7l"
    if machine == "universal2":
        machine = os.uname().machine
    return f"{system}-{machine}"


def compile_library(platform: Platform, folder: Path) -> None:
    """Compile all sources into `folder`; the library appears whole or not at all."""
    sources = sorted(str(path.relative_to(HERE)) for path in (HERE / "src").glob("*.cc"))
    compiler = [sys.executable, "-m", "ziglang", "c++", "-target", platform.target]
    with tempfile.TemporaryDirectory() as scratch:  # on Windows the linker leaves files of its own beside the library
        built = Path(scratch, platform.library)
        command = [*compiler, *FLAGS, *platform.flags, *sources, "-o", str(built)]
        print(f"compiling {platform.library} for {platform.target}", flush=True)
        if subprocess.run(command, cwd=HERE).returncode != 0:
            sys.exit(
                "Error: the native library was not built; the compiler says why above. It needs `pip install ziglang`."
            )
        folder.mkdir(parents=True, exist_ok=True)
        whole = folder / f"{platform.library}.new"
        shutil.copyfile(built, whole)
        whole.replace(folder / platform.library)


class BuildNative(Command):
    """Puts the library of the chosen platform into the source tree."""

    description = "compile the native library into the package's folder"
    user_options: ClassVar[list[tuple[str, str, str]]] = []

    def initialize_options(self) -> None:
        """There are no options."""

    def finalize_options(self) -> None:
        """There are no options."""

    def run(self) -> None:
        """Compile."""
        compile_library(chosen_platform(), HERE / PACKAGE)


class BuildPackage(build_py):
    """The package's modules, and the library of one platform."""

    def run(self) -> None:
        """Copy the modules, then compile."""
        super().run()
        if self.editable_mode:
            compile_library(chosen_platform(), HERE / PACKAGE)
            return
        folder = Path(self.build_lib, PACKAGE)
        for platform in PLATFORMS.values():  # an earlier build may have been for another
            (folder / platform.library).unlink(missing_ok=True)
        compile_library(chosen_platform(), folder)


class BuildWheel(bdist_wheel):
    """A wheel for one platform and every Python 3: the library does not use Python's binary interface."""

    def get_tag(self) -> tuple[str, str, str]:
        """The wheel's tag."""
        return "py3", "none", chosen_platform().tag


class NativeDistribution(Distribution):
    """Installs into the platform's folder, though there is no extension module."""

    def has_ext_modules(self) -> bool:
        """It has a native library."""
        return True


setup(
    distclass=NativeDistribution,
    cmdclass={"build_native": BuildNative, "build_py": BuildPackage, "bdist_wheel": BuildWheel},
)
