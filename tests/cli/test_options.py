"""The options of the archived command line (`bnno`), by the names that its users know."""

import re

import pytest
import typer
from command_line import bopkit, succeeded

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


@pytest.mark.integration
def test_commands_that_double_others_work_and_are_not_in_the_help():
    listed = re.findall(r"^\W*(\S+)", succeeded(bopkit("--help")), re.MULTILINE)  # the first word of each line
    for name in ("datasets", "prepare", "tensorboard"):
        assert COMMANDS[name].hidden
        assert name not in listed
        assert succeeded(bopkit(name, "--help"))
    assert "data" in listed
    assert succeeded(bopkit("datasets")) == succeeded(bopkit("data", "list"))
