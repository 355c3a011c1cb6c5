"""`tests/pack_pretrained.py`: from a run to the files that come with bopkit, the same ones each time."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import forked, succeeded

import bopkit
from bopkit.artifacts.keras_file import open_model
from bopkit.pretrained import shipped

pytest.importorskip("larq_compute_engine", reason="larq-compute-engine has no wheel here")
pytestmark = pytest.mark.release

PACK = Path(__file__).parents[2] / "pack_pretrained.py"
OPTIONS = "--hparams-set bop_digits --hparams filters=8,dense_units=32,epochs=4 --validationset --seed 3".split()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    succeeded(forked("train", "binarynet", "--dataset", "digits", *OPTIONS, "--output-dir", folder))
    return folder


def pack(run, to, *options):
    command = [sys.executable, PACK, run, "small_digits", "--to", to, *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_same_run_gives_the_same_bytes_and_comes_back_whole(run, tmp_path, monkeypatch):
    found = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        succeeded(pack(run, folder))
        assert [path.name for path in folder.iterdir()] == ["small_digits"]
        found.append({path.name: path.read_bytes() for path in (folder / "small_digits").iterdir()})
    assert found[0] == found[1]
    assert found[0].keys() == {shipped.ABOUT, *shipped.PARTS}

    monkeypatch.setattr(shipped, "ROOT", tmp_path / "one")
    (facts,) = bopkit.list_pretrained().models
    assert facts.command.startswith("bopkit train binarynet --dataset digits --hparams-set bop_digits")
    assert all(word in facts.command.split() for word in ("--validationset", "--seed", "3"))
    assert facts.split == "test" and facts.pictures == 364
    assert facts.top1 == bopkit.evaluate_model(run, split="test").top1
    before, after = open_model(run / "model.h5"), open_model(bopkit.pull_model("small_digits", tmp_path / "net").model)
    assert after.card == before.card
    assert [each.tobytes() for each in after.model.get_weights()] == [
        each.tobytes() for each in before.model.get_weights()
    ]


def test_a_run_that_no_command_repeats_is_refused(run, tmp_path):
    """Its config says what was trained; the command that would be written down gives another one."""
    other = tmp_path / "other"
    other.mkdir()
    for name in ("model.h5", "model_last.h5", "metrics.jsonl"):
        (other / name).write_bytes((run / name).read_bytes())
    config = json.loads((run / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "steps_per_epoch": 2}))
    done = pack(other, tmp_path)
    assert done.returncode == 1
    assert "does not give this run: steps_per_epoch is 2, not" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "small_digits").exists()


def test_weights_that_the_card_is_not_of_are_refused(run, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for name in ("model_last.h5", "config.json", "model.h5"):
        (other / name).write_bytes((run / name).read_bytes())
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    (other / "metrics.jsonl").write_text("".join(json.dumps({**row, "val_top1": 0.0}) + "\n" for row in rows))
    done = pack(other, tmp_path)
    assert done.returncode == 1
    assert "No epoch of" in done.stderr.splitlines()[-1]
