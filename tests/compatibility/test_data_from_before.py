"""Data that an earlier version wrote (`write_data.py`) still opens, and what it began goes on to the same end."""

import csv
import dataclasses
import io
import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import NO_TENSORFLOW, bopkit, failed, forked, succeeded
from machine_facts import differing_facts

from bopkit import evaluate_model, list_runs, load_model, plot_runs, read_card, run_sweep, train_model

HERE = Path(__file__).parent
DATA = HERE / "data"
EXPECTED = json.loads((DATA / "expected.json").read_text())

OTHER_FACTS = differing_facts(EXPECTED["machine"])
"""Facts of rounding in which this machine is not the one that the data was written on."""

on_the_same_machine = pytest.mark.skipif(
    bool(OTHER_FACTS), reason=f"bits depend on {', '.join(OTHER_FACTS)}, which differ here; the tolerance was compared"
)

SCORE_TOLERANCE = 1e-5
"""Of probabilities: other kernels of the CPU round other digits."""

FIGURES_RELATIVE = 0.02 if OTHER_FACTS else 1e-6
"""Of accuracies and losses of a network: two of the pictures elsewhere, and what threads add up in any order here."""

ROWS_RELATIVE = 0.01
"""Of figures of a run that rounds in another way for a few steps."""

SHARE_OF_A_STEP = 0.1
"""Of the mean change that the last step made to an array: further from the recorded end is not where it led."""

OF_THIS_TIME = frozenset({"images_per_second", "epoch_seconds", "started", "updated", "storage"})
"""What clocks and the working directory decide."""

WORDS = frozenset({"reason", "notes"})
"""Sentences for a person, which may be worded better."""


def differences(found, expected, relative=0.0, ignored=OF_THIS_TIME, at=""):
    """What of recorded plain values is not there, one line each; keys that were added since do not count."""
    if isinstance(expected, dict) and isinstance(found, dict):
        lines = [f"{at}.{name} is missing" for name in expected.keys() - found.keys()]
        for name in expected.keys() & found.keys() - ignored:
            lines += differences(found[name], expected[name], relative, ignored, f"{at}.{name}")
        return lines
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs = enumerate(zip(found, expected, strict=True))
        return [line for n, pair in pairs for line in differences(*pair, relative, ignored, f"{at}[{n}]")]
    if isinstance(expected, float) and isinstance(found, float) and math.isclose(found, expected, rel_tol=relative):
        return []
    return [] if found == expected else [f"{at} is {found!r}, and was {expected!r}"]


def rows_of(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def bytes_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def arrays():
    with np.load(DATA / "expected.npz") as file:
        return dict(file)


def copy_data(folder):
    """The working directory in which all was written."""
    shutil.copytree(DATA, folder, ignore=shutil.ignore_patterns("expected.*"))
    shutil.copytree(HERE / "nets_before", folder / "nets_before", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture
def work(tmp_path):
    return copy_data(tmp_path / "work")


def run(work, *arguments):
    """The finished process of `bopkit ARGUMENTS...` in the working directory."""
    return forked(*arguments, cwd=work)


def test_the_data_is_whole():
    """Git, or a rule of .gitignore, may have kept something back."""
    assert sorted(path.name for path in DATA.iterdir()) == [
        *("expected.json", "expected.npz", "finished", "grid", "results", "search", "stopped")
    ]
    epochs = {path.parent.parent.name: path.name for path in sorted(DATA.rglob("checkpoints/epoch*"))}
    assert epochs["stopped"] == "epoch0001-step000008" and epochs["finished"] == "epoch0002-step000000"
    assert (DATA / "finished" / "lock").exists() and (DATA / "finished" / "model" / "1" / "saved_model.pb").exists()
    assert len(EXPECTED["runs"]) == 6


@pytest.mark.integration
def test_a_finished_run_is_looked_up_and_not_trained_again(work):
    before = bytes_of(work)
    result = run(work, *EXPECTED["finished"]["train"]["command"], "--json")
    assert differences(json.loads(succeeded(result)), EXPECTED["finished"]["train"]["answer"]) == []
    assert bytes_of(work) == before


def test_a_finished_run_is_no_other_run(work):
    """Its config is read name by name: one setting more or less would be another run."""
    command = EXPECTED["finished"]["train"]["command"]
    line = failed(run(work, *command, "--hparams", "epochs=3", "--seed", 2), 2)
    assert re.search(r"finished.* epochs \D*2\D*3\D*; seed \D*0\D*2\D*$", line)


def test_runs_are_listed_with_their_figures(work, monkeypatch):
    monkeypatch.chdir(work)
    listed = json.loads(succeeded(bopkit("runs", ".", "--json", program=NO_TENSORFLOW)))
    assert differences(listed, EXPECTED["runs"]) == []
    best_first = sorted(EXPECTED["runs"], key=lambda run: -run["best_val_top1"])
    assert [run.path for run in list_runs(".", "best_val_top1")] == [run["path"] for run in best_first]


def test_what_is_drawn_is_what_the_rows_say(work, monkeypatch):
    from matplotlib.axes import Axes

    drawn, plot = [], Axes.plot

    def keep(self, x, y, *arguments, **options):
        drawn.append((np.array(x), np.array(y)))
        return plot(self, x, y, *arguments, **options)

    monkeypatch.setattr(Axes, "plot", keep)
    (svg,) = plot_runs([work / "finished", work / "stopped"], work / "curves.svg")
    assert "<!-- small on digits -->" in svg.read_text() and "optimizer=latent" in svg.read_text()
    expected = []
    for run in ("finished", "stopped"):
        rows = rows_of(DATA / run)
        epochs = [row for row in rows if row["kind"] == "epoch"]
        steps = [row for row in rows if row["kind"] == "step"]
        for name in ("top1", "val_top1"):
            expected.append(([row["epoch"] for row in epochs], [100 * row[name] for row in epochs]))
        expected.append(([row["step"] / 12 for row in steps], [row["layers"]["dense1"]["pi_t"] for row in steps]))
    assert len(drawn) == len(expected) == 6 and len(expected[-1][0]) == 6
    for found, recorded in zip(drawn, expected, strict=True):
        np.testing.assert_allclose(found, recorded, rtol=1e-12)


@pytest.mark.integration
def test_accuracy_of_a_run_is_what_it_was(work, monkeypatch):
    monkeypatch.chdir(work)
    found = json.loads(json.dumps(dataclasses.asdict(evaluate_model("finished", device="cpu"))))
    assert differences(found, EXPECTED["finished"]["evaluate"], relative=FIGURES_RELATIVE) == []


def test_a_network_is_loaded_with_its_card_and_its_scores(arrays):
    for run_name, trained_with in (("finished", "latent"), ("stopped", "bop"), ("search/trial-0001", "bop")):
        card = read_card(DATA / run_name / "model.h5")
        config = json.loads((DATA / run_name / "config.json").read_text())
        assert (card.architecture, card.dataset, card.preprocessing) == ("small", "digits", "shift")
        assert (card.hparams_set, card.hparams) == (config["hparams_set"], config["hparams"])
        assert card.hparams_set == trained_with and card.trained and card.class_names == tuple("0123456789")
        assert card.versions["tensorflow"] == EXPECTED["machine"]["versions"]["tensorflow"]
    model, card = load_model(DATA / "finished" / "model.h5"), read_card(DATA / "finished" / "model.h5")
    row = max((row for row in rows_of(DATA / "finished") if row["kind"] == "epoch"), key=lambda row: row["val_top1"])
    assert card.accuracy == {name: row[name] for name in ("val_top1", "val_top5")}
    assert (card.evaluated_on, card.evaluated_pictures) == ("train[90%:]", 143)
    scores = model(arrays["scores/pictures"], training=False)
    np.testing.assert_allclose(scores, arrays["scores/keras"], rtol=0, atol=SCORE_TOLERANCE)


@pytest.mark.parametrize(
    "artifact", ["finished/model.tflite", pytest.param("finished/model", marks=pytest.mark.integration)]
)
def test_an_artifact_is_inspected_to_the_byte(artifact, work):
    found = json.loads(succeeded(run(work, "inspect", artifact, "--json")))
    assert differences(found, EXPECTED["finished"]["inspect"][artifact], ignored=WORDS) == []
    assert sum(layer["packed"] for layer in found["layers"]) == 2


@pytest.mark.integration
def test_results_are_reported_and_compared_with_a_baseline(work):
    expected = EXPECTED["report"]
    result = bopkit(*expected["command"], "--json", "--csv", "figures.csv", cwd=work, program=NO_TENSORFLOW)
    assert result.returncode == 1 and "Traceback" not in result.stderr
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 2 and all("size_bytes > 20000" in line for line in errors)
    assert differences(json.loads(result.stdout), expected["answer"], ignored=set()) == []
    tables = [
        list(csv.DictReader(io.StringIO(text, newline="")))
        for text in ((work / "figures.csv").read_bytes().decode(), expected["csv"])
    ]
    assert differences(*tables, ignored=set()) == []


def test_a_merged_result_is_read_again(work):
    path = work / "results" / "merged.json"
    result = bopkit("report", "results/merged.json", "--json", cwd=work, program=NO_TENSORFLOW)
    merged, before = json.loads(succeeded(result)), json.loads(path.read_text())
    assert differences(merged, before, ignored={"sources"}) == []  # it is one file now
    assert [len(entry["earlier"]) for entry in merged["entries"]] == [1, 1, 1]


@pytest.mark.integration
def test_a_complete_sweep_is_looked_up(work):
    complete = EXPECTED["complete"]
    before = bytes_of(work / "search")
    result = run(work, *complete["command"], "--json")
    assert differences(of_before(json.loads(succeeded(result))), complete["answer"]) == []
    assert not re.search(r"trial \d", result.stderr)
    after = bytes_of(work / "search")
    assert after.pop(Path("sweep.png"))
    assert after.pop(Path("sweep.db")) and before.pop(Path("sweep.db"))
    assert after == before


def of_before(answer):
    """What a sweep answers without what came since: its picture, and the word for what its runs did unasked."""
    assert len(answer["figures"]) == 1
    command = answer.get("command", " --batch-norm-pictures 0")
    assert " --batch-norm-pictures 0" in command
    without = {"command": command.replace(" --batch-norm-pictures 0", "")} if "command" in answer else {}
    return {**answer, "figures": [], **without}


@pytest.mark.integration
def test_a_sweep_is_no_other_sweep(work):
    line = failed(run(work, *EXPECTED["complete"]["command"], "--seed", 1), 2)
    assert re.search(r"bopkit-small-digits-sweep .* seed \D*0\D*1\D*$", line)


@pytest.fixture(scope="module")
def resumed(tmp_path_factory):
    """The stopped run, brought to its end; and what was said meanwhile."""
    work = copy_data(tmp_path_factory.mktemp("resumed") / "work")
    return work, run(work, *EXPECTED["stopped"]["command"], "--json")


@pytest.mark.integration
def test_a_stopped_run_goes_on_from_its_step(resumed):
    work, result = resumed
    answer = json.loads(succeeded(result))
    assert re.search(r"resuming .* 1 of 2\b.* 8\b", result.stderr)
    assert (answer["resumed_after_epochs"], answer["model_file"]) == (1, "stopped/model.h5")
    rows, kept = rows_of(work / "stopped"), rows_of(DATA / "stopped")
    assert rows[: len(kept)] == kept and kept[-1]["step"] == 18
    expected = EXPECTED["stopped"]["rows"]
    names = {"kind", "step", "epoch", "gamma", "threshold", "learning_rate"}
    schedules = [[{name: row[name] for name in names} for row in each] for each in (rows, expected)]
    assert differences(*schedules, relative=1e-6) == []
    for name in ("loss", "top1", "top5", "val_loss", "val_top1", "val_top5"):
        figures = [[row[name] for row in each if name in row] for each in (rows, expected)]
        np.testing.assert_allclose(*figures, rtol=ROWS_RELATIVE, err_msg=name)


def weights_of(run):
    """The weights of the networks that a run left, by the names that `write_data.py` gave them."""
    return {
        f"end/{name}/{weight.name}": weight.numpy()
        for name in ("model", "model_last")
        for weight in load_model(run / f"{name}.h5").weights
    }


def test_a_stopped_run_ends_within_a_tenth_of_a_step_of_where_it_did(resumed, arrays):
    """Also on a machine that rounds in another way. The step itself is ten times of what is allowed."""
    found = weights_of(resumed[0] / "stopped")
    assert found.keys() == {name for name in arrays if name.startswith("end/")}
    steps = {name.removeprefix("before_last_step/"): name for name in arrays if name.startswith("before_last_step/")}
    assert len(steps) == len(found) / 2 == 14
    for name, step in steps.items():
        end = arrays[f"end/model_last/{name}"]
        last_step = np.abs(end - arrays[step]).mean()
        assert last_step > 0, name
        assert np.abs(found[f"end/model_last/{name}"] - end).mean() <= SHARE_OF_A_STEP * last_step, name


@on_the_same_machine
def test_a_stopped_run_ends_bit_for_bit_where_it_did(resumed, arrays):
    work, result = resumed
    rows = rows_of(work / "stopped")
    assert differences(rows, EXPECTED["stopped"]["rows"]) == []
    assert differences(json.loads(result.stdout), EXPECTED["stopped"]["answer"]) == []
    for name, found in weights_of(work / "stopped").items():
        np.testing.assert_array_equal(found, arrays[name], err_msg=name)


def assert_sweep_went_on(work, name, trained, result):
    """All trials are as recorded, and those that were finished are as they were, to the byte."""
    expected = EXPECTED["sweeps"][name]
    answer = json.loads(succeeded(result))
    recorded = {**expected["answer"], "trials": [dict(row) for row in expected["answer"]["trials"]]}
    for row in recorded["trials"]:
        folder = Path(name, f"trial-{row['trial']:04d}")
        rows = rows_of(work / folder)
        assert [row["step"] for row in rows] == [row["step"] for row in expected["rows"][folder.name]]
        if row["trial"] not in trained:
            assert bytes_of(work / folder) == bytes_of(DATA / folder)
            assert f"trial {row['trial']}:" not in result.stderr
            continue
        del row["host"]  # it is this one
        if OTHER_FACTS:  # many steps of another rounding lead to another accuracy
            del row["val_top1"]
            recorded.pop("best", None)
            recorded.pop("command", None)
        else:
            assert differences(rows, expected["rows"][folder.name]) == []
    assert differences(of_before(answer), recorded) == []


@pytest.mark.integration
def test_a_stopped_sweep_trains_what_is_missing(work):
    """The second trial goes on from the step that it was stopped at, the third was not begun."""
    result = run(work, *EXPECTED["sweeps"]["grid"]["command"], "--json")
    assert_sweep_went_on(work, "grid", {1, 2}, result)
    (line,) = [line for line in result.stderr.splitlines() if "resuming" in line]
    assert re.search(r"trial 1\b.* 1 of 2\b.* 1\b", line)
    kept = (DATA / "grid" / "trial-0001" / "metrics.jsonl").read_text()
    assert (work / "grid" / "trial-0001" / "metrics.jsonl").read_text().startswith(kept)


@pytest.mark.integration
def test_a_complete_search_takes_the_next_point_that_it_would_have_taken(work, monkeypatch):
    """Trained in this process, which other tests may have set up in another way: accuracy is near what it was."""
    monkeypatch.chdir(work)
    expected, before = EXPECTED["sweeps"]["search"], bytes_of(work / "search")
    assert expected["command"] == [*EXPECTED["complete"]["command"][:-1], "3"]
    trained = []

    def train(*arguments, **settings):
        trained.append(settings["output_dir"])
        train_model(*arguments, **{**settings, "tensorboard": False})

    sweep = EXPECTED["complete"]["answer"]
    result = run_sweep(
        "nets_before.small",
        "digits",
        hparams={"epochs": "1"},
        search={"gamma": "log:1e-3..1e-1", "batch_size": "16|32|64"},
        trials=3,
        precision="float32",
        device="cpu",
        limit_steps=12,
        output_dir="search",
        train=train,
    )
    found = result.to_dict()
    assert trained == [Path("search", "trial-0002")]
    assert differences([*map(dict, found["trials"][:2])], sweep["trials"]) == []
    new, recorded = found["trials"][2], expected["answer"]["trials"][2]
    assert [new[name] for name in ("state", "epochs", "run_dir")] == [
        recorded[name] for name in ("state", "epochs", "run_dir")
    ]
    assert new["hparams"] == pytest.approx(recorded["hparams"], rel=1e-12)
    assert new["val_top1"] == pytest.approx(recorded["val_top1"], abs=0.1)
    after = bytes_of(work / "search")
    assert {name: after[name] for name in before.keys() - {Path("sweep.db")}} == {
        name: content for name, content in before.items() if name != Path("sweep.db")
    }


@pytest.mark.integration
def test_an_artifact_is_measured_to_the_same_figures_and_compared(work):
    """With the old result as baseline, as after an upgrade."""
    before = json.loads((work / "results" / "last_week.json").read_text())
    pytest.importorskip("bopkit_runtime", reason="it timed the old result, and rows are compared by their runtime")
    options = "--dataset digits --runs 3 --min-seconds 0 --no-resume -o results/now.json".split()
    succeeded(run(work, "benchmark", "finished/model.tflite", *options))
    now = json.loads((work / "results" / "now.json").read_text())
    same = {
        *("artifact", "kind", "architecture", "input_shape", "classes", "size_bytes", "floor_bytes", "model_sha256"),
        *("preprocessing", "preprocessing_source", "pictures", "top1", "top5", "loss", "calibration_error"),
        *("class_top1", "confusion", "layers", "error"),
    }
    if OTHER_FACTS:
        same -= {"class_top1", "confusion"}
    (new,), (old,) = ([row for row in each["rows"] if row["kind"] == "tflite"] for each in (now, before))
    assert differences(*({name: row[name] for name in same} for row in (new, old)), relative=FIGURES_RELATIVE) == []
    rules = ["--fail-if", "top1 < baseline - 0.01", "--fail-if", "size_bytes > 1x"]
    result = bopkit("report", "results/now.json", "--baseline", "results/last_week.json", *rules, "--json", cwd=work)
    report = json.loads(result.stdout)
    (change,) = [entry["change"] for entry in report["entries"]]
    assert change["size_ratio"] == 1 and abs(change["top1_difference"]) < 0.01
    # What the baseline has and the result has not: rules cannot be checked on it, and it is not passed over.
    assert {finding["artifact"] for finding in report["findings"]} <= {"finished/model.h5", "finished/model"}


@pytest.mark.integration
def test_artifacts_are_still_the_same_network(work):
    found = json.loads(succeeded(run(work, "verify", "finished/model", "finished/model.tflite", "--json")))
    assert found["passed"] and [kernel["different"] for kernel in found["kernels"]] == [0, 0]
    assert sum(kernel["weights"] for kernel in found["kernels"]) == 2016
    assert [side["path"] for side in (found["first"], found["second"])] == ["finished/model/1", "finished/model.tflite"]
    assert all(agreement["top1"] == 1 for agreement in found["deployed"])


@pytest.mark.integration
def test_a_run_is_exported_to_what_it_was_exported_to(work, arrays):
    lce = pytest.importorskip("larq_compute_engine")
    succeeded(run(work, "export", "finished", "--tflite", "-o", "exported"))
    new = json.loads(succeeded(run(work, "inspect", "exported/model.tflite", "--json")))
    old = EXPECTED["finished"]["inspect"]["finished/model.tflite"]
    for part in ("layers", "card"):
        assert differences(new[part], old[part], ignored=WORDS) == []
    for path in ("finished/model.tflite", "exported/model.tflite"):
        scores = lce.testing.Interpreter((work / path).read_bytes()).predict(arrays["scores/pictures"])
        np.testing.assert_allclose(scores, arrays["scores/tflite"], rtol=0, atol=SCORE_TOLERANCE)
