"""What must answer at once imports no TensorFlow, and prints data on stdout only."""

import json
import os
import subprocess
import sys
import time

import pytest
from command_line import NO_TENSORFLOW, PROGRAM, bopkit, succeeded

pytestmark = pytest.mark.integration

AT_ONCE = [
    "--help",
    "--version",
    "train --help",
    "predict --help",
    "pull --help",
    "pull",
    "pull --json",
    "models",
    "models --sort params",
    "models --json",
    "datasets",
    "datasets --json",
    "data list",
    "sweep --help",
    "runs --help",
    "hparams binarynet",
    "hparams binarynet bop_sec52 --json",
]


@pytest.mark.parametrize("command", AT_ONCE)
def test_answers_without_tensorflow(command):
    began = time.perf_counter()
    result = bopkit(*command.split(), program=NO_TENSORFLOW)
    print(f"bopkit {command}: {time.perf_counter() - began:.2f} s")
    assert succeeded(result)
    if "--json" in command:
        assert json.loads(result.stdout)
        assert result.stderr == ""


def complete(words, program=PROGRAM):
    """What bash offers after `words`, as Typer's completion script asks for it."""
    asked = {"_BOPKIT_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    return succeeded(bopkit(program=program, env={**os.environ, **asked})).split()


@pytest.mark.parametrize(
    "words, offered",
    [
        ("bopkit be", ["benchmark"]),
        ("bopkit train binary_d", [f"binary_densenet{name}" for name in ("28", "37", "37_dilated", "45")]),
        ("bopkit train al", ["alexnet"]),
        ("bopkit pull binarynet_f", ["binarynet_fashion_mnist"]),
        ("bopkit data prepare cifar", ["cifar10", "cifar100"]),
        ("bopkit train binarynet --dataset imag", ["imagenet2012"]),
        ("bopkit train binarynet --hparams-s", ["--hparams-set"]),
    ],
)
def test_completion_without_tensorflow(words, offered):
    assert complete(words, NO_TENSORFLOW) == offered


def test_install_completion_writes_where_the_shell_looks(tmp_path):
    result = bopkit("install-completion", "bash", env={**os.environ, "HOME": str(tmp_path)})
    assert "bash completion installed" in succeeded(result)
    (script,) = (path for path in tmp_path.rglob("*.sh"))
    assert "_BOPKIT_COMPLETE=complete_bash" in script.read_text()


def test_the_console_script_is_the_same_program():
    script = os.path.join(os.path.dirname(sys.executable), "bopkit")
    result = subprocess.run([script, "--version"], check=True, capture_output=True, text=True)
    assert result.stdout == bopkit("--version").stdout
