"""TensorBoard on the logs of runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bopkit.errors import BopkitError, UsageError
from bopkit.registry import MODELS


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
    name = MODELS.load(model).name if model else "*"
    prefix = Path(output_prefix)
    logs = sorted(prefix.glob(f"**/{name}/*/tensorboard")) or ([] if model else sorted(prefix.glob("**/tensorboard")))
    if not logs:
        raise UsageError(f"No TensorBoard logs below {prefix}.", "Train first, or name a folder with --output-prefix.")
    runs = ",".join(f"{log.parent.relative_to(prefix)}:{log}" for log in logs)
    command = [sys.executable, "-m", "tensorboard.main", "--logdir_spec", runs, "--port", str(port)]
    try:
        status = subprocess.run(command, check=False).returncode
    except KeyboardInterrupt:  # the usual way to stop it
        return
    if status:
        raise BopkitError(f"TensorBoard ended with status {status}.", "Is the port taken? Try --port 0.")
