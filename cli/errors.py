"""How a command ends: one clear line on stderr and an exit code, whatever was raised.

Exit codes: 1 for failures, 2 for usage, 75 for a lost worker, 130 for Ctrl-C, 141 for a reader that is gone (as behind
`| head`), 143 for SIGTERM.
"""

from __future__ import annotations

import functools
import signal
import traceback
from collections.abc import Callable
from typing import Any

import typer

from bopkit.cli import streams
from bopkit.cli.output import say
from bopkit.failures import translate

_AFTER_A_STOP = (
    "Existing files are unchanged; a training run resumes with its --output-dir, a sweep, the accuracy of "
    "a benchmark and a download with the same command."
)

debug = False
"""Whether `--debug` was given."""


def reported(command: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a command so that whatever it raises is reported as one line."""

    @functools.wraps(command)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except typer.Exit:
            raise
        except KeyboardInterrupt as interrupt:
            say(f"Interrupted. {_AFTER_A_STOP}")
            raise typer.Exit(130) from interrupt
        except SystemExit as exit:
            if exit.code == 128 + signal.SIGTERM:
                say(f"Told to stop by SIGTERM. {_AFTER_A_STOP}")
            raise
        except Exception as error:
            if isinstance(error, BrokenPipeError) and streams.reader_is_gone():
                streams.drop_what_is_left()
                raise typer.Exit(streams.BROKEN_PIPE) from error
            if debug:
                for line in traceback.format_exc().splitlines():
                    say(line)
            known = translate(error)
            say(f"Error: {known}")
            raise typer.Exit(known.exit_code) from error

    return wrapper
