"""No text that is printed reaches the terminal as anything but text, whoever wrote it."""

import ast
import io
import json
from pathlib import Path

import pytest
from command_line import bopkit, failed, forked, succeeded
from written_runs import write_run

from bopkit.cli import output

COMMANDS = Path(__file__).parents[2] / "cli"
HOSTILE = "\x1b[2J\x9b1m\r\n\u202e[red]:warning:[/red]\udcff"
HARMLESS = r"\x1b[2J\x9b1m\r\n\u202e[red]:warning:[/red]\udcff"


@pytest.mark.parametrize(
    "prints",
    [
        output.say,
        output.show,
        output.say_with_time(),
        lambda text: output.print_table([text], []),
        lambda text: output.print_table(["heading"], [[text]]),
        lambda text: output.print_table(["heading"], [["cell"]], title=text),
        output.say_command,
    ],
    ids=["say", "show", "say_with_time", "heading", "cell", "title", "say_command"],
)
def test_text_is_shown_literally(prints, capsys):
    prints(HOSTILE)
    printed = "".join(capsys.readouterr())
    assert HARMLESS in printed
    assert printed.replace("\n", "").isprintable()


class Terminal(io.StringIO):
    """A stream that calls itself a terminal."""

    def isatty(self):
        return True


def test_a_terminal_breaks_messages_between_words_and_no_command(monkeypatch):
    monkeypatch.setattr("sys.stderr", stream := Terminal())
    monkeypatch.setenv("COLUMNS", "30")
    output.say("Nothing is there. Run `bopkit data prepare cifar10 --data-dir data`, then go on.")
    output.say_command("bopkit train binarynet --dataset digits")
    assert stream.getvalue().splitlines() == [
        "Nothing is there. Run",
        "`bopkit data prepare cifar10 --data-dir data`,",
        "then go on.",
        "bopkit train binarynet --dataset digits",
    ]
    monkeypatch.setenv("COLUMNS", "0")  # as some terminals have it
    output.say("a " * 40)
    assert max(map(len, stream.getvalue().splitlines())) <= 80


def test_commands_print_through_it_alone():
    for path in sorted(COMMANDS.glob("*.py")):
        if path.name in ("output.py", "__init__.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if called == "formatter.write":  # of a help, whose text is bopkit's own
                continue
            assert called.rpartition(".")[2] not in ("print", "echo", "secho", "write", "print_exc"), (path, called)


@pytest.mark.integration
def test_a_run_and_an_error_from_a_stranger_s_files(tmp_path):
    run = write_run(tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, "dataset": "\x1b]0;title\x07[bold]"}))
    assert r"\x1b]0;title\x07[bold]" in succeeded(bopkit("runs", run))

    import h5py

    layers = [{"class_name": "\x1b[2JLayer\nError: none", "config": {"name": "layer"}}]
    model = {"class_name": "Sequential", "config": {"name": "net", "layers": layers}}
    with h5py.File(tmp_path / "net.h5", "w") as file:
        file.attrs["model_config"] = json.dumps(model)
        file.create_group("model_weights")
    assert r"\x1b[2JLayer\nError: none" in failed(forked("inspect", tmp_path / "net.h5"))
