"""How long a run trains, also one that is made longer than it was asked for at first.

A schedule that is constant or counted in epochs (a staircase, a warm-up) goes on in a longer run as if that had been
asked for at first. One over the whole run, such as linear or cosine, was stretched over the epochs of the beginning:
its steps are trained, so it stays and holds its end.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from bopkit.errors import UsageError
from bopkit.hparams import HParams
from bopkit.optim.schedules import whole_run_schedules
from bopkit.runs.directory import has_progress, is_run, read_config


@dataclasses.dataclass(frozen=True)
class RunLength:
    """Epochs of a run, and what became of its schedules.

    Attributes:
        schedule_epochs: Epochs that schedules over the whole run take: those of the run as it began.
        extended_after: The lengths, in epochs, that the run had before it was made longer; the first one first.
        held: Names of the schedules that hold their end value after `schedule_epochs`.
        extends: Whether this call makes it longer.
    """

    schedule_epochs: int
    extended_after: tuple[int, ...] = ()
    held: tuple[str, ...] = ()
    extends: bool = False

    def config(self) -> dict[str, Any]:
        """What a run that was made longer has in its config, and no other."""
        extended = {"extended_after": list(self.extended_after)} if self.extended_after else {}
        return extended | ({"schedule_epochs": self.schedule_epochs} if self.held else {})


def run_length(output_dir: Path | None, hparams: HParams, extend: bool) -> RunLength:
    """The length that is asked for, on top of what the run in a folder has trained.

    Args:
        output_dir: The folder of the run; None for a new one.
        hparams: Those that are asked for.
        extend: Whether a run may be made longer.

    Raises:
        UsageError: There is no run to make longer, or its config is damaged.
    """
    if extend and (output_dir is None or not is_run(output_dir)):
        missing = f"there is none in {output_dir}" if output_dir else "none is named"
        raise UsageError(f"--extend trains a run for longer, and {missing}.", "Name it with --output-dir.")
    if output_dir is None or not is_run(output_dir) or not has_progress(output_dir):
        return RunLength(hparams.epochs)
    config = read_config(output_dir)
    before = config["hparams"].get("epochs", hparams.epochs)
    extended_after = tuple(config.get("extended_after", ()))
    extends = extend and hparams.epochs > before
    if extends:
        extended_after = (*extended_after, before)
    if not extended_after:
        return RunLength(hparams.epochs)
    return RunLength(
        schedule_epochs=extended_after[0],
        extended_after=extended_after,
        held=whole_run_schedules(hparams),
        extends=extends,
    )
