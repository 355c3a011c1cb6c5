"""Wheels of the runtime, built from a copy of its sources, and commands in fresh processes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import bopkit_runtime

ROOT = Path(__file__).parents[1]
PACKAGE = Path(bopkit_runtime.__file__).parent

_LEFT_OUT = shutil.ignore_patterns(
    ".*", "build", "dist", "*.egg-info", "tests", "*.so", "*.dylib", "*.dll", "__pycache__"
)


def copy_sources(folder):
    """What a user has: no library, nothing built before."""
    return Path(shutil.copytree(ROOT, folder, ignore=_LEFT_OUT))


def build_wheel(platform, folder):
    """The wheel for a platform, by its name in setup.py; empty for this machine. It needs ziglang."""
    sources = copy_sources(folder / "sources")
    command = [sys.executable, "setup.py", "--quiet", "bdist_wheel", "--dist-dir", str(folder)]
    result = run(command, cwd=sources, env={"BOPKIT_RUNTIME_PLATFORM": platform})
    assert result.returncode == 0, result.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


def run(command, env=None, **options):
    """A finished process, its output captured."""
    return subprocess.run(
        [str(each) for each in command],
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def package_environment():
    """Lets another Python process import the package that is tested."""
    return {"PYTHONPATH": str(PACKAGE.parent), "PYTHONIOENCODING": "utf-8"}
