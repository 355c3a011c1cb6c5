"""Code of the user's own that bopkit runs, networks, datasets and layers: where in it an error came from."""

from __future__ import annotations

import importlib.util
import re
import traceback
from collections.abc import Iterator
from pathlib import Path

from bopkit.errors import first_line

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


def remember(module_name: str) -> None:
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
