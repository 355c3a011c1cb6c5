"""`bopkit install-completion`: the archived tool's name for Typer's own option."""

from __future__ import annotations

import contextlib
import io
from typing import Annotated

import typer
import typer.completion

from bopkit.cli.output import show
from bopkit.errors import UsageError


def install_completion(
    shell: Annotated[str | None, typer.Argument(help="bash, zsh, fish or powershell; default: this shell.")] = None,
) -> None:
    """Install completion for a shell; `bopkit --install-completion` does it for this one."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # Typer's own complaint; ours says what to type
            installed, path = typer.completion.install(shell=shell, prog_name="bopkit", complete_var="_BOPKIT_COMPLETE")
    except typer.Exit as error:
        hint = "Name one: `bopkit install-completion bash`, zsh, fish or powershell."
        raise UsageError(f"There is no completion for {shell or 'this shell'}.", hint) from error
    show(f"{installed} completion installed in {path}; it takes effect in a new terminal")
