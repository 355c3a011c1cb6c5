"""Runs Python programs on a terminal of their own."""

import os
import pty
import subprocess
import sys

from command_line import PROGRAM


def in_terminal(columns, *arguments, program=PROGRAM, kind="dumb"):
    """The lines that a program, `bopkit ARGUMENTS...` unless named, prints on a terminal of that width and kind."""
    parent, child = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": kind}
    process = subprocess.Popen([sys.executable, "-c", program, *arguments], stdout=child, stderr=child, env=environment)
    os.close(child)
    text = b""
    try:
        while chunk := os.read(parent, 65_536):
            text += chunk
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(parent)
    assert process.wait() == 0, text.decode()
    return text.decode().splitlines()
