"""The native library: where it is, what this machine can run, and delegates for LiteRT."""

from __future__ import annotations

import ctypes
import functools
import json
import operator
import sys
from pathlib import Path
from typing import Any

from bopkit_runtime.errors import BopkitRuntimeError, UsageError, first_line
from bopkit_runtime.litert import import_litert

MOST_THREADS = 256
CLAIMS = ("all", "binary")

_FILE_NAMES = {"darwin": "libbopkit_runtime.dylib", "win32": "bopkit_runtime.dll"}


def library_path() -> str:
    """Path of the native library, for `benchmark_model --external_delegate_path=` and programs in C.

    Raises:
        BopkitRuntimeError: It is not there: the package was not built.
    """
    path = Path(__file__).with_name(_FILE_NAMES.get(sys.platform, "libbopkit_runtime.so"))
    if not path.is_file():
        raise BopkitRuntimeError(
            f"The native library {path.name} is not in {path.parent}.",
            "Type `pip install ./runtime`, or in a checkout `make -C runtime build`.",
        )
    return str(path)


def isas() -> tuple[str, ...]:
    """Instruction sets that this machine can run, the fastest first; the last is `portable`."""
    return tuple(_library().bopkit_runtime_isas().decode().split(","))


def load_delegate(num_threads: int | None = None, isa: str = "auto", claim: str = "all", profile: bool = False) -> Any:
    """A delegate for LiteRT's own interpreter.

        from ai_edge_litert.interpreter import Interpreter
        Interpreter("model.tflite", experimental_delegates=[bopkit_runtime.load_delegate()])

    Args:
        num_threads: 1 to 256; None for what the interpreter is given.
        isa: One of `isas()`, or `auto` for the first of them.
        claim: `all` for LCE's operators and the float operators between them, `binary` for LCE's only.
        profile: Measure each step for `describe`; costs two looks at the clock a step.

    Returns:
        The `Delegate` of the LiteRT that is installed. Several interpreters may share it.

    Raises:
        UsageError: An argument is out of its range.
        BopkitRuntimeError: There is no LiteRT, or the native library cannot be loaded.
    """
    options = {"isa": _checked_isa(isa), "claim": _checked_claim(claim), "profile": str(int(profile))}
    if num_threads is not None:
        options["num_threads"] = str(checked_threads(num_threads))
    try:
        return import_litert().module.load_delegate(library_path(), options)
    except (ValueError, OSError) as error:
        reason = str(error).strip().splitlines()[-1].rstrip(".")
        raise BopkitRuntimeError(f"The delegate was not made: {reason}.", _REINSTALL) from error


def describe(delegate: Any) -> dict[str, Any]:
    """What a delegate of `load_delegate` runs, once it was given to an interpreter.

    Not while an interpreter runs it.

    Returns:
        `version`, `isa`, `threads`, `claimed_nodes`, and `partitions`, each with `nodes` (the number of operators that
        it replaces) and `steps`: `name`, `binary_macs`, `float_macs` and `int8_macs` (multiply-accumulates a
        run), and with `profile` the `runs` so far with `total_ns` and `least_ns`.
    """
    pointer = ctypes.c_void_p(delegate._get_native_delegate_pointer())
    size = _library().bopkit_runtime_describe(pointer, None, 0) + 1
    buffer = ctypes.create_string_buffer(size)
    _library().bopkit_runtime_describe(pointer, buffer, size)
    described: dict[str, Any] = json.loads(buffer.value)
    return described


def checked_threads(num_threads: int) -> int:
    """The number, if it can be one of threads.

    Raises:
        UsageError: It cannot.
    """
    try:
        threads = operator.index(num_threads)
    except TypeError:
        threads = 0
    if not 1 <= threads <= MOST_THREADS:
        raise UsageError(f"num_threads is {num_threads!r}.", f"Use a number from 1 to {MOST_THREADS}.")
    return threads


def _checked_isa(isa: str) -> str:
    if isa != "auto" and isa not in isas():
        raise UsageError(
            f"There is no instruction set {isa!r} on this machine.", f"Use auto or one of: {', '.join(isas())}."
        )
    return isa


def _checked_claim(claim: str) -> str:
    if claim not in CLAIMS:
        raise UsageError(f"claim is {claim!r}.", f"Use one of: {', '.join(CLAIMS)}.")
    return claim


_REINSTALL = "Install the wheel that was made for this machine, or type `pip install ./runtime` on it."


@functools.cache
def _library() -> ctypes.CDLL:
    path = library_path()
    try:
        library = ctypes.CDLL(path)
    except OSError as error:
        raise BopkitRuntimeError(f"{path} cannot be loaded: {first_line(error)}.", _REINSTALL) from error
    library.bopkit_runtime_version.restype = ctypes.c_char_p
    library.bopkit_runtime_isas.restype = ctypes.c_char_p
    library.bopkit_runtime_describe.restype = ctypes.c_size_t
    library.bopkit_runtime_describe.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
    return library
