"""`bopkit install-completion`: the archived tool's name for Typer's own option."""

from __future__ import annotations

import subprocess
import sys
from typing import Annotated

import typer


def install_completion(
    shell: Annotated[str | None, typer.Argument(help="bash, zsh, fish or powershell; default: this shell.")] = None,
) -> None:
    """Install completion for a shell; the same as `bopkit --install-completion`."""
    program = "from bopkit.cli import main; main()"
    option = ["--install-completion", *([shell] if shell else [])]
    raise typer.Exit(subprocess.run([sys.executable, "-c", program, *option], check=False).returncode)
