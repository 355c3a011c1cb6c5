"""The user's own code that is called while a run trains: `--callback MODULE`, `train_model(callbacks=[...])`.

A module, or any object, has one or more of these functions:

on_start(config)   before the first step: the config with `output_dir` and `trained_steps`, above 0 for a resumed run
on_step(row)       with each row of kind `step` in metrics.jsonl, every `--log-every` steps
on_epoch(row)      with each row of kind `epoch`, once row and checkpoint are on the disk
on_end(result)     at the end of the whole run, with its `TrainResult`
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bopkit.errors import BopkitError, UsageError
from bopkit.own_code import HINT, check_origin, failure_in, import_file, import_module, module_here

EVENTS = ("on_start", "on_step", "on_epoch", "on_end")


class Callbacks:
    """Calls the functions of a user's modules and objects, in their order.

    Args:
        callbacks: Names of modules, dotted or plain, paths of `.py` files, or objects with functions of `EVENTS`; a
            single name too.

    Raises:
        UsageError: There is no such module or file, or it has none of the functions.
        BopkitError: A module does not import.
    """

    def __init__(self, callbacks: Sequence[Any] | str | Path = ()):
        self._functions: dict[str, list[tuple[str, Callable[[Any], Any]]]] = {event: [] for event in EVENTS}
        for each in [callbacks] if isinstance(callbacks, str | Path) else callbacks:
            is_named = isinstance(each, str | Path)
            self._add(str(each) if is_named else "", _imported(str(each)) if is_named else each)

    def _add(self, name: str, owner: Any) -> None:
        found = {event: getattr(owner, event) for event in EVENTS if callable(getattr(owner, event, None))}
        if not found:
            raise UsageError(
                f"Callback {name or repr(owner)} has none of the functions {', '.join(EVENTS)}.",
                "Define one of them; docs/training.md shows how.",
            )
        for event, function in found.items():
            self._functions[event].append((name, function))

    def call(self, event: str, value: Any) -> None:
        """Tell all of one event; each gets a copy of its own.

        Args:
            event: One of `EVENTS`.
            value: What the functions take.

        Raises:
            BopkitError: A function of a named module failed. What an object raises comes as it is.
        """
        for name, function in self._functions[event]:
            try:
                function(copy.deepcopy(value))
            except Exception as error:
                if not name:
                    raise
                reason = failure_in(error) or f"{type(error).__name__}: {error}"
                then = "The run is finished." if event == "on_end" else "The same command resumes the run."
                raise BopkitError(f"{event} of callback {name} failed: {reason}.", f"{HINT} {then}") from error


def _imported(name: str) -> Any:
    if name.endswith(".py"):
        return import_file(Path(name), "--callback")
    module, own_file = import_module(name, "--callback"), module_here(name)
    if own_file is not None:
        check_origin(module, own_file)
    return module
