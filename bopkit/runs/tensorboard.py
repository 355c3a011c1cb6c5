"""TensorBoard on the logs of runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bopkit.errors import BopkitError, UsageError
from bopkit.registry import MODELS
from bopkit.runs.directory import TENSORBOARD_FOLDER, is_run
from bopkit.runs.summary import summarise_run


def serve_tensorboard(model: str | None = None, output_prefix: str | Path = "runs", port: int = 6006) -> None:
    """Run TensorBoard until it is stopped.

    Args:
        model: Show only runs of this network; None for all.
        output_prefix: The folder that runs were written below.
        port: Port on this machine; 0 for any free one.

    Raises:
        UsageError: There is no such network, or there are no logs.
        BopkitError: TensorBoard does not start.
    """
    prefix = Path(output_prefix)
    runs = ",".join(f"{_path_below(run, prefix)}:{run / TENSORBOARD_FOLDER}" for run in find_logs(model, prefix))
    command = [sys.executable, "-m", "tensorboard.main", "--logdir_spec", runs, "--port", str(port)]
    try:
        status = subprocess.run(command, check=False).returncode
    except KeyboardInterrupt:  # the usual way to stop it
        return
    if status:
        raise BopkitError(f"TensorBoard ended with status {status}.", "Is the port taken? Try --port 0.")


def _path_below(run: Path, prefix: Path) -> str:
    """What tells a run from others below the prefix."""
    return run.name if run == prefix else str(run.relative_to(prefix))


def find_logs(model: str | None, prefix: Path) -> list[Path]:
    """Run directories with TensorBoard logs below a folder, those of one network or all.

    Raises:
        UsageError: There is no such network, or there are no logs.
    """
    name = MODELS.load(model).name if model else None
    runs = [logs.parent for logs in sorted(prefix.glob(f"**/{TENSORBOARD_FOLDER}")) if is_run(logs.parent)]
    if name is not None:
        runs = [run for run in runs if summarise_run(run).model == name]
    if not runs:
        raise UsageError(f"No TensorBoard logs below {prefix}.", "Train first, or name a folder with --output-prefix.")
    return runs
