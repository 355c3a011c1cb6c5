"""`bopkit runs`, `bopkit plot` and `bopkit evaluate` as a shell runs them."""

import json

import pytest
from command_line import NO_TENSORFLOW, bopkit, failed, forked, succeeded
from written_runs import write_run

from bopkit.training.initialise import init_model


@pytest.fixture
def runs(tmp_path):
    """Three runs below tmp_path/runs, two of which can be drawn."""
    for name, settings in (("a", {"gamma": 1e-3}), ("b", {"gamma": 1e-4, "done": 2})):
        write_run(tmp_path / "runs" / "digits" / name, **settings)
    (write_run(tmp_path / "runs" / "digits" / "c") / "metrics.jsonl").write_text("no\nJSON\n")
    return tmp_path


def test_runs_in_one_table_with_what_differs(runs):
    result = bopkit("runs", cwd=runs, program=NO_TENSORFLOW)
    heading, *rows, same = succeeded(result).splitlines()
    assert result.stderr == ""
    assert heading.split()[:2] == ["run", "state"]
    assert [row.split()[0] for row in rows] == ["runs/digits/a", "runs/digits/b", "runs/digits/c"]
    assert "stopped" in rows[1] and "2/3" in rows[1] and "52.00 %" in rows[1] and "1e-4" in rows[1]
    assert "metrics.jsonl is damaged" in rows[2]
    assert same == "all: model binarynet, set bop, dataset digits, seed 0, precision float32"


def test_runs_that_differ_in_much_fit_a_terminal(runs):
    write_run(runs / "runs" / "other", threshold=1e-5, filters=8, dense_units=16, batch_size=64)
    result = bopkit("runs", cwd=runs, program=NO_TENSORFLOW)
    heading = succeeded(result).splitlines()[0]
    assert "gamma" not in heading and len(heading.rstrip()) < 160
    assert "differ in batch_size, threshold, gamma, filters, dense_units; --json has the values" in result.stderr


def test_runs_of_several_seeds_are_one_row(runs):
    for seed in (1, 2):
        (write_run(runs / "runs" / "seeds" / str(seed), seed=seed, gamma=1e-3) / "model_last.h5").touch()
    grouped = bopkit("runs", cwd=runs, program=NO_TENSORFLOW)
    row = next(line for line in succeeded(grouped).splitlines() if line.startswith("runs/seeds/*"))
    assert row.split()[1] == "2" and "53.00 ± 0.00 %" in row
    assert "runs/digits/a is not finished, so it is in no mean" in grouped.stderr
    each = succeeded(bopkit("runs", "runs/seeds", "--each", cwd=runs, program=NO_TENSORFLOW))
    assert [line.split()[:2] for line in each.splitlines()[1:3]] == [["runs/seeds/1", "1"], ["runs/seeds/2", "2"]]
    rows = json.loads(succeeded(bopkit("runs", "runs/seeds", "--json", cwd=runs, program=NO_TENSORFLOW)))
    assert rows[1]["seed"] == 2 and rows[1]["group"]["seeds"] == [1, 2] and rows[0]["group"] == rows[1]["group"]


@pytest.mark.integration
def test_runs_as_json_sorted(runs):
    result = bopkit("runs", "runs/digits", "--sort", "val_top1", "--json", cwd=runs, program=NO_TENSORFLOW)
    rows = json.loads(succeeded(result))
    assert [row["path"][-1] for row in rows] == ["a", "b", "c"]
    assert [row["differs_in"] for row in rows] == [{"gamma": 1e-3}, {"gamma": 1e-4}, {"gamma": 1e-3}]
    assert rows[0]["val_top1"] == 0.53 and rows[2]["val_top1"] is None
    assert "Unknown sort key" in failed(bopkit("runs", "--sort", "speed", cwd=runs), exit_code=2)


@pytest.mark.integration
def test_no_runs_are_no_error(tmp_path):
    result = bopkit("runs", tmp_path)
    assert succeeded(result) == "" and "no runs below" in result.stderr
    assert json.loads(succeeded(bopkit("runs", tmp_path, "--json"))) == []
    assert "no folder" in failed(bopkit("runs", cwd=tmp_path), exit_code=2)


@pytest.mark.integration
def test_plot_prints_the_files_it_wrote(runs):
    command = ["plot", "runs/digits/a", "runs/digits/b", "--layer", "conv"]
    result = bopkit(*command, "-o", "figures/conv", cwd=runs, program=NO_TENSORFLOW)
    assert succeeded(result).splitlines() == ["figures/conv.png", "figures/conv.svg"]
    assert "gamma=1e-4" in (runs / "figures" / "conv.svg").read_text()
    named = bopkit(*command, "--label", "slow", "--label", "slower", "-o", "named.svg", "--json", cwd=runs)
    assert json.loads(succeeded(named)) == ["named.svg"]
    assert "<!-- slower -->" in (runs / "named.svg").read_text()
    assert "metrics.jsonl is damaged" in failed(bopkit("plot", "runs/digits/c", cwd=runs))
    assert not (runs / "curves.png").exists()


@pytest.mark.integration
def test_evaluate_prints_figures_of_the_pictures_asked_for(tmp_path):
    model = tmp_path / "model.h5"
    init_model("binarynet", model, hparams={"filters": 4, "dense_units": 8})
    assert "--dataset" in failed(forked("evaluate", model), exit_code=2)  # an untrained network was trained on nothing
    result = forked("evaluate", model, "--dataset", "digits", "--limit", 50, "--json")
    found = json.loads(succeeded(result))
    low, high = found["top1_interval"]
    assert (found["pictures"], found["split"]) == (50, "test") and low <= found["top1"] <= high
    assert found["confusion"] is None and found["figures"] == []
    files = ["--confusion", "matrix.png", "--most-wrong", "sheet.svg"]
    drawn = json.loads(
        succeeded(forked("evaluate", model, "--dataset", "digits", "--limit", 50, *files, "--json", cwd=tmp_path))
    )
    right = sum(count for label, predicted, count in drawn["confusion"] if label == predicted)
    assert right == round(50 * drawn["top1"]) and drawn["figures"] == ["matrix.png", "sheet.svg"]
    assert (tmp_path / "matrix.png").read_bytes().startswith(b"\x89PNG") and (tmp_path / "sheet.svg").exists()


def test_evaluate_a_run_without_a_model(runs):
    assert "has no model.h5 yet" in failed(forked("evaluate", "runs/digits/a", cwd=runs))
