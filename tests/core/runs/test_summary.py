"""Listing and comparing runs, finished, running, stopped and damaged."""

import dataclasses
import fcntl
import json
import os

import pytest
from written_runs import append, epoch_row, step_row, write_run

from bopkit.errors import UsageError
from bopkit.runs.summary import differing_settings, list_runs, summarise_run


def test_runs_at_any_depth_with_their_states_and_whatever_is_damaged(tmp_path):
    """A damaged run is a row that says so, and changes no other row."""
    write_run(tmp_path / "stopped", done=1)
    (write_run(tmp_path / "a" / "b" / "finished") / "model_last.h5").touch()
    write_run(tmp_path / "a" / "b" / "finished" / "checkpoints" / "no_run_of_its_own")
    running = write_run(tmp_path / "a" / "running", done=0)
    (write_run(tmp_path / "damaged" / "config") / "config.json").write_text("{")
    (write_run(tmp_path / "damaged" / "metrics") / "metrics.jsonl").write_bytes(b"\xff\n{}\n")
    (write_run(tmp_path / "damaged" / "rows") / "metrics.jsonl").write_text('5\n{"kind": "epoch", "epoch": "x"}\n{}\n')
    (write_run(tmp_path / "damaged" / "missing") / "metrics.jsonl").unlink()
    (tmp_path / "a" / "link_up").symlink_to(tmp_path)
    (tmp_path / "a" / "no_run").mkdir()
    with open(running / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        runs = {os.path.relpath(run.path, tmp_path): run for run in list_runs(tmp_path)}
    healthy = {"stopped": "stopped", "a/b/finished": "finished", "a/running": "running"}
    damaged = {f"damaged/{name}" for name in ("config", "metrics", "rows", "missing")}
    assert set(runs) == set(healthy) | damaged
    assert {name: runs[name].state for name in healthy} == healthy
    assert not any(runs[name].problem for name in healthy)
    assert "config.json is damaged" in runs["damaged/config"].problem
    assert runs["damaged/config"].epochs_done == 3  # its metrics are whole
    assert "metrics" in runs["damaged/metrics"].problem
    assert "metrics.jsonl is missing" in runs["damaged/missing"].problem
    assert runs["damaged/rows"].val_top1 is None
    assert (runs["stopped"].epochs_done, runs["stopped"].epochs) == (1, 3)
    assert runs["a/running"].epochs_done == 0


def test_figures_are_those_of_the_best_and_the_last_epoch(tmp_path):
    path = write_run(tmp_path / "run", epochs=9, done=3, seed=4)
    append(path, epoch_row(2, val_top1=0.8))  # trained again after a crash: the later row counts
    append(path, epoch_row(4, val_top1=0.7))
    append(path, epoch_row(5, val_top1=0.8, top1=float("nan")))
    append(path, step_row(210, 6))
    run = summarise_run(path)
    assert (run.epochs_done, run.epochs, run.seed, run.precision) == (5, 9, 4, "float32")
    assert (run.best_epoch, run.best_val_top1, run.val_top1) == (2, 0.8, 0.8)
    assert (run.top1, run.loss, run.images_per_second) == (None, 1 / 5, 100.0)  # NaN is no JSON
    assert run.started <= run.updated and run.started.endswith("+00:00")
    json.dumps(dataclasses.asdict(run), allow_nan=False)
    first_epoch = write_run(tmp_path / "first_epoch", done=0)
    append(first_epoch, step_row(10, 1))
    assert summarise_run(first_epoch).images_per_second == 90.0


def test_only_what_differs_is_compared(tmp_path):
    same = write_run(tmp_path / "1", gamma=1e-3)
    slower = write_run(tmp_path / "2", gamma=1e-4, seed=1, gamma_end=1e-6)
    broken = write_run(tmp_path / "3")
    (broken / "config.json").write_text("[]")
    runs = [summarise_run(path) for path in (same, slower, broken)]
    first, second, third = differing_settings(runs)
    assert first == {"gamma": 1e-3, "gamma_end": None, "seed": 0}
    assert second == {"gamma": 1e-4, "gamma_end": 1e-6, "seed": 1}
    assert third == dict.fromkeys(first)
    assert differing_settings(runs[:1]) == [{}]
    assert differing_settings([]) == []


def test_sorting_puts_the_best_first_and_runs_without_a_value_last(tmp_path):
    for name, gamma, done in (("a", 1e-3, 1), ("b", 1e-2, 3), ("c", 1e-4, 2), ("d", 1e-3, 0)):
        write_run(tmp_path / name, gamma=gamma, done=done)

    def names(key):
        return "".join(os.path.basename(run.path) for run in list_runs(tmp_path, key))

    assert names("path") == "abcd"
    assert names("best_val_top1") == "bcad"
    assert names("loss") == "bcad"
    assert names("gamma") == "cadb"
    assert names("model") == "abcd"
    with pytest.raises(UsageError, match="Unknown sort key 'gama'. Did you mean 'gamma'"):
        list_runs(tmp_path, "gama")
    with pytest.raises(UsageError, match="no folder"):
        list_runs(tmp_path / "nowhere")


def test_the_spread_is_of_the_last_five_epochs(tmp_path):
    path = write_run(tmp_path / "run", epochs=9, done=1)  # 0.51
    for epoch, top1 in ((2, 0.8), (3, 0.7), (4, 0.9), (5, 0.85)):
        assert summarise_run(path).val_top1_spread is None
        append(path, epoch_row(epoch, val_top1=top1))
    assert summarise_run(path).val_top1_spread == pytest.approx(0.9 - 0.51)
    append(path, epoch_row(6, val_top1=0.75))
    assert summarise_run(path).val_top1_spread == pytest.approx(0.9 - 0.7)
