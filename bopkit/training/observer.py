"""The observer that follows a training while it runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from bopkit.progress import Progress, silent
from bopkit.training.callbacks import Callbacks


@dataclasses.dataclass(frozen=True, kw_only=True)
class Observer:
    """What a training tells while it runs.

    Attributes:
        progress: Called with each line that a person should read.
        on_epoch: Called with each epoch's row when row and checkpoint are on the disk; what it raises ends the run.
        callbacks: The user's own code; only the chief of several workers calls it.
        live_bar: Draw a progress bar on stderr.
        verbose: Tell of each variable which optimizer trains it, not only how many.
    """

    progress: Progress = silent
    on_epoch: Callable[[dict[str, Any]], None] | None = None
    callbacks: Callbacks = dataclasses.field(default_factory=Callbacks)
    live_bar: bool = False
    verbose: bool = False
