"""What a person sees of a run: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import datetime
import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from bopkit import progress

BAR_EVERY_S = 0.25
LINE_EVERY_S = 30.0
"""Seconds between two lines where there is no bar: a log that shows life and can still be read."""


class TrainingDisplay:
    """Shows epoch, step, ETA, images per second, loss, top-1 and flip ratio.

    Args:
        epochs: Epochs of the whole run.
        steps_per_epoch: Steps an epoch.
        batch_size: Pictures a step.
        trained_steps: Steps that are already trained.
        say: Takes the plain lines.
        bar: Draw a live bar on stderr, and the lines above it.
    """

    def __init__(
        self, epochs: int, steps_per_epoch: int, batch_size: int, trained_steps: int, say: progress.Progress, bar: bool
    ):
        self._epochs = epochs
        self._steps_per_epoch = steps_per_epoch
        self._batch_size = batch_size
        self._trained_steps = trained_steps
        self._say = say
        self._started = self._shown = self._rate_since = time.perf_counter()
        self._rate_steps = 0
        self._bar: Progress | None = None
        if bar:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f}% eta"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[figures]}"),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task("", total=epochs * steps_per_epoch, figures="")
            self._bar.update(self._task, completed=trained_steps)
            self._bar.start()

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
        if now - self._shown < (LINE_EVERY_S if self._bar is None else BAR_EVERY_S):
            return
        self._shown = now
        where = f"epoch {epoch + 1}/{self._epochs} step {step}/{self._steps_per_epoch}"
        rate = self._rate_steps * self._batch_size / max(now - self._rate_since, 1e-9)
        flips = "" if flip_ratio is None else f"  flips {flip_ratio:.2e}"
        text = f"{rate:,.0f} images/s  loss {figures['loss']:.4f}  top-1 {figures['top1']:.2%}{flips}"
        completed = epoch * self._steps_per_epoch + step
        if self._bar is not None:
            self._bar.update(self._task, completed=completed, description=where, figures=text)
        else:
            self._say(f"{where}  eta {self._eta(completed, now)}  {text}")

    def print_epoch(self, row: Mapping[str, Any]) -> None:
        """Print the row of a finished epoch; its `epoch` counts from 1."""
        self._rate_since, self._rate_steps = time.perf_counter(), 0
        validation = f"  validation top-1 {row['val_top1']:.2%}" if "val_top1" in row else ""
        line = (
            f"epoch {row['epoch']}/{self._epochs}  loss {row['loss']:.4f}  top-1 {row['top1']:.2%}{validation}  "
            f"flip ratio {row['flip_ratio']:.2e}  {row['images_per_second']:,.0f} images/s"
        )
        if self._bar is not None:
            self._bar.update(self._task, completed=row["epoch"] * self._steps_per_epoch)
            self._bar.console.print(line, highlight=False, soft_wrap=True)
        else:
            self._say(line)

    def stop(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()

    def _eta(self, completed: int, now: float) -> datetime.timedelta:
        """Time that the rest of the run takes at the pace so far, validation included."""
        here = max(completed - self._trained_steps, 1)
        left = self._epochs * self._steps_per_epoch - completed
        return datetime.timedelta(seconds=round((now - self._started) * left / here))
