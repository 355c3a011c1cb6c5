"""Code of the user's own, networks, datasets and layers: importing it, and where in it an error came from."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bopkit.errors import BopkitError, UsageError, first_line

_roots: set[Path] = set()
"""Folders of packages and files of modules that the user named."""

HINT = "That is your own code: mend it there; --debug shows the traceback."
"""What to do about an error that came from there."""

_PLACE_IN_TEXT = re.compile(r'File "([^"]+)", line (\d+)')
"""How AutoGraph writes places: it runs copies of the user's functions, so that the traceback has no lines of these."""

_IN_USER_CODE = re.compile(r"in user code:\n.*?\n    (\w+: [^\n]*)", re.DOTALL)
"""What AutoGraph says of an error, between the places and what Keras adds."""

_IN_PYTHON_FUNCTION = re.compile(r"(\w*(?:Error|Exception): [^\n]*)\nTraceback \(most recent call last\)")
"""What TensorFlow says of a Python function that failed in one of its graphs."""


def module_here(name: str) -> Path | None:
    """The file of the package or module of that plain name in the working folder; None where there is none."""
    candidates = (Path(name, "__init__.py"), Path(f"{name}.py")) if name.isidentifier() else ()
    return next((each for each in candidates if each.is_file()), None)


def import_module(
    module_name: str, purpose: str, hint: str = "Run from the folder that holds it, or install it."
) -> Any:
    """Import a module that the user named.

    Args:
        module_name: Its dotted name.
        purpose: What it is for, in the message.
        hint: What to type if there is none.

    Raises:
        UsageError: There is no such module.
        BopkitError: It does not import.
    """
    if not all(module_name.split(".")):  # Python would look for it beside a package
        raise UsageError(f"{module_name!r}, for {purpose}, is not the name of a module.", hint)
    try:
        return _import(module_name, Path.cwd())
    except ModuleNotFoundError as error:
        if error.name and module_name.startswith(error.name):
            raise UsageError(f"No module {module_name!r} for {purpose}.", hint) from error
        raise _broken_module(module_name, error) from error
    except Exception as error:  # the user's own module can raise anything
        raise _broken_module(module_name, error) from error


def import_file(path: Path, purpose: str) -> Any:
    """Import a Python file that the user named, as the part of a package where it is in one.

    Args:
        path: Of the file; what lies in its folder can be imported by it.
        purpose: What it is for, in the message.

    Raises:
        UsageError: There is no such file, or another module has its name.
        BopkitError: It does not import.
    """
    if not path.is_file():
        raise UsageError(f"There is no file {path} for {purpose}.", "Check the path; a module is named without .py.")
    folder, parts = path.resolve().parent, [path.stem] if path.stem != "__init__" else []
    while (folder / "__init__.py").is_file():
        folder, parts = folder.parent, [folder.name, *parts]
    name = ".".join(parts)
    try:
        module = _import(name, folder)
    except Exception as error:  # the user's own module can raise anything
        raise _broken_module(str(path), error) from error
    check_origin(module, path)
    return module


def check_origin(module: Any, file: Path) -> None:
    """Make sure that a module is that of a file: Python's own, and what is imported already, come first."""
    origin = getattr(module, "__file__", None)
    if origin is None or Path(origin).resolve() != file.resolve():
        raise UsageError(
            f"{file} is hidden by another module {module.__name__}{f', {origin}' if origin else ''}.",
            "Rename the file.",
        )


def _broken_module(module_name: str, error: Exception) -> BopkitError:
    reason = failure_in(error) or f"{type(error).__name__}: {first_line(error)}"
    hint = "Mend it; --debug shows the traceback."
    if isinstance(error, ModuleNotFoundError) and error.name:
        hint = f"Install {error.name.partition('.')[0]} beside bopkit, or mend the module; --debug shows the traceback."
    return BopkitError(f"Module {module_name} cannot be imported: {reason}.", hint)


def _import(module_name: str, folder: Path) -> Any:
    """Import a module, also from a folder; a console script leaves the working directory out of `sys.path`."""
    importlib.invalidate_caches()  # a file may have been written since the folder was read
    here = str(folder)
    is_on_path = here in sys.path or (folder == Path.cwd() and "" in sys.path)
    if not is_on_path:
        sys.path.append(here)
    try:
        _remember(module_name)
        return importlib.import_module(module_name)
    finally:
        if not is_on_path:
            sys.path.remove(here)


def _remember(module_name: str) -> None:
    """Take a module that the user named, and the package that it is in, for code of the user's own."""
    top = module_name.partition(".")[0]
    spec = None if top == "bopkit" else importlib.util.find_spec(top)
    if spec is None:
        return
    if spec.submodule_search_locations is not None:
        _roots.update(Path(folder).resolve() for folder in spec.submodule_search_locations)
    elif spec.has_location and spec.origin is not None:
        _roots.add(Path(spec.origin).resolve())


def is_in_use() -> bool:
    """Whether the user has named a module."""
    return bool(_roots)


def failure_in(error: BaseException) -> str:
    """What failed in the user's own code, and at which place: the last one there on the way to an error.

    Returns:
        For instance `KeyError: 'filters' (nets/small.py, line 12)`; empty where no code of the user's own took part.
    """
    for each in _with_causes(error):
        frames = [(frame.filename, frame.lineno or 0) for frame in traceback.extract_tb(each.__traceback__)]
        named = [(name, int(line)) for name, line in _PLACE_IN_TEXT.findall(str(each))]
        own = [(name, line) for name, line in (*frames, *named) if _is_own(name)]
        if own:
            name, line = own[-1]
            return f"{_reason(each)} ({_shown(Path(name))}, line {line})"
    return ""


def _reason(error: BaseException) -> str:
    """Class and text of an error in one line, without what TensorFlow and Keras write around them."""
    within = _IN_USER_CODE.search(str(error)) or _IN_PYTHON_FUNCTION.search(str(error))
    return (within[1] if within else f"{type(error).__name__}: {first_line(error)}").rstrip(".")[:300]


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or following.__context__


def _is_own(file_name: str) -> bool:
    path = Path(file_name).resolve()
    return any(root == path or root in path.parents for root in _roots)


def _shown(path: Path) -> Path:
    """The path from here, where it lies below."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
