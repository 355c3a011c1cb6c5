"""Sweeps with a stand-in for the trainer: every trial once, whatever ends a process; search, pruning, bad input."""

import contextlib
import dataclasses
import inspect
import json
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
import types
from pathlib import Path

import pytest

from bopkit.cli import sweep as command
from bopkit.errors import BopkitError, UsageError
from bopkit.sweep import SweepOptions, child, run_sweep, run_trials, slots, storage
from bopkit.sweep.command import train_command
from bopkit.sweep.preset import PRESETS
from bopkit.sweep.space import split_options
from bopkit.training import TrainOptions
from bopkit.training.cluster import find_cluster


@pytest.fixture(autouse=True)
def fast_databases():
    """SQLite that does not wait for the disk."""
    import sqlalchemy

    def relax(connection, record):
        with contextlib.suppress(sqlite3.DatabaseError):
            connection.execute("PRAGMA synchronous=OFF")

    sqlalchemy.event.listen(sqlalchemy.engine.Engine, "connect", relax)
    yield
    sqlalchemy.event.remove(sqlalchemy.engine.Engine, "connect", relax)


@pytest.fixture(autouse=True)
def no_picture(monkeypatch):
    """Half a second a sweep; `test_picture.py` draws them."""
    monkeypatch.setattr("bopkit.sweep.sweep.draw_sweep", lambda plan, result: [])


class Trainer:
    """Writes the rows of a run without training; top-1 is `quality(hparams)`, one thousandth more every epoch.

    Args:
        quality: From hyper-parameters to top-1; it may raise.
        at: Called with run name and epoch after each row, to raise what ends a run.
    """

    def __init__(self, quality=lambda hparams: 0.5, at=lambda run, epoch: None):
        self.quality = quality
        self.at = at
        self.calls = []
        self.trained = []

    def __call__(self, model, dataset, *, output_dir, hparams, on_epoch, progress, **options):
        hparams = {**hparams, "seed": options["seed"]} if output_dir.name.startswith("seed-") else hparams
        self.calls.append((output_dir.name, hparams, options))
        output_dir.mkdir(parents=True, exist_ok=True)
        metrics = output_dir / "metrics.jsonl"
        done = len(metrics.read_text().splitlines()) if metrics.exists() else 0
        for epoch in range(done + 1, hparams["epochs"] + 1):
            row = {"kind": "epoch", "epoch": epoch, "val_top1": self.quality(hparams) + epoch / 1000}
            with open(metrics, "a") as out:
                out.write(json.dumps(row) + "\n")
            self.trained.append((output_dir.name, epoch))
            on_epoch(row)
            self.at(output_dir.name, epoch)

    @property
    def runs(self):
        return [name for name, _, _ in self.calls]


GRID = {"gamma": "1e-2|1e-3", "threshold": "0|1e-6"}
EVERY_POINT = [(1e-2, 0), (1e-2, 1e-6), (1e-3, 0), (1e-3, 1e-6)]
SEARCH = {"threshold": "log:1e-8..1e-5", "filters": "16..128", "optimizer": "bop|latent"}


def sweep(folder, trainer, **kwargs):
    """A sweep of runs with three epochs."""
    options = {"hparams": {"epochs": "3"}, "output_dir": folder, "train": trainer, **kwargs}
    return run_sweep("binarynet", "digits", **options)


def raise_at(wanted_run, wanted_epoch, error):
    def at(run, epoch):
        if (run, epoch) == (wanted_run, wanted_epoch):
            raise error

    return at


@pytest.mark.integration
def test_a_grid_trains_every_point_once_and_names_the_best(tmp_path):
    trainer = Trainer(lambda hparams: 0.9 if (hparams["gamma"], hparams["threshold"]) == (1e-3, 0) else 0.5)
    said = []
    result = sweep(tmp_path, trainer, grid=GRID, progress=said.append)
    assert [(hparams["gamma"], hparams["threshold"]) for _, hparams, _ in trainer.calls] == EVERY_POINT
    assert [(row.trial, row.state, row.epochs) for row in result.trials] == [(n, "finished", 3) for n in range(4)]
    assert result.trials[2].run_dir == str(tmp_path / "trial-0002")
    assert (result.best, result.trials[2].val_top1) == (2, pytest.approx(0.903))
    assert result.command == "bopkit train binarynet --dataset digits --hparams epochs=3,gamma=0.001,threshold=0.0"
    assert any("test split" in line for line in said)
    assert sweep(tmp_path, trainer, grid=GRID) == result
    assert len(trainer.calls) == 4
    json.dumps(result.to_dict())


@pytest.mark.integration
@pytest.mark.parametrize("stop", [KeyboardInterrupt(), SystemExit(143), OSError("the disk went away")])
def test_a_stopped_trial_resumes_in_its_run_directory(tmp_path, stop):
    trainer = Trainer(at=raise_at("trial-0001", 2, stop))
    said = []
    with pytest.raises(type(stop)):
        sweep(tmp_path, trainer, grid=GRID, progress=said.append)
    assert ("1 of 4 trials are done" in said[-1]) == (not isinstance(stop, OSError))
    trainer.at = lambda run, epoch: None
    result = sweep(tmp_path, trainer, grid=GRID)
    assert [row.state for row in result.trials] == ["finished"] * 4
    assert trainer.trained == [(f"trial-{trial:04d}", epoch) for trial in range(4) for epoch in (1, 2, 3)]
    assert trainer.runs == ["trial-0000", "trial-0001", "trial-0001", "trial-0002", "trial-0003"]


def test_a_signal_that_a_library_swallows_ends_the_sweep(tmp_path, monkeypatch):
    """As SQLAlchemy does where it clears up behind a callback."""

    def swallowing(study):
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        return fail_dead(study)

    fail_dead = slots.fail_dead
    monkeypatch.setattr(slots, "fail_dead", swallowing)
    trainer = Trainer()
    with pytest.raises(KeyboardInterrupt):
        sweep(tmp_path, trainer, grid=GRID)
    assert trainer.runs == ["trial-0000"]


PROCESS = """
import os, sys, time
from pathlib import Path
from bopkit.sweep import run_sweep

def train(model, dataset, *, output_dir, hparams, on_epoch, progress, **options):
    with open(output_dir.parent / "log.txt", "a") as log:
        log.write(output_dir.name + "\\n")
    time.sleep({seconds})
    output_dir.mkdir(exist_ok=True)
    row = '{{"kind": "epoch", "epoch": 1, "val_top1": 0.5}}'
    (output_dir / "metrics.jsonl").write_text(row + "\\n")
    if {die}:
        os.kill(os.getpid(), 9)

run_sweep(
    "binarynet", "digits", hparams={{"epochs": 1}}, output_dir=Path(sys.argv[1]), storage="sqlite:///" + sys.argv[2],
    grid={grid}, train=train,
)
"""


def start(folder, storage_file, grid, die=False, seconds=0.0):
    program = PROCESS.format(grid=grid, die=die, seconds=seconds)
    return subprocess.Popen([sys.executable, "-c", program, folder, storage_file], stderr=subprocess.PIPE, text=True)


@pytest.mark.integration
def test_a_killed_process_loses_no_trial(tmp_path):
    """Its trial is still marked as running; it is taken up at once, without waiting for a heartbeat to be missed."""
    process = start(tmp_path, tmp_path / "study.db", GRID, die=True)
    process.communicate()
    assert process.returncode == -9
    trainer = Trainer()
    url = f"sqlite:///{tmp_path / 'study.db'}"
    began = time.perf_counter()
    result = run_sweep(
        "binarynet", "digits", hparams={"epochs": 1}, output_dir=tmp_path, storage=url, grid=GRID, train=trainer
    )
    assert time.perf_counter() - began < storage.GRACE_S / 2
    assert trainer.runs == [f"trial-{number:04d}" for number in range(4)]
    assert ("trial-0000", 1) not in trainer.trained
    assert [row.state for row in result.trials] == ["finished"] * 4


@pytest.mark.integration
def test_processes_that_share_a_study_train_every_point_once(tmp_path):
    """Both begin at the same moment, with no database yet, and the trials are as short as can be."""
    grid = {"gamma": "|".join(f"{n / 100}" for n in range(1, 13))}
    processes = [start(tmp_path, tmp_path / "study.db", grid, seconds=0.02) for _ in range(2)]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    trained = (tmp_path / "log.txt").read_text().splitlines()
    assert sorted(trained) == [f"trial-{number:04d}" for number in range(12)]


@pytest.mark.integration
def test_a_waiting_trial_is_taken_once(tmp_path):
    """By one of several connections to the database that ask at the same moment."""
    from optuna.trial import TrialState

    study = open_empty_study(tmp_path)
    for number in range(40):
        study.enqueue_trial({"gamma": number})
    trials = [trial._trial_id for trial in study.get_trials(deepcopy=False)]
    together = threading.Barrier(3)
    taken = []

    def take():
        database = open_empty_study(tmp_path)._storage
        for trial in trials:
            together.wait()
            if database.set_trial_state_values(trial, TrialState.RUNNING):
                taken.append(trial)

    threads = [threading.Thread(target=take) for _ in range(together.parties)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == trials


def test_a_run_that_is_still_trained_is_waited_for(tmp_path, monkeypatch):
    """A process that lost its database trains on: its run is not touched, and then taken as it is."""
    states = iter(["running", "running", "finished"])
    monkeypatch.setattr("bopkit.sweep.trial.run_state", lambda path: next(states))
    monkeypatch.setattr("bopkit.sweep.trial.POLL_S", 0.01)
    said = []
    assert sweep(tmp_path, Trainer(), grid={"gamma": "1e-2"}, progress=said.append).best == 0
    assert sum("is still training it" in line for line in said) == 1
    assert next(states, None) is None


def open_empty_study(folder):
    return storage.open_study(f"sqlite:///{folder / 'study.db'}", "study", None, None)


def test_of_two_attempts_at_a_slot_the_first_counts(tmp_path):
    """As if two processes had queued the same slot at the same moment, and then each popped one of the two."""
    study = open_empty_study(tmp_path)
    for _ in range(2):
        study.enqueue_trial({"gamma": 0.1}, user_attrs={"slot": 0, "attempt": 0, "params": {"gamma": 0.1}})
    first, second, own = study.ask(), study.ask(), study.ask()
    assert [slots.counts(study, trial) for trial in (first, second, own)] == [True, False, False]
    slots.queue_next(study, 1, lambda slot: {})
    assert len(study.trials) == 3


@pytest.mark.integration
def test_a_trial_elsewhere_is_taken_only_after_its_heartbeat_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "HEARTBEAT_S", 1)
    monkeypatch.setattr(storage, "GRACE_S", 1)
    study = open_empty_study(tmp_path)
    slots.queue_next(study, 1, lambda slot: {"gamma": 0.1})
    trial = study.ask()
    trial.set_user_attr("owner", {"host": "another", "pid": 1, "created": 0.0})
    study._storage.record_heartbeat(trial._trial_id)
    slots.fail_dead(study)
    assert study.trials[0].state.name == "RUNNING"
    time.sleep(2.2)
    slots.fail_dead(study)
    slots.queue_next(study, 1, lambda slot: {})
    assert [trial.state.name for trial in study.trials] == ["FAIL", "WAITING"]
    assert study.trials[1].user_attrs == {"slot": 0, "attempt": 1, "params": {"gamma": 0.1}}


def test_a_failed_trial_is_a_result(tmp_path):
    def quality(hparams):
        if hparams["threshold"] == 0:
            raise BopkitError("The loss is nan at step 3 of epoch 1.", "Lower it.")
        return 0.5

    trainer = Trainer(quality)
    result = sweep(tmp_path, trainer, grid=GRID)
    assert [row.state for row in result.trials] == ["failed", "finished"] * 2
    assert result.trials[0].error == "The loss is nan at step 3 of epoch 1. Lower it."
    assert result.best == 1
    sweep(tmp_path, trainer, grid=GRID)
    assert len(trainer.calls) == 4


@pytest.mark.integration
def test_a_usage_error_stops_the_sweep_only_before_anything_was_trained(tmp_path):
    def refuse(hparams):
        raise UsageError("There is no device gpu:7.", "Use --device cpu.")

    trainer = Trainer(refuse)
    with pytest.raises(UsageError, match="gpu:7"):
        sweep(tmp_path, trainer, grid=GRID)
    assert len(trainer.calls) == 1
    trainer.quality = lambda hparams: refuse(hparams) if hparams["threshold"] else 0.5
    result = sweep(tmp_path, trainer, grid=GRID)
    assert [row.state for row in result.trials] == ["finished", "failed"] * 2


def searched(folder, trainer, **kwargs):
    """The hyper-parameters of a search's trials, in order."""
    hparams = {"epochs": "1"}
    result = sweep(folder, trainer, hparams=hparams, search=SEARCH, trials=13, pruner="none", **kwargs)
    return [row.hparams for row in result.trials]


@pytest.mark.integration
def test_a_search_is_repeated_by_its_seed_also_when_it_was_stopped(tmp_path):
    """13 trials: TPE draws the first ten at random and the others from what it has learnt."""
    trainer = Trainer(lambda hparams: 0.4 * (hparams["optimizer"] == "bop") + hparams["filters"] / 1000)
    whole = searched(tmp_path / "whole", trainer)
    assert {options["validationset"] for _, _, options in trainer.calls} == {True}
    assert all(1e-8 <= point["threshold"] <= 1e-5 and 16 <= point["filters"] <= 128 for point in whole)
    assert len({point["threshold"] for point in whole}) == 13
    stopped = Trainer(trainer.quality, raise_at("trial-0011", 1, KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        searched(tmp_path / "stopped", stopped)
    assert searched(tmp_path / "stopped", trainer) == whole
    assert searched(tmp_path / "other", trainer, seed=1) != whole


@pytest.mark.integration
def test_the_median_pruner_stops_a_bad_trial_early(tmp_path):
    trainer = Trainer(lambda hparams: 0.1 if hparams["gamma"] == 0.06 else 0.5 + hparams["gamma"])
    grid = {"gamma": "0.01|0.02|0.03|0.04|0.05|0.06|0.07"}
    result = sweep(tmp_path, trainer, grid=grid, pruner="median")
    assert [row.state for row in result.trials] == ["finished"] * 5 + ["pruned", "finished"]
    assert [epoch for run, epoch in trainer.trained if run == "trial-0005"] == [1]
    assert (result.trials[5].val_top1, result.best) == (pytest.approx(0.101), 6)


def test_values_that_belong_together_are_varied_together(tmp_path):
    trainer = Trainer()
    grid = {"gamma_schedule": "linear|cosine", "gamma_end": "1e-5|1e-6"}
    assert [row.state for row in sweep(tmp_path, trainer, grid=grid).trials] == ["finished"] * 4
    hparams = [{name: value for name, value in hparams.items() if name in grid} for _, hparams, _ in trainer.calls]
    assert hparams[0] == {"gamma_schedule": "linear", "gamma_end": 1e-5} and len(hparams) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grid": {"gama": "1|2"}}, "Unknown hyper-parameter 'gama'.*gamma"),
        ({"search": {"gama": "1..2"}}, "Unknown hyper-parameter 'gama'.*gamma"),
        ({"grid": {"gamma": "1e-3|2"}}, "gamma=2 must be less than or equal to 1"),
        ({"grid": {"gamma": "1e-3|0.001"}}, "names a value twice"),
        ({"grid": {"gamma": "1e-3||1e-2"}}, "empty value"),
        ({"grid": {"gamma": "1e-4..1e-2"}}, "gamma is a range"),
        ({"grid": {"gamma": "1e-3|1e-2"}, "hparams": {"gamma": "0.1"}}, "'gamma' is both fixed and varied"),
        ({"grid": {"gamma_decay_rate": "0.1|0.5"}}, "belong together"),
        ({"grid": {"gamma_schedule": "constant|cosine"}}, "gamma_schedule=cosine needs gamma_end"),
        ({"search": {"threshold": "log:0..1"}}, "logarithmic range begins above 0"),
        ({"search": {"threshold": "1e-5..1e-8"}}, "1e-05 is not below 1e-08"),
        ({"search": {"filters": "16..1.5"}}, "filters=1.5"),
        ({"search": {"optimizer": "bop..latent"}}, "optimizer is not a number"),
        ({"search": {"learning_rate": "0..1"}}, "learning_rate=0"),
        ({"search": {"gamma": "1..x"}}, "gamma=x"),
        ({"grid": GRID, "trials": 3}, "has 4 points"),
        ({"search": SEARCH, "trials": 0}, "trials is 0"),
        ({"grid": GRID, "sampler": "random"}, "Known: grid, tpe"),
        ({"grid": GRID, "pruner": "mean"}, "Known: median, none"),
        ({"grid": GRID, "search": {"gamma": "1|2"}}, "'gamma' is in --grid and in --search"),
        ({}, "varies no hyper-parameter"),
        ({"preset": "paper-5.2"}, "paper-5.1"),
        ({"preset": "paper-5.1", "grid": GRID}, "has its own"),
        ({"grid": GRID, "storage": "nonsense"}, "not a database URL"),
        ({"grid": GRID, "storage": "oracle9://host/x"}, "not a kind of database that SQLAlchemy knows"),
        ({"grid": GRID, "seed": -1}, "Seed -1"),
        ({"grid": GRID, "seeds": "0-"}, "'0-' is no seed"),
        ({"grid": GRID, "seeds": ""}, "'' is no seed"),
        ({"grid": GRID, "seeds": []}, "list of seeds is empty"),
        ({"grid": GRID, "seeds": "0,1-3,2"}, "Seed 2 is named twice"),
        ({"grid": GRID, "seeds": "4-0"}, "4-0 goes down"),
        ({"grid": GRID, "seeds": "0-999999999999"}, "more than 1000 seeds"),
        ({"grid": GRID, "seeds": [0, -1]}, "'-1' is no seed"),
        ({"grid": GRID, "seeds": [0.5]}, "'0.5' is no seed"),
        ({"grid": GRID, "seeds": 5}, "seeds is 5, not a list"),
        ({"preset": "paper-5.1", "seeds": "0-4"}, "has its own"),
        ({"grid": GRID, "strategy": "multiworker"}, "each machine takes the next trial"),
    ],
)
def test_usage_errors_come_before_anything_is_trained(tmp_path, options, message):
    trainer = Trainer()
    with pytest.raises(UsageError, match=message) as caught:
        sweep(tmp_path / "sweep", trainer, **options)
    assert "\n" not in str(caught.value) and caught.value.hint
    assert not trainer.calls
    assert not list(tmp_path.glob("sweep/*"))


def test_options_that_are_no_options():
    assert split_options(["a=1|2,b=log:1..2", "c=x|y"], "--grid") == {"a": "1|2", "b": "log:1..2", "c": "x|y"}
    for wrong in (["a"], ["a="], ["=1"], ["a=1", "a=2"]):
        with pytest.raises(UsageError, match="--grid"):
            split_options(wrong, "--grid")


@pytest.mark.integration
def test_storages_that_cannot_be_used(tmp_path):
    (tmp_path / "photo.db").write_bytes(b"a picture, not a database" * 100)
    for url, message in (
        (f"sqlite:///{tmp_path / 'no' / 'folder.db'}", "unable to open database file"),
        (f"sqlite:///{tmp_path / 'photo.db'}", "not a database"),
        ("postgresql+psycopg2://me:secret@localhost:1/x", "pip install psycopg2-binary"),
        ("postgresql+psycopg://me:secret@localhost:1/x", r"pip install 'psycopg\[binary\]'"),
        ("mysql+pymysql://me:secret@localhost:1/x", "pip install pymysql"),
        ("mysql://me:secret@localhost:1/x", "pip install mysqlclient"),
        ("mariadb+mariadbconnector://me:secret@localhost:1/x", "pip install mariadb"),
    ):
        with pytest.raises(BopkitError, match=message) as caught:
            sweep(tmp_path / "sweep", Trainer(), grid=GRID, storage=url)
        assert "\n" not in str(caught.value) and "secret" not in str(caught.value)


@pytest.mark.integration
def test_another_sweep_in_the_same_folder_is_refused(tmp_path):
    sweep(tmp_path, Trainer(), grid=GRID, limit_steps=2)
    with pytest.raises(UsageError, match=r"limit_steps is 2 there and 3 here\.") as caught:
        sweep(tmp_path, Trainer(), grid=GRID, limit_steps=3)
    assert "--output-dir" in caught.value.hint
    with pytest.raises(UsageError, match="points is"):
        sweep(tmp_path, Trainer(), grid={"gamma": "1e-2|1e-3"}, limit_steps=2)
    sweep(tmp_path, Trainer(), grid=GRID, limit_steps=2, device="cpu")  # hosts may differ in that


@pytest.mark.integration
def test_a_setting_that_the_command_does_not_have_is_the_sweep_s_too(tmp_path):
    """What decides the results is recorded where it is not the default, so that studies from before it go on."""
    training = TrainOptions(model="binarynet", dataset="digits", hparams={"epochs": "1"})
    for settings in ({}, {"keep": 5, "tensorboard": False}):
        options = SweepOptions(training=dataclasses.replace(training, **settings), grid=GRID, output_dir=tmp_path)
        assert "--validationset" not in run_trials(options, train=Trainer()).command
    validated = dataclasses.replace(training, validationset=True)
    options = SweepOptions(training=validated, grid=GRID, output_dir=tmp_path / "validated")
    assert "--validationset" in run_trials(options, train=Trainer()).command
    options = SweepOptions(training=dataclasses.replace(training, jit=True), grid=GRID, output_dir=tmp_path)
    with pytest.raises(UsageError, match="jit is null there and true here"):
        run_trials(options, train=Trainer())
    with pytest.raises(UsageError, match="dry run"):
        SweepOptions(training=dataclasses.replace(training, dry_run=True), grid=GRID)


def test_the_command_of_a_trial_names_what_is_not_the_default():
    training = TrainOptions(
        model="binarynet",
        dataset="digits",
        hparams={"gamma": 0.1, "gamma_end": None},
        tensorboard=False,
        validationset=True,
        checkpoint_every_minutes=1.0,
        data_dir=Path("my data"),
        seed=3,
    )
    assert train_command(training) == (
        "bopkit train binarynet --dataset digits --data-dir 'my data' --seed 3 --validationset --no-tensorboard "
        "--checkpoint-every 1.0 --hparams gamma=0.1,gamma_end=none"
    )


def test_a_trial_s_command_names_each_teacher():
    training = TrainOptions(model="binarynet", dataset="digits", teacher=["runs/a", "my b.h5"])
    assert train_command(training) == "bopkit train binarynet --dataset digits --teacher runs/a --teacher 'my b.h5'"
    assert TrainOptions(**json.loads(json.dumps(training.to_dict()))) == training


@pytest.mark.integration
def test_more_trials_go_on_with_a_search(tmp_path):
    trainer = Trainer()
    assert len(sweep(tmp_path, trainer, search=SEARCH, trials=2).trials) == 2
    assert len(sweep(tmp_path, trainer, search=SEARCH, trials=5).trials) == 5
    assert trainer.runs == [f"trial-{number:04d}" for number in range(5)]


def test_seeds_are_a_dimension_and_their_mean_is_the_value(tmp_path):
    """The best single run is of the setting that is worse on average."""
    top1 = {1e-2: (0.9, 0.3, 0.3), 1e-3: (0.6, 0.5, 0.7)}
    trainer = Trainer(lambda hparams: top1[hparams["gamma"]][hparams["seed"] - 1])
    options = {"grid": {"gamma": "1e-2|1e-3"}, "seeds": "1-3"}
    said = []
    result = sweep(tmp_path, trainer, **options, progress=said.append)
    assert [run.relative_to(tmp_path) for run in sorted(tmp_path.glob("*/*/metrics.jsonl"))] == [
        Path(f"trial-000{trial}", f"seed-{seed}", "metrics.jsonl") for trial in (0, 1) for seed in (1, 2, 3)
    ]
    assert [options["seed"] for _, _, options in trainer.calls] == [1, 2, 3] * 2
    assert result.best == 1 and result.trials[1].val_top1 == pytest.approx(0.603)
    assert result.trials[1].seeds == {1: pytest.approx(0.603), 2: pytest.approx(0.503), 3: pytest.approx(0.703)}
    # Standard deviation 0.1 over the root of 3, times Student's 4.302653.
    assert result.trials[1].val_top1_interval == pytest.approx((0.603 - 0.248414, 0.603 + 0.248414))
    assert (result.trials[0].state, result.trials[0].epochs) == ("finished", 9)
    assert result.command.endswith("--seed 1 --hparams epochs=3,gamma=0.001")
    assert any("2 trials" in line and "each with 3 seeds" in line for line in said)
    assert sweep(tmp_path, trainer, **options) == result and len(trainer.calls) == 6
    json.dumps(result.to_dict())
    with pytest.raises(UsageError, match="seeds"):
        sweep(tmp_path, trainer, **{**options, "seeds": (1, 2)})
    with pytest.raises(UsageError, match="seeds"):
        sweep(tmp_path, trainer, grid=options["grid"])


def test_a_trial_that_was_stopped_between_seeds_goes_on_with_the_seed(tmp_path):
    trainer = Trainer(at=raise_at("seed-7", 2, KeyboardInterrupt()))
    options = {"grid": {"gamma": "1e-2"}, "seeds": [5, 7]}
    with pytest.raises(KeyboardInterrupt):
        sweep(tmp_path, trainer, **options)
    trainer.at = lambda run, epoch: None
    (row,) = sweep(tmp_path, trainer, **options).trials
    assert trainer.trained == [(f"seed-{seed}", epoch) for seed in (5, 7) for epoch in (1, 2, 3)]
    assert (row.state, row.epochs, set(row.seeds)) == ("finished", 6, {5, 7})


def test_a_search_with_seeds_learns_from_their_mean(tmp_path):
    trainer = Trainer(lambda hparams: 0.5 + hparams["seed"] / 10)
    result = sweep(tmp_path, trainer, search={"filters": "16..128"}, trials=2, seeds="0,2")
    assert [row.val_top1 for row in result.trials] == [pytest.approx(0.603)] * 2
    import optuna

    study = optuna.load_study(study_name=result.study, storage=result.storage)
    assert [trial.value for trial in study.trials] == [pytest.approx(0.603)] * 2  # what TPE sees
    assert [len({hparams["filters"] for _, hparams, _ in trainer.calls[at : at + 2]}) for at in (0, 2)] == [1, 1]


def test_the_preset_trains_the_points_of_figure_1(tmp_path, monkeypatch):
    drawn = []
    plot = types.ModuleType("bopkit.runs.plot")
    plot.plot_columns = lambda columns, output: drawn.append((columns, output)) or [output]
    monkeypatch.setitem(sys.modules, "bopkit.runs.plot", plot)
    trainer = Trainer()
    hparams = {"epochs": "1", "filters": "32"}
    result = run_sweep(preset="paper-5.1", dataset="digits", hparams=hparams, output_dir=tmp_path, train=trainer)
    points = [(hparams["gamma"], hparams["threshold"]) for _, hparams, _ in trainer.calls]
    assert points == [(1e-2, 1e-6), (1e-3, 1e-6), (1e-4, 1e-6), (1e-3, 0), (1e-3, 1e-5)]
    assert all(hparams["filters"] == 32 and options["hparams_set"] == "bop" for _, hparams, options in trainer.calls)
    [(columns, output)] = drawn
    assert output == tmp_path / "figure1" and result.figures == (output,)
    shown = [[points[int(run.name[-4:])] for run in runs.values()] for _, runs in columns]
    assert shown == [
        [(1e-2, 1e-6), (1e-3, 1e-6), (1e-4, 1e-6)],
        [(1e-3, 0), (1e-3, 1e-6), (1e-3, 1e-5)],
    ]
    assert PRESETS["paper-5.1"].dataset == "cifar10"


def run_child(monkeypatch, tmp_path, script, on_epoch=lambda row: None):
    """`train_in_child` with a child that runs a script; what it said."""
    head = "import json, os, sys, time\nfrom bopkit.errors import *\nfrom bopkit.sweep.child import SweepStopped\n"
    function = f"def train_trial(settings, progress, on_event):\n{textwrap.indent(script, '    ')}\n"
    (tmp_path / "stand_in.py").write_text(head + function)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(child, "_TRAIN_TRIAL", "stand_in:train_trial")
    said = []
    child.train_in_child(
        "binarynet", "digits", output_dir=tmp_path, hparams={}, on_epoch=on_epoch, progress=said.append
    )
    return said


def test_the_child_tells_of_its_trial(monkeypatch, tmp_path):
    script = """
print("a library says so")
progress("hello")
assert settings["model"] == "binarynet"
on_event({"epoch": 1})
progress("go on")
"""
    rows = []
    assert run_child(monkeypatch, tmp_path, script, rows.append) == ["hello", "go on"]
    assert rows == [{"epoch": 1}]


def test_a_child_joins_no_cluster(monkeypatch, tmp_path):
    """Two sweeps under one `srun` share a study; their trials must not wait for each other."""
    config = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}
    step = {"NUM_TASKS": "2", "NODELIST": "a,b", "TASKS_PER_NODE": "1(x2)"}
    told = {"TF_CONFIG": json.dumps(config), "SLURM_PROCID": "1", "SLURM_JOB_ID": "7"}
    for name, value in {**told, **{f"SLURM_STEP_{name}": value for name, value in step.items()}}.items():
        monkeypatch.setenv(name, value)
    environment = json.loads(*run_child(monkeypatch, tmp_path, "progress(json.dumps(dict(os.environ)))"))
    assert find_cluster(os.environ) is not None and find_cluster(environment) is None
    assert environment["SLURM_JOB_ID"] == "7"


@pytest.mark.integration
@pytest.mark.parametrize(
    ("script", "kind", "message"),
    [
        ("os.kill(os.getpid(), 9)", BopkitError, "ended by SIGKILL"),
        ("sys.exit('no such library')", BopkitError, "ended with code 1: no such library"),
        ("raise UsageError('m', 'h')", UsageError, "m h"),
        ("raise SweepStopped('m', 'h', exit_code=2)", child.SweepStopped, "m h"),
        ("raise KeyboardInterrupt", KeyboardInterrupt, ""),
        ("os.kill(os.getpid(), 15); time.sleep(60)", KeyboardInterrupt, ""),
        ("sys.exit(143)", KeyboardInterrupt, ""),
    ],
)
def test_the_end_of_a_child_is_an_error(monkeypatch, tmp_path, script, kind, message):
    with pytest.raises(kind, match=message) as error:
        run_child(monkeypatch, tmp_path, script)
    assert getattr(error.value, "exit_code", 2) == (1 if kind is BopkitError else 2)


def test_a_child_ends_with_what_its_parent_raises(monkeypatch, tmp_path):
    script = f"""
import threading
threading.Thread(target=on_event, args=[{{"epoch": 1}}]).start()
time.sleep(20)
open({str(tmp_path / "alive")!r}, "w")
"""

    def prune(row):
        raise RuntimeError("pruned")

    began = time.perf_counter()
    with pytest.raises(RuntimeError, match="pruned"):
        run_child(monkeypatch, tmp_path, script, prune)
    assert time.perf_counter() - began < 15


def defaults_of(function, *others):
    parameters = inspect.signature(function).parameters.items()
    return {name: each.default for name, each in parameters if name not in others}


def test_function_and_command_have_the_fields_and_defaults_of_the_options():
    of_training = {field.name: field.default for field in dataclasses.fields(TrainOptions)}
    own = {field.name: field.default for field in dataclasses.fields(SweepOptions) if field.name != "training"}
    expected = {name: of_training.get(name) for name in defaults_of(run_sweep, "progress", "train") if name not in own}
    expected.update(own, model=None, dataset=None, hparams=None, grid=None, search=None, strategy=None)
    assert of_training["strategy"] == "auto"  # what None stands for
    assert defaults_of(run_sweep, "progress", "train") == expected
    assert defaults_of(command.sweep, "json") == expected
