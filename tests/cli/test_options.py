"""The options of the archived command line (`bnno`), by the names that its users know."""

import re

import pytest
import typer
from command_line import bopkit, succeeded
from typer.testing import CliRunner

from bopkit.cli.main import app

COMMANDS = typer.main.get_command(app).commands
OF_DEVICES = COMMANDS["device"].commands

ARCHIVED = {
    "train": {
        "--dataset",
        "--hparams-set",
        "--hparams",
        "--preprocess-fn",
        "--data-dir",
        "--data-cache",
        "--dataset-version",
        "--output-prefix",
        "--output-dir",
        "--logdir",
        "--validationset",
        "--tensorboard",
        "--no-tensorboard",
    },
    "prepare": {"--data-dir"},
    "tensorboard": {"--output-prefix"},
    "install-completion": set(),
}


def options(command):
    return {name for parameter in COMMANDS[command].params for name in (*parameter.opts, *parameter.secondary_opts)}


@pytest.mark.parametrize("command", ARCHIVED)
def test_every_option_of_the_archived_command_line_exists(command):
    assert ARCHIVED[command] - options(command) == set()


def test_json_wherever_a_command_answers_with_figures():
    assert {name for name in COMMANDS if "--json" in options(name)} == {
        "train",
        "sweep",
        "evaluate",
        "refresh",
        "predict",
        "pull",
        "runs",
        "plot",
        "export",
        "verify",
        "inspect",
        "diff",
        "benchmark",
        "report",
        "compare",
        "models",
        "hparams",
        "datasets",
        "doctor",
    }


def test_json_of_every_command_for_devices():
    assert set(OF_DEVICES) == {"list", "info", "setup", "remove"}
    for name, command in OF_DEVICES.items():
        assert any("--json" in parameter.opts for parameter in command.params), name


def test_every_option_says_what_it_does():
    for name, command in [*COMMANDS.items(), *OF_DEVICES.items()]:
        assert command.help, name
        for parameter in command.params:
            assert parameter.help, f"{name} {parameter.name}"


def helped(columns, *path):
    """What `bopkit PATH --help` prints on a terminal of that width."""
    result = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": str(columns)}, prog_name="bopkit")
    assert result.exit_code == 0
    return result.stdout


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_no_help_breaks_a_name_a_value_or_a_default(columns):
    paths = [(), *((name,) for name in COMMANDS)]
    paths += [(group, name) for group in ("data", "device") for name in COMMANDS[group].commands]
    assert len(paths) >= 30
    for path in paths:
        lines = helped(columns, *path).splitlines()
        assert max(map(len, lines)) <= min(columns, 80), path
        command = COMMANDS[path[0]] if path else typer.main.get_command(app)
        command = command.commands[path[1]] if len(path) == 2 else command
        assert " ".join(command.help.split()) in " ".join(" ".join(lines).split())
        context = typer.Context(command, info_name="bopkit")
        for parameter in command.get_params(context):
            if (record := parameter.get_help_record(context)) is None:
                continue
            name, text = record
            body, _, facts = text.partition("  [")
            assert any(line.startswith(f"  {name}") for line in lines), (path, name)
            is_sentence = columns < 80 and "(" in facts  # in place of a default's value
            assert is_sentence or any(facts in line for line in lines), (path, name, facts)
            words = {word for line in lines for word in line.split()}
            assert words >= {*body.split(), *facts.split()[1:]}, (path, name)


def test_help_keeps_text_in_brackets_and_lists_whole_sentences():
    assert "ssh://[user@]host[:port], adb[:serial] or local.  [required]" in helped(80, "device", "info")
    listed = " ".join(helped(80).split())
    assert COMMANDS["train"].help in listed and "..." not in listed.partition("Commands:")[2]


@pytest.mark.integration
def test_commands_that_double_others_work_and_are_not_in_the_help():
    listed = re.findall(r"^\W*(\S+)", succeeded(bopkit("--help")), re.MULTILINE)  # the first word of each line
    for name in ("datasets", "prepare", "tensorboard"):
        assert COMMANDS[name].hidden
        assert name not in listed
        assert succeeded(bopkit(name, "--help"))
    assert "data" in listed
    assert succeeded(bopkit("datasets")) == succeeded(bopkit("data", "list"))
