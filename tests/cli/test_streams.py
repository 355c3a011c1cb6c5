"""Standard streams and a home as shells, services and containers hand them over."""

import errno
import os
import shlex
import subprocess
import sys

import pytest
import typer
from command_line import PROGRAM

from bopkit.cli import errors, streams

BOPKIT = shlex.join([sys.executable, "-c", PROGRAM])

pytestmark = pytest.mark.integration


def typed(command, **environment):
    """What a shell prints where `bopkit` is typed."""
    script = f'bopkit() {{ {BOPKIT} "$@"; }}; {command}'
    environment = {**os.environ, **environment}
    return subprocess.run(["bash", "-c", script], env=environment, capture_output=True, timeout=60, check=False)


@pytest.mark.parametrize("command", ["hparams binarynet", "models --json", "train --help"])
def test_a_reader_that_is_gone(command):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *command.split()], stdout=writer, stderr=subprocess.PIPE, check=False
        )
    finally:
        os.close(writer)
    assert done.returncode == (1 if "--help" in command else streams.BROKEN_PIPE)  # help is the parser's
    # What a command says beside its data is printed before it.
    assert b"Error" not in done.stderr and b"Broken" not in done.stderr, done.stderr


def test_a_broken_pipe_to_a_worker_is_an_error(capsys):
    def command():
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    with pytest.raises(typer.Exit) as ended:
        errors.reported(command)()
    assert ended.value.exit_code == 1
    assert capsys.readouterr().err.startswith("Error: BrokenPipeError")


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams(closed):
    done = typed(f"bopkit hparams binarynet {closed}; echo code $?; bopkit hparams nope {closed}; echo code $?")
    assert [line for line in done.stdout.splitlines() if line.startswith(b"code")] == [b"code 0", b"code 2"]
    assert b"Traceback" not in done.stderr and b"looks like a bug" not in done.stderr


def test_a_file_does_not_take_the_place_of_a_closed_stdout(tmp_path):
    """Else what C code prints lands in it."""
    program = "import os\nfrom bopkit.cli import streams\nstreams.open_and_tolerant()\n"
    program += "file = open('file', 'w')\nos.write(1, b'C')"
    script = f"cd {shlex.quote(str(tmp_path))}; {shlex.quote(sys.executable)} -c {shlex.quote(program)} >&-"
    assert typed(script).returncode == 0
    assert (tmp_path / "file").read_bytes() == b""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_an_encoding_without_the_characters(encoding, tmp_path):
    done = typed(f"bopkit runs {shlex.quote(str(tmp_path / '日本…'))}", PYTHONIOENCODING=encoding)
    assert done.returncode == 2
    assert b"/???. Name the folder" in done.stderr, done.stderr


def test_names_of_files_pass_as_they_are():
    program = (
        "from bopkit.cli import output, streams; streams.open_and_tolerant(); output.print_path('net\\udcff\\u2026')"
    )
    script = f"{shlex.quote(sys.executable)} -c {shlex.quote(program)}"
    assert typed(script, PYTHONIOENCODING="ascii").stdout == b"net\xff?\n"
    assert typed(script, PYTHONIOENCODING="utf-8").stdout == b"net\xff\xe2\x80\xa6\n"


def test_no_environment():
    done = typed(f"env -i PATH=/usr/bin:/bin {BOPKIT} models")
    assert done.returncode == 0 and done.stderr == b"" and b"binarynet" in done.stdout


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("device list", 0, b""),
        ("install-completion", 1, b"Error: This user has no home folder. Set HOME to a folder of yours: export HOME="),
    ],
)
def test_no_home(command, code, said, tmp_path):
    """The user of a container may have a number only."""
    (tmp_path / "sitecustomize.py").write_text("import pwd\ndef none(uid): raise KeyError\npwd.getpwuid = none\n")
    done = typed(f"unset HOME; bopkit {command}", PYTHONPATH=str(tmp_path))
    assert done.returncode == code and done.stderr.startswith(said), done.stderr


def test_a_full_disk():
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    done = typed("bopkit models > /dev/full")
    assert done.returncode == 1
    assert done.stderr == b"Error: The disk is full. Free some space and run the command again.\n"


def test_a_name_with_a_line_break():
    done = typed("bopkit inspect $'two\\nlines.tflite'")
    (line,) = done.stderr.splitlines()
    assert done.returncode != 0 and b"two\\nlines.tflite" in line
