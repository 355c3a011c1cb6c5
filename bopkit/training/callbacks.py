"""What happens between the steps of a run. Imported by the trainer only, since it needs Keras.

Order at the end of an epoch: the row is written, then the checkpoint. A crash between the two is mended by the
resume rules of `RunDirectory`.
"""

from __future__ import annotations

import math
import time
from typing import Any

from bopkit.errors import BopkitError
from bopkit.keras2 import import_tensorflow
from bopkit.training.display import TrainingDisplay
from bopkit.training.flips import FlipMeter
from bopkit.training.run_directory import RunDirectory

Callback: Any = import_tensorflow().keras.callbacks.Callback


class StepWatch(Callback):
    """Measures flips, feeds the display, and stops the run at a loss that is not finite."""

    def __init__(self, flips: FlipMeter, display: TrainingDisplay):
        super().__init__()
        self._flips = flips
        self._display = display
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Start the epoch's clock."""
        self._epoch = epoch
        self._display.epoch_begin()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Remember the signs of the binary kernels."""
        self._flips.before_step(batch)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Count flips, check the loss, show the figures."""
        self._flips.after_step()
        if not math.isfinite(logs["loss"]):
            raise BopkitError(
                f"The loss is {logs['loss']} at step {batch + 1} of epoch {self._epoch + 1}.",
                "Lower it with `--hparams learning_rate=`, or start anew from another --seed.",
            )
        self._display.step(self._epoch, batch, logs, self._flips.latest)


class EpochRecord(Callback):
    """Writes the row of each epoch, then its checkpoint."""

    def __init__(
        self,
        run: RunDirectory,
        flips: FlipMeter,
        display: TrainingDisplay,
        checkpoints: Any,
        pictures_per_epoch: int,
    ):
        super().__init__()
        self._run = run
        self._flips = flips
        self._display = display
        self._checkpoints = checkpoints
        self._pictures = pictures_per_epoch
        self._began = self._trained = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Start the clock."""
        self._began = time.perf_counter()

    def on_test_begin(self, logs: Any = None) -> None:
        """Stop the clock of the epoch's training: validation begins."""
        self._trained = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Write row and checkpoint."""
        seconds = self._trained - self._began
        figures = {name: float(value) for name, value in (logs or {}).items()}
        row = {
            "epoch": epoch + 1,
            **figures,
            "flip_ratio": self._flips.epoch_mean(),
            "images_per_second": self._pictures / seconds,
            "epoch_seconds": time.perf_counter() - self._began,
            **_schedules(self.model.optimizer),
        }
        self._run.append_metrics(row)
        self._checkpoints.checkpoint.epoch.assign(epoch + 1)
        self._checkpoints.save()
        self._display.epoch_end(row)


def _schedules(optimizer: Any) -> dict[str, float]:
    """The values of gamma, threshold and learning rate at the step that comes next."""
    values = {}
    for inner in getattr(optimizer, "optimizers", [optimizer]):
        for name in ("gamma", "threshold", "learning_rate"):
            if name in inner._hyper:
                hyper = inner._get_hyper(name)
                values[name] = float(hyper(inner.iterations) if callable(hyper) else hyper)
    return values
