"""What a person sees of a run: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import datetime
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from bopkit import progress

BAR_EVERY_S = 0.25
LINE_EVERY_S = 30.0
"""Seconds between two lines where there is no bar: a log that shows life and can still be read."""

LEAST_BAR, MOST_BAR = 10, 40
"""Columns of a bar: it is drawn where all the figures leave it room."""

GAP = "  "


class TrainingDisplay:
    """Shows epoch, step, ETA, images per second, loss, top-1 and flip ratio.

    Args:
        epochs: Epochs of the whole run.
        steps_per_epoch: Steps an epoch.
        batch_size: Pictures a step.
        trained_steps: Steps that are already trained.
        say: Takes the plain lines.
        bar: Draw a live bar on stderr, and the lines above it.
        shows_balanced: Whether lines of epochs show the balanced accuracy beside top-1.
    """

    def __init__(
        self,
        epochs: int,
        steps_per_epoch: int,
        batch_size: int,
        trained_steps: int,
        say: progress.Progress,
        bar: bool,
        shows_balanced: bool = False,
    ):
        self._epochs = epochs
        self._steps_per_epoch = steps_per_epoch
        self._batch_size = batch_size
        self._trained_steps = trained_steps
        self._say = say
        self._shows_balanced = shows_balanced
        self._started = self._shown = self._rate_since = time.perf_counter()
        self._rate_steps = 0
        self._live: Live | None = None
        if bar:
            self._live = Live(console=Console(stderr=True), auto_refresh=False, transient=True)
            self._live.start()
            self._draw([f"epoch {min(trained_steps // steps_per_epoch + 1, epochs)}/{epochs}"], trained_steps)

    def show_step(self, epoch: int, step: int, figures: Mapping[str, Any], flip_ratio: float | None) -> None:
        """Show one step, not more often than a person reads.

        Args:
            epoch: From 0.
            step: Steps of it that are done.
            figures: Mean `loss` and `top1` of the epoch so far.
            flip_ratio: Of the last measured step; None before the first.
        """
        now = time.perf_counter()
        self._rate_steps += 1
        if now - self._shown < (LINE_EVERY_S if self._live is None else BAR_EVERY_S):
            return
        self._shown = now
        rate = self._rate_steps * self._batch_size / max(now - self._rate_since, 1e-9)
        completed = epoch * self._steps_per_epoch + step
        parts = [
            f"epoch {epoch + 1}/{self._epochs}",
            f"eta {self._eta(completed, now)}",
            f"step {step}/{self._steps_per_epoch}",
            f"loss {figures['loss']:.4f}",
            f"top-1 {figures['top1']:.2%}",
            f"{rate:,.0f} images/s",
            *([] if flip_ratio is None else [f"flips {flip_ratio:.2e}"]),
        ]
        if self._live is not None:
            self._draw(parts, completed)
        else:
            self._say(GAP.join(parts))

    def print_epoch(self, row: Mapping[str, Any]) -> None:
        """Print the row of a finished epoch; its `epoch` counts from 1."""
        self._rate_since, self._rate_steps = time.perf_counter(), 0
        validation = f"  validation top-1 {row['val_top1']:.2%}" if "val_top1" in row else ""
        if self._shows_balanced and "val_balanced_accuracy" in row:
            validation += f"  balanced {row['val_balanced_accuracy']:.2%}"
        line = (
            f"epoch {row['epoch']}/{self._epochs}  loss {row['loss']:.4f}  top-1 {row['top1']:.2%}{validation}  "
            f"flip ratio {row['flip_ratio']:.2e}  {row['images_per_second']:,.0f} images/s"
        )
        if self._live is not None:
            self._live.console.print(line, highlight=False, markup=False)
        else:
            self._say(line)

    def stop(self) -> None:
        """Take the live line away."""
        if self._live is not None:
            self._live.stop()

    def _draw(self, parts: Sequence[str], completed: int) -> None:
        assert self._live is not None
        line = live_line(parts, completed / (self._epochs * self._steps_per_epoch), self._live.console.width)
        self._live.update(Text(line, no_wrap=True, overflow="crop"), refresh=True)

    def _eta(self, completed: int, now: float) -> datetime.timedelta:
        """Time that the rest of the run takes at the pace so far, validation included."""
        here = max(completed - self._trained_steps, 1)
        left = self._epochs * self._steps_per_epoch - completed
        return datetime.timedelta(seconds=round((now - self._started) * left / here))


def live_line(parts: Sequence[str], done: float, width: int) -> str:
    """What of a line fits a terminal: its first parts, and behind all of them a bar.

    Args:
        parts: The most important first.
        done: Share of the training that is done, 0 to 1.
        width: Columns of the terminal.
    """
    line = parts[0]
    for part in parts[1:]:
        if len(line + GAP + part) > width:
            return line
        line += GAP + part
    bar = min(width - len(line + GAP), MOST_BAR)
    if bar < LEAST_BAR:
        return line
    filled = round(done * bar)
    return f"{line}{GAP}{'━' * filled}{'─' * (bar - filled)}"
