"""Builds the programs of the tests in C++: `host/`, and `fuzz/` with sanitizers.

`python native.py PROGRAM` builds one and prints its path. Objects are kept in build/native, shared by the programs that
are compiled alike, and compiled anew where a source is newer.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
BUILD = Path(os.environ.get("BOPKIT_RUNTIME_BUILD") or ROOT / "build" / "native")

FLAGS = ("-std=c++17", "-Wall", "-Wextra", "-Wno-psabi", "-fno-exceptions", "-fno-rtti")
FLAGS += ("-ffp-contract=off", "-Iinclude", "-Isrc", "-Itests/host", "-Itests/fuzz")
_CHECKED = ("-O1", "-g1", "-fno-omit-frame-pointer")
_ADDRESS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")

ENVIRONMENT = {
    # An allocation that a file asks for may fail, and must not end the process.
    "ASAN_OPTIONS": "allocator_may_return_null=1:max_allocation_size_mb=256:detect_leaks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1",
}
"""For programs with sanitizers."""


class Program(NamedTuple):
    """What is compiled, and how."""

    sources: tuple[str, ...]
    flags: tuple[str, ...] = ("-O2", "-g0")
    sanitizer: tuple[str, ...] = ()
    link: tuple[str, ...] = ()
    target: str = ""  # of ziglang; empty for this machine


_HOST = ("tests/host/case.cc", "tests/host/host.cc")
_TRY = (*_HOST, "tests/fuzz/try.cc", "tests/fuzz/mutate.cc")
PROGRAMS = {
    "host": Program((*_HOST, "tests/host/main.cc"), _CHECKED, _ADDRESS),
    "host-plain": Program((*_HOST, "tests/host/main.cc")),
    "host-aarch64": Program((*_HOST, "tests/host/main.cc"), ("-O3", "-g0"), target="aarch64-linux-musl"),
    "driver": Program((*_TRY, "tests/fuzz/driver.cc"), _CHECKED, _ADDRESS),
    "driver-plain": Program((*_TRY, "tests/fuzz/driver.cc")),
    "fuzzer": Program(
        (*_TRY, "tests/fuzz/libfuzzer.cc"), (*_CHECKED, "-fsanitize=fuzzer-no-link"), _ADDRESS, ("-fsanitize=fuzzer",)
    ),
    "stress": Program((*_HOST, "tests/host/stress.cc"), _CHECKED, ("-fsanitize=thread",)),
    "thread-pool": Program(("tests/host/thread_pool.cc",), _CHECKED, ("-fsanitize=thread",)),
    "stress-leaks": Program((*_HOST, "tests/host/stress.cc"), _CHECKED, _ADDRESS),
}


def zig(target: str = "") -> list[str]:
    """The compiler of ziglang: static, so that an emulator needs no libraries of the machine."""
    return [sys.executable, "-m", "ziglang", "c++", *(("-target", target, "-static") if target else ())]


@functools.cache
def _links(compiler: str, *flags: str) -> bool:
    """Whether a compiler is there and can link a program with such flags."""
    if shutil.which(compiler) is None:
        return False
    main = 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }\n'
    main += "" if any("fuzzer" in flag for flag in flags) else "int main() {}\n"
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "main.cc")
        source.write_text(main)
        command = [compiler, *flags, str(source), "-o", str(Path(folder, "main"))]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


def compiler_for(name: str) -> list[str] | None:
    """The compiler of a program; None where none on this machine can build it."""
    program = PROGRAMS[name]
    if program.target:
        return zig(program.target)
    for compiler in ("clang++", "g++"):
        if _links(compiler, *program.sanitizer, *program.link):
            return [compiler]
    return None if program.sanitizer else zig()


def build_checked(name: str) -> Path:
    """A program with sanitizers, or, where no compiler has them, the one that is called `NAME-plain`; its path."""
    return build(name if compiler_for(name) else f"{name}-plain")


def build(name: str) -> Path:
    """Build a program; the path of it."""
    program, compiler = PROGRAMS[name], compiler_for(name)
    assert compiler is not None, f"no compiler on this machine builds {name}"
    compiling = [*compiler, *FLAGS, *program.flags, *program.sanitizer]
    folder = BUILD / hashlib.sha256(" ".join(compiling).encode()).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    sources = [*sorted(str(path.relative_to(ROOT)) for path in (ROOT / "src").glob("*.cc")), *program.sources]
    headers = [*ROOT.glob("src/*.h"), *ROOT.glob("include/*.h"), *ROOT.glob("tests/*/*.h"), Path(__file__)]
    newest = max(header.stat().st_mtime for header in headers)

    def compile_source(source: str) -> Path:
        made = folder / (Path(source).stem + ".o")
        if not made.exists() or made.stat().st_mtime < max(newest, (ROOT / source).stat().st_mtime):
            _run([*compiling, "-c", source, "-o", str(made)])
        return made

    with _locked(folder):
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            objects = list(pool.map(compile_source, sources))
        path = folder / name
        if not path.exists() or path.stat().st_mtime < max(each.stat().st_mtime for each in objects):
            _run([*compiler, *program.sanitizer, *program.link, *map(str, objects), "-o", str(path), "-lpthread"])
    return path


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one process at a time compile there."""
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(command: list[str]) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr}")


def run(command: list, timeout: float = 600, **environment: str) -> subprocess.CompletedProcess:
    """A finished process of such a program."""
    return subprocess.run(
        [str(each) for each in command],
        env={**os.environ, **ENVIRONMENT, **environment},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout,
        check=False,
    )


if __name__ == "__main__":
    print(build(sys.argv[1]))
