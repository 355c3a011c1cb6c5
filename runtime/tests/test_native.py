"""The sources with compilers that the wheels do not use."""

import shutil
import subprocess

import native
import pytest

SOURCES = sorted(str(path.relative_to(native.ROOT)) for path in native.ROOT.glob("src/*.cc"))


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_no_warnings(compiler):
    if shutil.which(compiler) is None:
        pytest.skip(f"needs {compiler}: apt-get install {compiler.replace('clang++', 'clang')}")
    command = [compiler, *native.FLAGS, "-fsyntax-only", "-Werror", *SOURCES]
    done = subprocess.run(command, cwd=native.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_programs_build_with_what_is_there():
    """Where a system has no compiler with sanitizers, ziglang builds the others."""
    assert native.compiler_for("host-plain") is not None
    assert native.compiler_for("host-aarch64")[1:4] == ["-m", "ziglang", "c++"]
