"""Forks: the child has the memory of its parent and none of its threads.

Freeing an interpreter of LiteRT waits for its threads, so the child would hang or crash.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from typing import Any

_users: weakref.WeakSet[Any] = weakref.WeakSet()
_threaded: weakref.WeakSet[Any] = weakref.WeakSet()


def notify(user: Any) -> None:
    """Call `user.after_fork()` in every child that is forked while it lives."""
    _users.add(user)


def never_free_in_child(native: Any) -> None:
    """Let no child free an object of LiteRT that has threads."""
    _threaded.add(native)


def _after_fork_in_child() -> None:
    for native in _threaded:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(native))  # also past the end of Python, which frees what it can
    _threaded.clear()
    for user in list(_users):
        user.after_fork()


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_after_fork_in_child)
