"""What a run says of its dataset, and whose word counts."""

import json
from pathlib import Path

import pytest
from written_runs import write_run

from bopkit.artifacts.card import ModelCard
from bopkit.data.run_dataset import find_run_data
from bopkit.export.pictures import real_pictures
from bopkit.runs.run_data import RunData, read_run_data

MODULE = """
from pathlib import Path
from bopkit.data.digits import Digits

def open_dataset(data_dir=None):
    assert Path("in_the_runs_folder").exists(), "opened elsewhere"
    Path("opened").touch()
    return Digits()
"""


@pytest.fixture(autouse=True)
def own_key(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def run(tmp_path):
    """A run whose dataset is a module in the folder that it was started in."""
    run = write_run(tmp_path / "run", epochs=1)
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "in_the_runs_folder").touch()
    return record(run, RunData("run_data_module", None, str(folder)).to_dict())


def record(run, data):
    (run / "environment.json").write_text(json.dumps({"data": data}))
    (Path(data["folder"]) / f"{data['dataset']}.py").write_text(MODULE)
    return run


def test_the_dataset_of_an_own_run_is_opened_in_its_folder(run, tmp_path, monkeypatch):
    monkeypatch.chdir(run)
    data, note = find_run_data(run / "model.h5", None)
    assert (data.dataset, data.data_dir, note) == ("run_data_module", None, "")
    assert (tmp_path / "project" / "opened").exists() and Path.cwd() == run
    data, _ = find_run_data(Path("model.h5").absolute(), "elsewhere")
    assert data.data_dir == str(run / "elsewhere")  # where the user is, not where the run was
    assert (tmp_path / "config" / "bopkit" / "run_data.key").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("change", ["key", "no_key", "seal", "foreign_seal", "dataset", "data_dir", "folder"])
def test_nothing_is_opened_on_a_strangers_word(run, tmp_path, monkeypatch, change):
    data = json.loads((run / "environment.json").read_text())["data"]
    other = tmp_path / "other"
    other.mkdir()
    (other / "in_the_runs_folder").touch()
    changed = {"seal": "", "dataset": "run_data_other", "data_dir": "/data", "folder": str(other)}
    if change in changed:
        record(run, {**data, change: changed[change]})
    elif change == "foreign_seal":
        record(run, {**data, "seal": "é" * 64})
    elif change == "key":
        (tmp_path / "config" / "bopkit" / "run_data.key").write_bytes(b"1" * 32)
    else:
        monkeypatch.setenv("XDG_CONFIG_HOME", "/proc/nosuch")
    found, note = find_run_data(run / "model.h5", None)
    assert found is None and "type that to use it" in note and "--dataset run_data_" in note
    assert not list(tmp_path.glob("*/opened"))


def test_an_export_says_that_its_pictures_are_not_those_of_the_run(run):
    text = json.dumps({"data": {**RunData("digits", "/elsewhere", "/").to_dict(), "seal": ""}})
    (run / "environment.json").write_text(text)
    card = ModelCard("tiny", (8, 8, 1), (-1.0, 1.0), "resize", dataset="digits")
    pictures = real_pictures((8, 8, 1), card, None, None, 4, run / "model.h5")
    assert pictures.source == "digits test split" and pictures.labels is not None
    assert pictures.note.endswith("type that to use it.") and "--data-dir /elsewhere" in pictures.note


def test_what_is_said_to_be_typed_can_be():
    assert RunData("digits", "/my data", "/").options == "--dataset digits --data-dir '/my data'"
    assert RunData("digits", None, "/").options == "--dataset digits"


def test_a_folder_or_a_module_that_is_gone_is_said_to_be(run, tmp_path):
    (tmp_path / "project" / "run_data_module.py").unlink()
    found, note = find_run_data(run / "model.h5", None)
    assert found is None and "run's dataset (--dataset run_data_module) was not used: Unknown dataset" in note
    (tmp_path / "project").rename(tmp_path / "moved")
    found, note = find_run_data(run / "model.h5", None)
    assert found is None and f"{tmp_path / 'project'}, where the run was started, is gone" in note


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"data": 1}', '{"data": {"dataset": 1, "data_dir": 2, "folder": 3}}', "[" * 200_000]
)
def test_a_run_without_a_record_has_none(run, text):
    (run / "environment.json").write_text(text)
    assert read_run_data(run / "model.h5") is None
    assert read_run_data(run.parent / "model.h5") is None
