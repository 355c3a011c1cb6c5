"""What a person sees of a run: a live bar on a terminal, one line an epoch elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

REFRESH_S = 0.25


class TrainingDisplay:
    """Shows epoch, step, ETA, images per second, loss, top-1 and flip ratio on stderr.

    Args:
        epochs: Epochs of the whole run.
        steps_per_epoch: Steps an epoch.
        batch_size: Pictures a step.
        first_epoch: Epochs that are already trained.
    """

    def __init__(self, epochs: int, steps_per_epoch: int, batch_size: int, first_epoch: int):
        self._epochs = epochs
        self._steps_per_epoch = steps_per_epoch
        self._batch_size = batch_size
        self._console = Console(stderr=True)
        self._shown_at = 0.0
        self._epoch_started = 0.0
        self._bar: Progress | None = None
        if sys.stdout.isatty() and self._console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f}% eta"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[figures]}"),
                console=self._console,
            )
            self._task = self._bar.add_task("", total=epochs * steps_per_epoch, figures="")
            self._bar.update(self._task, completed=first_epoch * steps_per_epoch)
            self._bar.start()

    def line(self, text: str) -> None:
        """Print a line above the bar."""
        self._console.print(text, highlight=False, soft_wrap=True)

    def epoch_begin(self) -> None:
        """Start the epoch's clock."""
        self._epoch_started = time.perf_counter()

    def step(self, epoch: int, step: int, figures: Mapping[str, Any], flip_ratio: float | None) -> None:
        """Show one step; epoch and step count from 0."""
        now = time.perf_counter()
        if self._bar is None or now - self._shown_at < REFRESH_S:
            return
        self._shown_at = now
        rate = (step + 1) * self._batch_size / max(now - self._epoch_started, 1e-9)
        flips = "" if flip_ratio is None else f"  flips {flip_ratio:.2e}"
        self._bar.update(
            self._task,
            completed=epoch * self._steps_per_epoch + step + 1,
            description=f"epoch {epoch + 1}/{self._epochs} step {step + 1}/{self._steps_per_epoch}",
            figures=f"{rate:,.0f} images/s  loss {figures['loss']:.4f}  top-1 {figures['top1']:.2%}{flips}",
        )

    def epoch_end(self, row: Mapping[str, Any]) -> None:
        """Print the row of a finished epoch; its `epoch` counts from 1."""
        if self._bar is not None:
            self._bar.update(self._task, completed=row["epoch"] * self._steps_per_epoch)
        validation = f"  validation top-1 {row['val_top1']:.2%}" if "val_top1" in row else ""
        self.line(
            f"epoch {row['epoch']}/{self._epochs}  loss {row['loss']:.4f}  top-1 {row['top1']:.2%}{validation}  "
            f"flip ratio {row['flip_ratio']:.2e}  {row['images_per_second']:,.0f} images/s"
        )

    def stop(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
