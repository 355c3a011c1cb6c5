"""The rows of a run: into metrics.jsonl, and into TensorBoard under the same names."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from bopkit.keras2 import import_tensorflow
from bopkit.runs.directory import RunDirectory
from bopkit.training.flips import LayerFlips, flip_ratio


class MetricsWriter:
    """Writes the rows of a run.

    Args:
        run: The run directory.
        tensorboard: Write TensorBoard logs too: `train/` and `validation/`.
        trained_steps: Steps that are already trained: what TensorBoard shows of later ones is going to be replaced.
        writes: False for a worker that is not the chief: it leaves nothing.
    """

    def __init__(self, run: RunDirectory, tensorboard: bool, trained_steps: int, writes: bool = True):
        self._run = run
        self._writes = writes
        self._writers: dict[str, Any] = {}
        if tensorboard and writes:
            create = import_tensorflow().summary.create_file_writer
            self._writers = {name: create(str(run.tensorboard / name)) for name in ("train", "validation")}
            self._drop_from(trained_steps + 1)

    def write_step_row(self, row: Mapping[str, Any], layers: list[LayerFlips]) -> dict[str, Any]:
        """Write the row of a measured step, with the flips of each layer; returns it as it is written."""
        whole = {
            "kind": "step",
            **row,
            "flip_ratio": flip_ratio(layers),
            "layers": {layer.name: layer.to_dict() for layer in layers},
        }
        if not self._writes:
            return whole
        self._run.append_metrics(whole)
        scalars = {name: value for name, value in whole.items() if isinstance(value, float)}
        for layer in layers:
            scalars.update({f"{name}/{layer.name}": value for name, value in layer.to_dict().items()})
        self._write("train", scalars, whole["step"])
        return whole

    def append_epoch_row(self, row: dict[str, Any]) -> None:
        """Write the row of a finished epoch."""
        if self._writes:
            self._run.append_metrics(row)

    def sync(self) -> None:
        """Make sure that the rows are on the disk: before a checkpoint, which goes on after them."""
        if self._writes:
            self._run.sync_metrics()

    def show_in_tensorboard(self, row: Mapping[str, Any]) -> None:
        """Show an epoch in TensorBoard, which cannot take it back: call it when the epoch's checkpoint is written."""
        figures = {name: value for name, value in row.items() if isinstance(value, float)}
        for prefix, writer in (("", "train"), ("val_", "validation")):
            names = ("loss", "top1", "top5")
            scalars = {f"epoch_{name}": figures[prefix + name] for name in names if prefix + name in figures}
            self._write(writer, scalars, row["epoch"])
        for each in self._writers.values():
            each.flush()

    def close(self) -> None:
        """Write out what is still held back."""
        for writer in self._writers.values():
            writer.close()

    def _drop_from(self, step: int) -> None:
        """Tell TensorBoard to forget the steps from `step` on: a killed process may have trained them before us."""
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog

        start = Event(step=step, wall_time=time.time(), session_log=SessionLog(status=SessionLog.START))
        # The only way to write an event that is no summary leads through the writer's handle.
        import_tensorflow().raw_ops.ImportEvent(
            writer=self._writers["train"]._resource, event=start.SerializeToString()
        )

    def _write(self, name: str, scalars: Mapping[str, float], step: int) -> None:
        if name not in self._writers:
            return
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.scalar.summary_v2 import scalar_pb

        # One op for all: with one for each, a row costs as much as a step of a small network.
        values = [value for tag, scalar in scalars.items() for value in scalar_pb(tag, scalar).value]
        with self._writers[name].as_default():
            summary = Summary(value=values).SerializeToString()
            import_tensorflow().summary.experimental.write_raw_pb(summary, step=step)
