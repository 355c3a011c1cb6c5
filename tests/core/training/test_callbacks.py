"""The user's own code that a training calls."""

import json
import re
import sys
import types
from pathlib import Path

import pytest

from bopkit import train_model
from bopkit.errors import BopkitError, UsageError
from bopkit.training.callbacks import EVENTS, Callbacks

ROOT = Path(__file__).parents[3]


def train(output_dir, callbacks, **kwargs):
    """A run of seconds: two epochs of three steps, a row every second step."""
    hparams = {"filters": 4, "epochs": 2, "batch_size": 32}
    options = {"limit_steps": 3, "log_every": 2, "tensorboard": False, "validationset": True, **kwargs}
    return train_model(
        *("tiny.network", "digits"), hparams_set="bop_digits", hparams=hparams, output_dir=output_dir,
        callbacks=callbacks, **options,
    )  # fmt: skip


def rows_of(run, kind):
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if row["kind"] == kind]


class Recorder:
    def __init__(self):
        self.told = {event: [] for event in EVENTS}

    def __getattr__(self, event):
        if event not in EVENTS:
            raise AttributeError(event)
        return self.told[event].append


@pytest.mark.integration
def test_a_failure_names_the_line_and_the_run_resumes_as_if_nothing_had_been(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("failing_callback.py").write_text(
        "def on_step(row):\n"
        "    row['loss'] = None  # a copy\n"
        "    if row['step'] == 4:\n"
        "        raise KeyError('nothing')\n"
    )
    recorder = Recorder()
    with pytest.raises(BopkitError) as caught:
        train(tmp_path / "run", [recorder, "failing_callback"])
    assert caught.value.message == (
        "on_step of callback failing_callback failed: KeyError: 'nothing' (failing_callback.py, line 4)."
    )
    assert [row["step"] for row in recorder.told["on_step"]] == [2, 4]
    assert recorder.told["on_end"] == []
    resumed = Recorder()
    result = train(tmp_path / "run", [resumed])
    assert resumed.told["on_start"][0]["trained_steps"] == 3
    assert [row["step"] for row in resumed.told["on_step"]] == [4, 6]
    assert resumed.told["on_end"] == [result]
    train(tmp_path / "whole", [])
    for kind in ("step", "epoch"):
        told = recorder.told[f"on_{kind}"][:1] + resumed.told[f"on_{kind}"]
        assert told == rows_of(tmp_path / "run", kind)
        assert [row["loss"] for row in told] == [row["loss"] for row in rows_of(tmp_path / "whole", kind)]
    finished = Recorder()
    assert train(tmp_path / "run", [finished]).metrics == result.metrics  # it is only looked up
    assert not any(finished.told.values())
    train(None, [finished], dry_run=True)
    assert not any(finished.told.values())


def test_callbacks_that_cannot_be(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("without_any.py").write_text("def on_epochs(row):\n    pass\non_step = 5\n")
    for name in ("without_any", "without_any.py", Path("without_any.py")):
        with pytest.raises(UsageError, match=f"{name} has none of the functions on_start, on_step, on_epoch, on_end"):
            Callbacks([name])
    with pytest.raises(UsageError, match="No module 'nowhere' for --callback"):
        Callbacks("nowhere")
    for name in (".", "..", "", "a..b"):
        with pytest.raises(UsageError, match="for --callback, is not the name of a module"):
            Callbacks([name])
    with pytest.raises(UsageError, match=r"There is no file nowhere.py for --callback"):
        Callbacks(["nowhere.py"])


def test_what_an_object_raises_comes_as_it_is():
    def on_epoch(row):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Callbacks([types.SimpleNamespace(on_epoch=on_epoch)]).call("on_epoch", {})


@pytest.mark.integration
def test_the_callback_for_mlflow_in_the_docs(tmp_path, monkeypatch):
    """With a stand-in that is as strict as MLflow about what it takes."""
    code = next(
        block
        for block in re.findall(r"```python\n(.*?)```", (ROOT / "docs/training.md").read_text(), re.DOTALL)
        if "import mlflow" in block
    )
    logged, params, started = [], {}, []

    def start_run(run_id=None, run_name=None):
        started.append(run_id)
        return types.SimpleNamespace(info=types.SimpleNamespace(run_id="1234"))

    def log_metrics(metrics, step):
        logged.append((step, {name: float(value) for name, value in metrics.items()}))

    stand_in = types.SimpleNamespace(
        start_run=start_run,
        log_params=params.update,
        log_metrics=log_metrics,
        log_artifact=lambda path: logged.append(Path(path).name),
        end_run=lambda: logged.append("end"),
    )
    monkeypatch.setitem(sys.modules, "mlflow", stand_in)
    monkeypatch.chdir(tmp_path)
    Path("my_mlflow.py").write_text(code)

    def stop(row):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run", ["my_mlflow"], on_epoch=stop)
    train(tmp_path / "run", ["my_mlflow"])
    assert started == [None, "1234"]
    assert (params["seed"], params["filters"]) == (0, 4) and "hparams" not in params
    steps = [(row["step"], row["loss"]) for row in rows_of(tmp_path / "run", "step")]
    assert [(each[0], each[1]["loss"]) for each in logged if "loss" in each[1]] == steps
    assert logged[-2:] == ["model.h5", "end"]
