"""The README's commands parse, the CLI reference names every option, and the example network trains."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import failed, forked, succeeded
from typer.testing import CliRunner

from bopkit import load_model
from bopkit.cli.main import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def code_blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def readme_commands():
    return [line for block in code_blocks("bash") for line in block.splitlines() if line.startswith("bopkit ")]


def test_there_are_commands_to_check():
    assert len(readme_commands()) >= 15


@pytest.mark.integration
@pytest.mark.parametrize("command", readme_commands())
def test_readme_commands_parse(command):
    """An unknown command or option is refused before --help is answered."""
    result = CliRunner().invoke(app, [*shlex.split(command)[1:], "--help"])
    assert result.exit_code == 0, result.output


def test_the_cli_reference_is_up_to_date():
    command = [sys.executable, "-m", "typer", "bopkit.cli.main", "utils", "docs", "--name", "bopkit"]
    generated = subprocess.run(
        [*command, "--title", "bopkit command line"], check=True, capture_output=True, text=True
    ).stdout
    assert generated.count("## `bopkit ") >= 11
    assert (ROOT / "docs" / "cli.md").read_text().strip() == generated.strip(), "run `make docs`"


@pytest.mark.parametrize("benchmark", ["accuracy", "transfer"])
def test_the_page_of_results_has_what_the_benchmarks_recorded(benchmark):
    command = [sys.executable, ROOT / "tests" / "benchmarks" / f"{benchmark}.py", "--recorded"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    assert printed.count("\n|") >= 4
    assert printed in (ROOT / "docs" / "results.md").read_text(), f"put the output of {benchmark}.py --recorded there"


@pytest.mark.parametrize("page", ["docs/life_of_a_model.md", ".github/CONTRIBUTING.md"])
def test_the_files_that_a_map_names_exist(page):
    """A whole path, or the name of a file in the folder of a path before it."""
    folders, named = [ROOT], 0
    for name in re.findall(r"`([\w./]+(?:\.\w+|/))`", (ROOT / page).read_text()):
        found = [folder / name for folder in folders if (folder / name).exists()]
        if not re.search(r"\.(py|json|md)$|/$", name):
            continue  # a file of the user's, or a name in Python
        assert found, f"{page} names {name}"
        named += 1
        folders.append(found[-1] if found[-1].is_dir() else found[-1].parent)
    assert named >= 8


@pytest.mark.parametrize("page", ["README.md", ".github/CONTRIBUTING.md"])
def test_the_targets_of_make_that_a_page_names_exist(page):
    named = set(re.findall(r"\bmake ([\w-]+)", "\n".join(re.findall(r"`[^`]+`", (ROOT / page).read_text()))))
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"demo", "test"} & named
    assert named <= targets


@pytest.mark.release
def test_the_readme_from_python(tmp_path):
    code = next(block for block in code_blocks("python") if "train_model" in block)
    command = [sys.executable, "-c", code]
    printed = subprocess.run(command, cwd=tmp_path, check=True, stdout=subprocess.PIPE, text=True).stdout
    assert len(printed.splitlines()) == 4


@pytest.mark.integration
def test_the_readme_with_an_own_network(tmp_path):
    own_network = next(block for block in code_blocks("python") if "ARCHITECTURE" in block)
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "small.py").write_text(own_network)
    command = next(line for line in readme_commands() if "nets.small" in line)
    trained = json.loads(succeeded(forked(*shlex.split(command)[1:], "--json", cwd=tmp_path)))
    assert trained["metrics"]["val_top1"] > 0.5
    succeeded(forked("export", "runs/small/model.h5", "--tflite", cwd=tmp_path))


@pytest.mark.integration
def test_the_own_optimizer_of_the_docs(tmp_path):
    """It trains, resumes and is swept; what it trained is measured and exported without its module."""
    page = (ROOT / "docs" / "optimizers.md").read_text()
    section = page.partition("## Your own optimizer")[2]
    module, command = (re.search(rf"```{kind}\n(.*?)```", section, re.DOTALL)[1] for kind in ("python", "bash"))
    (tmp_path / "my_optimizer.py").write_text(module)
    words = shlex.split(command.replace("\\\n", " "))[1:]
    small = ["--hparams", "rate=0.1,epochs=2,filters=8,dense_units=16", "--limit-steps", "5", "--no-tensorboard"]
    printed = forked(*words, *small, "--output-dir", "run", cwd=tmp_path)
    assert "SignBop trains 9 variables" in printed.stderr, printed.stderr
    config = json.loads((tmp_path / "run" / "config.json").read_text())["hparams"]
    assert (config["optimizer"], config["rate"], config["rate_schedule"]) == ("my_optimizer", 0.1, "cosine")
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["rate"] for row in rows if row["kind"] == "epoch"] == pytest.approx([0.06614, 0.004398], rel=1e-3)
    assert all(row["flip_ratio"] > 0 for row in rows)

    whole = (tmp_path / "run" / "model_last.h5").read_bytes()
    (tmp_path / "run" / "model_last.h5").unlink()
    shutil.rmtree(next((tmp_path / "run" / "checkpoints").glob("epoch0002*")))
    assert "resuming after epoch 1" in forked(*words, *small, "--output-dir", "run", cwd=tmp_path).stderr
    pair = [load_weights(tmp_path, contents) for contents in (whole, (tmp_path / "run" / "model_last.h5").read_bytes())]
    for resumed, uninterrupted in zip(*pair, strict=True):
        np.testing.assert_array_equal(resumed, uninterrupted)

    sweep = ["sweep", "binarynet", "--dataset", "digits", "--hparams-set", "bop_digits", "--grid", "rate=1e-2|3e-2"]
    fixed = ["--hparams", "optimizer=my_optimizer,epochs=1,filters=8,dense_units=16", "--limit-steps", "2"]
    swept = json.loads(succeeded(forked(*sweep, *fixed, "--json", cwd=tmp_path)))
    assert [trial["state"] for trial in swept["trials"]] == ["finished"] * 2

    (tmp_path / "my_optimizer.py").unlink()
    succeeded(forked("evaluate", "run/model.h5", "--dataset", "digits", "--limit", "20", cwd=tmp_path))
    succeeded(forked("export", "run/model.h5", "--tflite", cwd=tmp_path))
    assert "my_optimizer" in succeeded(forked("inspect", "run/model.h5", cwd=tmp_path))
    assert json.loads(succeeded(forked("runs", "run", "--json", cwd=tmp_path)))[0]["settings"]["rate"] == 0.1
    line = failed(forked(*words, "--output-dir", "run", cwd=tmp_path), 2)
    assert "must be bop or latent or bop2nd or cema or bold, or a Python module in this folder" in line


def load_weights(folder, contents):
    (folder / "weights.h5").write_bytes(contents)
    return load_model(folder / "weights.h5").get_weights()
